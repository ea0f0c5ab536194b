"""What is to leave the run folder: no identifier of the cohort, no path of a machine, no pixels of a patient.

Text is searched for words that are identifiers and for absolute paths; tables for both among their values; models and
other bytes for identifiers. A picture passes only if it is one that the report draws. A finding says where and how
many, never which.
"""

import base64
import gzip
import hashlib
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from midrc_ml.audits.entry import AuditEntry, not_applicable
from midrc_ml.audits.privacy.artifact_text import PNG, SHORTEST, is_text, paths_in, texts_of_png, words_in
from midrc_ml.cohorts.reader import Tables

CHECK = "privacy"
Kind = Literal["identifier", "path", "pixels", "unread"]
_CHUNK = 1 << 24  # bytes of a file that are searched at a time
_MOST_PARTS = 40  # of a word; an identifier may be some of them, as in `frontal_<id>.dcm`
_NAMED = 10  # files in the evidence
_ID_COLUMNS = {
    "cases": ("case_id", "patient_id"),
    "studies": ("study_id", "case_id"),
    "series": ("series_id", "study_id"),
    "readings": ("study_id", "series_id", "image"),
}

_LAST_WORD = re.compile(rb"\s\S{0,4095}\Z")  # which goes on in the next chunk
_NUMBER = re.compile(rb"\d+(\.\d+)?(e-?\d+)?", re.IGNORECASE)
_ENDING = re.compile(r"(\.[A-Za-z]\w*)+$")
_ABSOLUTE = re.compile(r"/.|\\\\|[A-Za-z]:[/\\]|\w+://")
_UID = re.compile(r"[0-2](\.\d+){4,}")
_EMBEDDED = re.compile(rb"data:[a-z]+/[a-z0-9.+-]+;base64,([A-Za-z0-9+/=\s]+)", re.IGNORECASE)

_PARQUET, _ZIP, _GZIP = b"PAR1", b"PK\x03\x04", b"\x1f\x8b"
_PICTURE_STARTS = (b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\x93NUMPY")
_PIXEL_ENDINGS = (
    *(".npy", ".npz", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd", ".u8", ".raw"),
    *(".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp"),
)


@dataclass(frozen=True)
class Finding:
    """What was found in a file. count: how many different identifiers or paths, or how many pictures."""

    file: str
    kind: Kind
    count: int


@dataclass(frozen=True)
class ScanResult:
    """num_files, num_bytes: what was searched. pictures: those within pages. held_back: artifacts with a finding.

    num_ids: identifiers that were looked for; too_plain: those that were not, being like any word or number.
    """

    findings: Sequence[Finding]
    held_back: Sequence[Path]
    num_files: int
    num_bytes: int
    pictures: int
    num_ids: int
    too_plain: int


@dataclass(frozen=True)
class Identifiers:
    """What must not leave. ids: words; places: the texts of folders; too_plain: ids that cannot be looked for."""

    ids: frozenset[bytes]
    places: tuple[bytes, ...] = ()
    too_plain: int = 0
    _lengths: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lengths", frozenset(map(len, self.ids)))

    @classmethod
    def of(cls, tables: Tables, *, places: Sequence[str]) -> "Identifiers":
        """The ids and file names of a cohort. places: roots, home, cache and log folders; a relative one is skipped.

        An id counts that is a UID, or has six characters or more and a digit: `1` or `12` would be found anywhere. Of
        one with blanks or slashes its longest word stands for it, if that is so.
        """
        names = {
            str(value)
            for table, columns in _ID_COLUMNS.items()
            for column in columns
            for value in getattr(tables, table)[column].dropna().unique()
        }
        ids, too_plain = set(), 0
        for name in names:
            if (key := _key(name)) is not None:
                ids.add(key)
            else:
                too_plain += 1
        for file in tables.series["file"].dropna().unique():
            name = PurePath(str(file)).name.split("*")[0]
            ids |= {key for key in (_key(name), _key(_ENDING.sub("", name))) if key is not None}
        told = {str(place).rstrip("/\\") for place in places}
        absolute = tuple(place.encode() for place in sorted(told) if _ABSOLUTE.match(place))
        return cls(frozenset(ids), absolute, too_plain)

    def among(self, words: Iterable[bytes]) -> set[bytes]:
        """The identifiers that are among these words, or some neighbouring parts of one of them."""
        distinct = set(words)
        found = distinct & self.ids
        for word in distinct - found:
            if any(sign in word for sign in b"._-") and not _NUMBER.fullmatch(word):
                found |= self._within(word)
        return found

    def _within(self, word: bytes) -> set[bytes]:
        """The first and longest identifier that some neighbouring parts of a word are."""
        parts = re.split(rb"([._-])", word)[: 2 * _MOST_PARTS]  # separators at the odd places
        for first in range(0, len(parts), 2):
            for last in range(len(parts), first, -1):
                piece = b"".join(parts[first:last])
                if len(piece) in self._lengths and piece in self.ids:
                    # A plain number within another word may be anything, unless it is the name of a file.
                    is_name = first == 0 and word[len(piece) + 1 :].isalpha()
                    if is_name or not piece.isdigit():
                        return {piece}
        return set()


def _key(name: str) -> bytes | None:
    """The word by which an id is looked for; None = it is too plain."""
    words = words_in(name.encode(), is_text=True)
    longest = max(words, key=len, default=b"")
    has_digit = any(char in b"0123456789" for char in longest)
    return longest if _UID.fullmatch(name) or (len(longest) >= SHORTEST and has_digit) else None


def scan_artifacts(paths: Sequence[Path], identifiers: Identifiers, *, allowed_pictures: Sequence[str]) -> ScanResult:
    """Search files, and all files of folders. allowed_pictures: names of the PNG files that the report draws.

    A picture within a page passes if it is, byte for byte, such a file among `paths`.
    """
    scan = _Scan(identifiers, frozenset(PurePath(name).name for name in allowed_pictures))
    files = [(path, file) for path in paths for file in _files(path)]
    for _, file in files:
        if file.name in scan.allowed:
            scan.drawn.add(_digest(file.read_bytes()))
    held_back = []
    for path, file in files:
        before = len(scan.findings)
        scan.file(file, file.relative_to(path).as_posix() if path.is_dir() else file.name)
        if len(scan.findings) > before and path not in held_back:
            held_back.append(path)
    return ScanResult(
        findings=scan.findings,
        held_back=held_back,
        num_files=len(files),
        num_bytes=scan.num_bytes,
        pictures=scan.pictures,
        num_ids=len(identifiers.ids),
        too_plain=identifiers.too_plain,
    )


def artifacts_entry(result: ScanResult) -> AuditEntry:
    """`privacy`: how many of the artifacts hold what must not leave the run's folder."""
    if not result.num_files:
        return not_applicable(CHECK, "nothing is to leave the run's folder")
    words = {"identifier": "identifiers", "path": "paths of a machine", "pixels": "pictures", "unread": "not readable"}
    by_file: dict[str, list[str]] = {}
    for finding in result.findings:
        by_file.setdefault(finding.file, []).append(f"{finding.count} {words[finding.kind]}")
    evidence = [f"{len(by_file)} of {result.num_files} files hold an identifier, a path or pixels"]
    evidence += [f"{name}: {', '.join(said)}" for name, said in list(by_file.items())[:_NAMED]]
    if len(by_file) > _NAMED:
        evidence.append(f"and {len(by_file) - _NAMED} more files")
    evidence.append(f"{result.num_ids} identifiers were looked for")
    if result.too_plain:
        evidence.append(f"{result.too_plain} are too short or plain to be told from other words, and were not")
    return AuditEntry(
        check=CHECK,
        status="fail" if by_file else "pass",
        value=float(len(by_file)),
        evidence="; ".join(evidence),
        what_to_do="these files are kept in the run's folder and not uploaded" if by_file else "nothing",
        details=[{"file": one.file, "kind": one.kind, "count": one.count} for one in result.findings],
    )


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


@dataclass
class _Scan:
    """One search: what is allowed, and what was found."""

    identifiers: Identifiers
    allowed: frozenset[str]
    drawn: set[bytes] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    num_bytes: int = 0
    pictures: int = 0

    def file(self, path: Path, label: str) -> None:
        found: dict[Kind, set[bytes]] = {"identifier": self.identifiers.among(words_in(label.encode(), is_text=True))}
        if found["identifier"]:
            label = f"a {path.suffix or 'file'} named by an identifier"
        try:
            self.num_bytes += os.path.getsize(path)
            with path.open("rb") as stream:
                for kind, what in self._content(stream, path.name):
                    found.setdefault(kind, set()).add(what)
        except (OSError, pa.ArrowException, zipfile.BadZipFile, zlib.error, struct.error, ValueError, IndexError):
            found["unread"] = {b""}
        self.findings += [Finding(label, kind, len(what)) for kind, what in found.items() if what]

    def _content(self, stream: IO[bytes], name: str) -> Iterator[tuple[Kind, bytes]]:
        """What is in a file, by its first bytes and its name."""
        start = stream.read(1 << 13)
        stream.seek(0)
        if start.startswith(PNG):
            content = stream.read()
            if name not in self.allowed:
                yield "pixels", _digest(content)
            yield from self._bytes(io.BytesIO(texts_of_png(content)), name, as_text=True)
        elif start.startswith(_PICTURE_STARTS) or start[128:132] == b"DICM" or name.lower().endswith(_PIXEL_ENDINGS):
            yield "pixels", name.encode()
        elif start.startswith(_PARQUET):
            yield from self._parquet(stream)
        elif start.startswith(_ZIP):
            yield from self._zip(stream)
        elif start.startswith(_GZIP):
            with gzip.open(stream) as unpacked:
                yield from self._content(io.BytesIO(unpacked.read()), name.removesuffix(".gz"))
        else:
            yield from self._bytes(stream, name, as_text=is_text(start))

    def _bytes(self, stream: IO[bytes], name: str, *, as_text: bool) -> Iterator[tuple[Kind, bytes]]:
        name = name.lower()
        whole = name.endswith((".html", ".htm", ".svg"))  # pictures within are not to be cut
        rest = b""
        while chunk := stream.read(-1 if whole else _CHUNK):
            content = rest + chunk
            last = None if len(chunk) < _CHUNK or whole else _LAST_WORD.search(content, max(0, len(content) - 4096))
            rest = b"" if last is None else last.group()
            if as_text and b";base64," in content:
                yield from self._embedded(content)
                content = _EMBEDDED.sub(b"", content)
            yield from self._words(content, as_text=as_text, is_json=name.endswith((".json", ".jsonl", ".ipynb")))

    def _words(self, content: bytes, *, as_text: bool = True, is_json: bool = False) -> Iterator[tuple[Kind, bytes]]:
        yield from (("identifier", word) for word in self.identifiers.among(words_in(content, is_text=as_text)))
        yield from (("path", place) for place in self.identifiers.places if place in content)
        if as_text:
            yield from (("path", path) for path in paths_in(content, is_json=is_json))

    def _embedded(self, content: bytes) -> Iterator[tuple[Kind, bytes]]:
        for found in _EMBEDDED.finditer(content):
            self.pictures += 1
            digest = _digest(base64.b64decode(found[1]))
            if digest not in self.drawn:
                yield "pixels", digest

    def _parquet(self, stream: IO[bytes]) -> Iterator[tuple[Kind, bytes]]:
        file = pq.ParquetFile(stream)
        yield from self._words(str(file.schema_arrow).encode())
        for value in (file.schema_arrow.metadata or {}).values():
            yield from self._words(value, is_json=True)
        for column in file.schema_arrow:
            kind = column.type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
                yield "pixels", column.name.encode()
        for batch in file.iter_batches():
            for values in batch.to_pandas().items():
                yield from self._words("\n".join(_texts(values[1])).encode())

    def _zip(self, stream: IO[bytes]) -> Iterator[tuple[Kind, bytes]]:
        """A model as torch keeps it, or any other ZIP."""
        with zipfile.ZipFile(stream) as package:
            yield from self._words("\n".join(package.namelist()).encode())
            for entry in package.infolist():
                if not entry.is_dir():
                    with package.open(entry) as member:
                        yield from self._content(member, PurePath(entry.filename).name)


def _texts(values: pd.Series) -> list[str]:
    """The different values of a column as texts; of numbers only whole ones, as an id may be."""
    if pd.api.types.is_float_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        return []
    return list(dict.fromkeys(map(str, values.dropna())))

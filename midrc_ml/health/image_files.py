"""The transfer syntaxes of the images in a folder or a ZIP, by their headers, and whether they decode here."""

import os
import random
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from pydicom.filereader import read_dataset

from midrc_ml.cohorts.midrc_disk import PICTURE, ZIP, listed
from midrc_ml.health.decoders import name_of, trials_of
from midrc_ml.health.findings import Finding
from midrc_ml.images.decoders import DECODERS
from midrc_ml.images.files import DAMAGED_ZIP, DAMAGED_ZIP_REASON, ImageError, is_zip, zip_entries
from midrc_ml.images.headers import scan_headers

_Item = TypeVar("_Item")

PART = "images found"
_MEMBERS = 8  # of a ZIP among others: a series is of one syntax, nearly always
_HEAD = 1 << 16
_TOGETHER = 64
_NO_SYNTAX = "a header without a transfer syntax"


@dataclass
class Seen:
    """syntaxes, reasons: how many DICOM files of each, those that were looked at. pictures: PNG, JPEG, NIfTI ..."""

    num_files: int = 0
    num_looked_at: int = 0
    pictures: int = 0
    syntaxes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    out_of_time: bool = False


def image_findings(path: Path, *, limit: int, seconds: float) -> list[Finding]:
    """What lies at `path`: a finding for each transfer syntax, and one for each kind of damage.

    limit, seconds: files that are looked at, at most, spread evenly over all; and for how long.
    """
    seen = look_at(path, limit=limit, seconds=seconds)
    finding = partial(Finding, part=PART)
    found = [_extent(seen, limit, seconds)]
    for syntax, count in seen.syntaxes.most_common():
        told = partial(finding, what=name_of(syntax), facts={"syntax": syntax, "files": count})
        files = f"{count} file{'s' * (count != 1)}"
        if syntax not in DECODERS:
            value = f"{files}; no decoder is known: they are left out, and counted"
            found.append(told(status="warn", value=value))
            continue
        used = next((trial for trial in trials_of(syntax) if trial.outcome in ("decodes", "not tried")), None)
        if used is None:
            advice = "see the decoder of this transfer syntax"
            found.append(told(status="fail", value=f"{files}; not decoded here", what_to_do=advice))
        else:
            found.append(told(status="ok", value=f"{files} by their headers; {used.decoder.name}"))
    if seen.pictures:
        value = f"{seen.pictures}; told by their names, not opened"
        found.append(finding(status="ok", what="PNG, JPEG, TIFF, NIfTI", value=value, facts={"files": seen.pictures}))
    for reason, count in seen.reasons.most_common():
        advice = "give yourself the right to read them" if reason.startswith("cannot be read") else ""
        value = f"{count} file{'s' * (count != 1)}: {reason}"
        # A file of the headers alone, a text without an ending: no damage.
        found.append(
            finding(
                status="fail" if advice else "warn",
                what="not usable",
                value=value,
                what_to_do=advice,
                facts={"reason": reason, "files": count},
            )
        )
    return found


def look_at(path: Path, *, limit: int, seconds: float) -> Seen:
    """Read the headers of at most `limit` files below `path`, or of the members of the one ZIP, for so many seconds."""
    started = time.monotonic()
    seen = Seen()
    if path.is_dir():
        disk = listed(path)
        pictures = disk.files["kind"] == PICTURE
        seen.pictures = int(pictures.sum())
        files = disk.paths(disk.files[~pictures]).to_list()
        zips = set(disk.paths(disk.files[disk.files["kind"] == ZIP]))
    else:
        files, zips = [str(path)], set()
    seen.num_files = len(files)
    chosen = _spread(files, limit)
    # In any order, so that those that the time is enough for are spread evenly too.
    random.Random(0).shuffle(chosen)
    for start in range(0, len(chosen), _TOGETHER):
        if time.monotonic() - started > seconds:
            seen.out_of_time = True
            break
        some = chosen[start : start + _TOGETHER]
        plain = [file for file in some if file not in zips and not _starts_as_zip(file)]
        for row in scan_headers(plain, cache_dir=None).itertuples():
            _count(seen, row.transfer_syntax, row.reason)
        for file in sorted(set(some) - set(plain)):
            _look_into(file, seen, limit if not path.is_dir() else _MEMBERS)
        seen.num_looked_at += len(some)
    seen.seconds = time.monotonic() - started
    return seen


def _count(seen: Seen, syntax: object, reason: object) -> None:
    if isinstance(reason, str):
        seen.reasons[reason] += 1
    elif isinstance(syntax, str):
        seen.syntaxes[syntax] += 1
    else:
        seen.reasons[_NO_SYNTAX] += 1


def _look_into(file: str, seen: Seen, limit: int) -> None:
    """Count the DICOM members of a ZIP, at most `limit` of them, spread evenly."""
    try:
        with zipfile.ZipFile(file) as package:
            entries = zip_entries(package, os.path.getsize(file))
            found = False
            for entry in _spread(entries, limit):
                with package.open(entry) as stream:
                    head = stream.read(_HEAD)
                if head[128:132] == b"DICM":
                    found = True
                    seen.syntaxes[_syntax_of(head) or _NO_SYNTAX] += 1
            if not found:
                seen.reasons["the ZIP holds no DICOM file"] += 1
    except ImageError as error:
        seen.reasons[str(error)] += 1
    except DAMAGED_ZIP:
        seen.reasons[DAMAGED_ZIP_REASON] += 1
    except OSError as error:
        seen.reasons[f"cannot be read ({error.strerror or type(error).__name__})"] += 1
    if syntax_missing := seen.syntaxes.pop(_NO_SYNTAX, 0):
        seen.reasons[_NO_SYNTAX] += syntax_missing


def _syntax_of(head: bytes) -> str | None:
    """The transfer syntax that the start of a DICOM file names, PS3.10 7.1; None where it names none."""
    stream = BytesIO(head)
    stream.seek(132)
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        return str(meta.TransferSyntaxUID)
    except Exception:  # damaged bytes raise nearly anything
        return None


def _starts_as_zip(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            return is_zip(opened)
    except OSError:
        return False


def _spread(items: Sequence[_Item], limit: int) -> list[_Item]:
    """At most `limit` of them, at even distances."""
    if len(items) <= limit:
        return list(items)
    return [items[number * len(items) // limit] for number in range(limit)]


def _extent(seen: Seen, limit: int, seconds: float) -> Finding:
    finding = partial(
        Finding,
        part=PART,
        what="files",
        facts={"files": seen.num_files, "looked_at": seen.num_looked_at, "seconds": round(seen.seconds, 2)},
    )
    if not seen.num_files and not seen.pictures:
        advice = "give the folder, or the ZIP, that holds DICOM files or ZIPs of them"
        return finding(status="fail", value="no image found", what_to_do=advice)
    value = f"{seen.num_looked_at} of {seen.num_files} looked at, headers only"
    if seen.out_of_time:
        return finding(status="ok", value=f"{value}, spread evenly; {seconds:g} s were over (--seconds)")
    if seen.num_looked_at < seen.num_files:
        value += ", spread evenly (--limit)"
    return finding(status="ok", value=f"{value}; of a ZIP at most {limit if seen.num_files == 1 else _MEMBERS} members")

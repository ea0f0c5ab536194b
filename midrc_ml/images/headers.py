"""What the headers of DICOM files say: read once, then only those of files that are new or have changed.

<cache_dir>/headers/v2/
    NNNNNN.parquet  one row for each file that was read: its path, size, time, and the values of its header

The rows hold the ids that stand in the headers: they stay in the user's own cache, and go into no log or report.
A part is renamed into place when it is whole, so that a killed process leaves nothing half read. One process scans
at a time; the others wait and then find the rows.
"""

import logging
import os
import time
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO

import pandas as pd
import pydicom
from filelock import FileLock
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from midrc_ml.images.dicom_head import ELEMENTS, CutError, OddError, joined, read_head
from midrc_ml.images.files import DAMAGED_ZIP, DAMAGED_ZIP_REASON, TRY_AGAIN, ImageError, is_zip, zip_entries
from midrc_ml.processes import worker_pool

log = logging.getLogger(__name__)

# Column: keyword of PS3.6.
_KEYWORDS = {
    "sop_uid": "SOPInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "sop_class": "SOPClassUID",
    "modality": "Modality",
    "view": "ViewPosition",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "rows": "Rows",
    "columns": "Columns",
    "instance_number": "InstanceNumber",
}
_NUMBERS = ("rows", "columns", "instance_number", "instances", "num_series")
COLUMNS = ("file", *_KEYWORDS, "transfer_syntax", "instances", "num_series", "reason")
_STAMP = ("bytes", "mtime_ns")
_VERSION = 2  # raised when the same file would be read differently
_PART_FILES = 20_000
_POOL_FROM = 20_000  # files; below this, starting processes takes longer than it saves
# Nearly every header ends in the first; an icon or a private block can make it longer.
_HEADS = (1 << 15, 1 << 20)

_Row = tuple[str | float | None, ...]


def scan_headers(files: Sequence[str | Path], *, cache_dir: str | None, num_processes: int = 1) -> pd.DataFrame:
    """One row for each of `files`, in their order, with `COLUMNS`; no pixel is read.

    A file is DICOM, or a ZIP, of which the row is that of its first DICOM member (by name). instances: how many files
    it holds; num_series: how many series these are of; reason: why it could not be read, missing where it could. Texts
    are stripped, those of several values joined by a backslash; what a header does not say is missing. Nothing is kept
    where `cache_dir` is None.
    """
    paths = pd.Series([os.path.abspath(file) for file in files], dtype="str")
    distinct = paths.drop_duplicates(ignore_index=True)
    wanted = pd.DataFrame([_stamp(file) for file in distinct], columns=list(_STAMP), dtype="int64").assign(
        file=distinct
    )
    if cache_dir is None:
        known = pd.concat([_frame([]), *_parts(wanted, num_processes)], ignore_index=True)
    else:
        folder = Path(cache_dir).expanduser().resolve() / "headers" / f"v{_VERSION}"
        folder.mkdir(parents=True, exist_ok=True)
        known = _known(folder, wanted)
        if len(known) < len(wanted):
            with FileLock(folder / "scan.lock"):
                known = _known(folder, wanted)  # another process may have read them while this one waited
                missing = wanted[~wanted["file"].isin(known["file"])]
                new = [_kept(part, folder) for part in _parts(missing, num_processes)]
            known = pd.concat([known, *new], ignore_index=True)
    return known.set_index("file").reindex(paths.to_numpy()).reset_index(names="file")[list(COLUMNS)]


def _known(folder: Path, wanted: pd.DataFrame) -> pd.DataFrame:
    """The rows of `wanted` that were read before and whose files have not changed since."""
    parts = [_part(path) for path in sorted(folder.glob("*.parquet"))]
    rows = pd.concat([_frame([]), *parts], ignore_index=True).drop_duplicates("file", keep="last")
    # A failure that is not the file's own (a disk, a permission) is tried again.
    rows = rows[~rows["reason"].str.startswith(TRY_AGAIN).eq(True)]
    return wanted.merge(rows, on=["file", *_STAMP])


def _part(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        # As after a power cut; its files are read again.
        log.warning("%s cannot be read and is not used; delete it", path.name)
        return _frame([])


def _kept(part: pd.DataFrame, folder: Path) -> pd.DataFrame:
    number = max((int(path.stem) for path in folder.glob("*.parquet")), default=-1) + 1
    unfinished = folder / f"{number:06d}.unfinished"
    part.to_parquet(unfinished, index=False)
    os.replace(unfinished, folder / f"{number:06d}.parquet")
    return part


def _parts(missing: pd.DataFrame, num_processes: int) -> Iterator[pd.DataFrame]:
    """The headers of these files, some thousands at a time, with their size and time."""
    started = time.monotonic()
    many = num_processes > 1 and len(missing) >= _POOL_FROM
    with worker_pool(num_processes) if many else nullcontext() as pool:
        for start in range(0, len(missing), _PART_FILES):
            part = missing.iloc[start : start + _PART_FILES]
            rows = pool.map(_header, part["file"], chunksize=64) if pool else map(_header, part["file"])
            yield _frame(rows).assign(**{name: part[name].to_numpy() for name in _STAMP})
            done = start + len(part)
            log.info("Headers: %d of %d files, %.0f files/s", done, len(missing), done / (time.monotonic() - started))


def _frame(rows: Iterable[_Row]) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    kinds = {name: "float64" if name in _NUMBERS else "str" for name in COLUMNS}
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=kinds[name]) for name, values in zip(COLUMNS, columns, strict=True)}
    )
    return frame if len(frame) else frame.assign(**{name: pd.Series(dtype="int64") for name in _STAMP})


def _stamp(file: str) -> tuple[int, int]:
    try:
        state = os.stat(file)
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _header(file: str) -> _Row:
    """The row of one file, in the order of `COLUMNS`."""
    values: dict[str, str | float] = {}
    instances: float | None = None
    num_series: float | None = None
    reason = None
    try:
        with open(file, "rb") as opened:
            if file.lower().endswith(".zip") or is_zip(opened):
                values, instances, num_series = _of_zip(opened)
            else:
                values, instances, num_series = _of_stream(opened, os.fstat(opened.fileno()).st_size), 1, 1
    except OSError as error:
        reason = f"cannot be read ({error.strerror or type(error).__name__})"
    except ImageError as error:
        reason = str(error)
    of_header = (values.get(keyword) for keyword in _KEYWORDS.values())
    return (file, *of_header, values.get("TransferSyntaxUID"), instances, num_series, reason)


def _of_zip(file: IO[bytes]) -> tuple[dict[str, str | float], int, int]:
    """The header of the first DICOM member, how many members there are, and of how many series."""
    found: list[dict[str, str | float]] = []
    try:
        with zipfile.ZipFile(file) as package:
            entries = zip_entries(package, os.fstat(file.fileno()).st_size)
            for entry in entries:
                with package.open(entry) as stream:
                    if stream.read(132).endswith(b"DICM"):
                        stream.seek(0)
                        found.append(_of_stream(stream, entry.file_size))
    except DAMAGED_ZIP as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(DAMAGED_ZIP_REASON) from error
    if not found:
        raise ImageError("the ZIP holds no DICOM file")
    return found[0], len(entries), len({values.get("SeriesInstanceUID") for values in found})


def _of_stream(stream: IO[bytes], size: int) -> dict[str, str | float]:
    """The values of a header by keyword; those that are not there are absent. size: of the whole file, in bytes."""
    head = b""
    for longest in _HEADS:
        head += stream.read(longest - len(head))
        if head[128:132] != b"DICM":
            raise ImageError("not a DICOM file" if head else "an empty file")
        try:
            syntax, values = read_head(head, complete=len(head) >= size)
            if "InstanceNumber" in values:
                values["InstanceNumber"] = int(values["InstanceNumber"])
            return {**values, "TransferSyntaxUID": syntax}
        except CutError:
            continue
        except (OddError, ValueError):
            break
    stream.seek(0)
    # pydicom jumps to and fro, which in a ZIP means to unpack from the start each time.
    return _by_pydicom(BytesIO(stream.read(size)) if isinstance(stream, zipfile.ZipExtFile) else stream)


def _by_pydicom(file: IO[bytes]) -> dict[str, str | float]:
    values: dict[str, str | float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        try:
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(ELEMENTS))
            syntax = data.file_meta.get("TransferSyntaxUID")
        except InvalidDicomError as error:
            raise ImageError("not a DICOM file") from error
        except Exception as error:  # damaged bytes raise nearly anything
            raise ImageError("a damaged DICOM header") from error
        for column, keyword in _KEYWORDS.items():
            try:
                value = data.get(keyword)
                texts = value if isinstance(value, MultiValue) else [] if value is None else [value]
                if text := joined("\\".join(map(str, texts))):
                    values[keyword] = float(text) if column in _NUMBERS else text
            except Exception:
                continue  # this value is damaged; the others may be used
    if syntax:
        values["TransferSyntaxUID"] = str(syntax)
    return values

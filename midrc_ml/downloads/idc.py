"""Collections of the Imaging Data Commons, through the idc-index package: open, without a key.

idc-index comes with the index of one IDC version, so that listing needs no network; the files come from public
buckets through s5cmd. It reports neither a failed nor a missing file, so what lies in the folder afterwards is
compared with the index.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.downloads.files import NOT_DOWNLOADED, alone_in, write_whole
from midrc_ml.errors import InputError
from midrc_ml.progress import size_text

# As MIDRC's own unpacked packages: <case>/<study>/<series>/<instance>.dcm
LAYOUT = "%PatientID/%StudyInstanceUID/%SeriesInstanceUID"
_COLUMNS = (
    "collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, StudyDate, StudyDescription, "
    "SeriesDescription, BodyPartExamined, Manufacturer, instanceCount, series_size_MB, license_short_name, source_DOI"
)
_BYTES_PER_MB = 1e6
# s5cmd writes `x.dcm1234567890` and renames it; after a kill it stays, as long as the image but torn.
_UNFINISHED = re.compile(r".+\.dcm\d+")
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class IdcSelection:
    """What of which collections; no patients or modalities = all."""

    collections: Sequence[str]
    patients: Sequence[str] = ()
    modalities: Sequence[str] = ()


def idc_client() -> Any:
    """The client of idc-index.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from idc_index import IDCClient
    except ImportError as error:
        raise InputError(
            f"the idc-index package, through which IDC is asked, cannot be imported ({error.name}); "
            f"pip install 'midrc_ml[idc]'"
        ) from error
    return IDCClient.client()


def list_series(client: Any, selection: IdcSelection) -> pd.DataFrame:
    """The series of the selection, one a row, with size in MB and licence.

    Raises:
        InputError: no collection, or a collection, patient or modality of which there is nothing, all of them named.
    """
    if not selection.collections:
        raise InputError("no collection is asked for; give --collection, as covid_19_ny_sbu")
    wanted = f"SELECT {_COLUMNS} FROM index WHERE collection_id IN ({_quoted(selection.collections)})"
    series = client.sql_query(f"{wanted} ORDER BY PatientID, StudyInstanceUID, SeriesInstanceUID")
    nothing = [name for name in selection.collections if name not in set(series["collection_id"])]
    if nothing:
        raise InputError(
            f"IDC has no collection {', '.join(nothing)}; names are as on portal.imaging.datacommons.cancer.gov, in "
            f"lower case with _: covid_19_ny_sbu, midrc_ricord_1c"
        )
    chosen = pd.Series(True, index=series.index)
    for option, column, names in (
        ("patients", "PatientID", selection.patients),
        ("modality", "Modality", selection.modalities),
    ):
        if not names:
            continue
        unknown = sorted(set(names) - set(series[column]))
        if unknown:
            raise InputError(
                f"--{option}: {len(unknown)} of {len(names)} are not in {', '.join(selection.collections)}: "
                f"{', '.join(unknown[:_NUM_SHOWN])}{' ...' if len(unknown) > _NUM_SHOWN else ''}"
            )
        chosen &= series[column].isin(list(names))
    if not chosen.any():
        raise InputError("these patients have no series of these modalities; leave out --patients or --modality")
    return series[chosen].reset_index(drop=True)


def summary(series: pd.DataFrame) -> list[str]:
    """A line for each collection and modality, then one for each licence."""
    lines = []
    for (collection, modality), rows in series.groupby(["collection_id", "Modality"]):
        lines.append(
            f"{collection} {modality}: {rows['PatientID'].nunique():,} patients, "
            f"{rows['StudyInstanceUID'].nunique():,} studies, {len(rows):,} series, "
            f"{size_text(rows['series_size_MB'].sum() * _BYTES_PER_MB)}"
        )
    for (licence, doi), rows in series.groupby(["license_short_name", "source_DOI"], dropna=False):
        lines.append(f"licence {licence}: {len(rows):,} series, to be cited as doi {doi}")
    return lines


def fetch_series(client: Any, series: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Fetch the series into `<patient>/<study>/<series>/`; those that are there already are left alone.

    Gives the rows of `series` whose files are not all there afterwards, with a `reason`.

    Raises:
        InputError: the disk has no room.
    """
    _remove_unfinished(series, folder)
    series = incomplete_series(series, folder)
    if series.empty:
        return series
    needed, free = series["series_size_MB"].sum() * _BYTES_PER_MB, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder} has {size_text(free)} free, but {size_text(needed)} are still to come; "
            f"make room, or give another --to FOLDER"
        )
    client.download_from_selection(
        downloadDir=str(folder),
        seriesInstanceUID=series["SeriesInstanceUID"].tolist(),
        quiet=True,
        show_progress_bar=True,
        use_s5cmd_sync=True,  # compares size and time, and fetches what differs
        dirTemplate=LAYOUT,
    )
    _remove_unfinished(series, folder)
    return incomplete_series(series, folder)


def incomplete_series(series: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows of `series` whose files are not those of the index, by number and size, with a `reason`."""
    reasons = [_reason(row, _place(row, folder)) for row in series.itertuples()]
    missing = [reason != "" for reason in reasons]
    return series.assign(reason=reasons)[missing]


def _reason(row: Any, place: Path) -> str:
    files = [file for file in place.glob("*") if file.is_file() and not file.name.startswith(".")]
    foreign = sorted(file.name for file in files if file.suffix != ".dcm")
    sizes = [file.stat().st_size for file in files if file.suffix == ".dcm"]
    if foreign:
        return f"{len(foreign)} of the files there are none of IDC; remove {', '.join(foreign[:_NUM_SHOWN])}"
    if len(sizes) > row.instanceCount:
        return (
            f"{len(sizes)} files are there, but the series has {row.instanceCount}, as after a change of the IDC "
            f"version; remove its folder"
        )
    if len(sizes) < row.instanceCount:
        return f"{len(sizes)} of {row.instanceCount} files are there"
    expected = row.series_size_MB * _BYTES_PER_MB
    return f"{sum(sizes)} bytes are there, of {expected:.0f}" if abs(sum(sizes) - expected) > 1 else ""


def _remove_unfinished(series: pd.DataFrame, folder: Path) -> None:
    for row in series.itertuples():
        for file in _place(row, folder).glob("*.dcm*"):
            if _UNFINISHED.fullmatch(file.name):
                file.unlink()


def _place(row: Any, folder: Path) -> Path:
    return folder / str(row.PatientID) / str(row.StudyInstanceUID) / str(row.SeriesInstanceUID)


def write_listing(series: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `<collection>_series.csv`: which series belong to which patient, with licence and citation."""
    paths = []
    for collection, rows in series.groupby("collection_id"):
        paths.append(folder / f"{collection}_series.csv")
        write_whole(paths[-1], rows.to_csv(index=False).encode("utf-8"))
    return paths


def fetch_idc(selection: IdcSelection, *, folder: str, dry_run: bool) -> bool:
    """Fetch a selection, and say on the standard output what was done; whether all of it is there.

    Raises:
        InputError: the package is not installed, there is nothing of what is asked for, no room, or another
        download at work in the folder.
    """
    client = idc_client()
    series = list_series(client, selection)
    for line in summary(series):
        print(line)
    if dry_run:
        return True
    place = Path(folder).expanduser().resolve()  # s5cmd runs elsewhere
    with alone_in(place):
        missing = fetch_series(client, series, place)
        for path in write_listing(series, place):
            print(f"{path.name}: the series, their patients and licences")
        print(f"{len(series) - len(missing):,} of {len(series):,} series are in {folder}")
        if missing.empty:
            (place / NOT_DOWNLOADED).unlink(missing_ok=True)
            return True
        columns = ["collection_id", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "reason"]
        write_whole(place / NOT_DOWNLOADED, missing[columns].to_csv(index=False).encode("utf-8"))
    print(f"{folder}/{NOT_DOWNLOADED} lists the others; the same line again tries them once more")
    return False


def _quoted(names: Sequence[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)

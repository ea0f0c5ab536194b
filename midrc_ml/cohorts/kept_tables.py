"""What a reader made of a folder, kept for as long as nothing that it read has changed.

<cache_dir>/tables/<reader>/<state>/
    cases.parquet ... readings.parquet, tables.json

reader: of the settings. state: of the name, size and times of everything in the folder, and of the code that read it;
an older state is removed when another is written. The rows hold what the export holds: they stay in the user's own
cache. A state is renamed into place when it is whole, so that a killed process leaves nothing half written.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from filelock import FileLock

from midrc_ml.cohorts.midrc_disk import NOT_THIS_TIME, walk
from midrc_ml.cohorts.reader import Tables
from midrc_ml.tables.schemas import FIVE_TABLES

log = logging.getLogger(__name__)

_REST = "tables.json"
_PACKAGE = Path(__file__).parent.parent
# The code on which the tables depend.
_READERS = ("cohorts", "tables", "images", "errors.py")


def kept_tables(read: Callable[[], Tables], *, cache_dir: str, settings: Mapping[str, object], folder: Path) -> Tables:
    """The tables that `read` gives of what lies below `folder`: those kept, else read and then kept.

    settings: everything else that `read` depends on, as JSON can hold it.
    """
    place = Path(cache_dir).expanduser().resolve() / "tables" / _hash([json.dumps(settings, sort_keys=True)])
    state = place / _hash([*_code(), *_stamps(folder)])
    try:
        tables = _loaded(state)
    except FileNotFoundError:
        pass  # never read, or changed since
    except (OSError, ValueError, TypeError, pa.ArrowException):
        log.warning("%s was damaged; it is written anew", state)
    else:
        log.info("The %s was read before, and nothing in it has changed since", tables.origin)
        return tables
    tables = read()
    if not any(NOT_THIS_TIME in note for note in tables.notes):
        try:
            _keep(tables, state)
        except OSError as error:  # the run needs none of it
            log.warning("The tables of the %s cannot be kept in %s: %s", tables.origin, place, error.strerror or error)
    return tables


def _loaded(state: Path) -> Tables:
    rest = json.loads((state / _REST).read_text(encoding="utf-8"))
    frames = {table.name: pd.read_parquet(state / f"{table.name}.parquet") for table in FIVE_TABLES}
    return Tables(**frames, **{**rest, "notes": tuple(rest["notes"])})


def _keep(tables: Tables, state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{state.parent}.lock"):
        for older in state.parent.iterdir():  # a process that reads it just now will read the export instead
            shutil.rmtree(older, ignore_errors=True)
        unfinished = state.with_name(f"{state.name}.unfinished")
        unfinished.mkdir()
        for table in FIVE_TABLES:
            getattr(tables, table.name).to_parquet(unfinished / f"{table.name}.parquet")
        rest = {"origin": tables.origin, "synthetic": tables.synthetic, "absent": tables.absent, "notes": tables.notes}
        (unfinished / _REST).write_text(json.dumps(rest), encoding="utf-8")
        unfinished.rename(state)


def _stamps(folder: Path) -> Iterator[str]:
    """Every folder and file with its size and times: of its content, and of its permissions."""
    for path, _, names in walk(folder):
        for one in (path, *(os.path.join(path, name) for name in names)):
            yield _stamp(one)


def _stamp(path: str | Path) -> str:
    try:
        status = os.stat(path)
    except OSError as error:  # a link that leads nowhere
        return f"{path} {error.errno}"
    # Listing a folder changes nothing of it; its size says nothing.
    return f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _code() -> Iterator[bytes | str]:
    yield pd.__version__
    for name in _READERS:
        place = _PACKAGE / name
        for path in [place] if place.is_file() else sorted(place.glob("*.py")):
            yield path.read_bytes()


def _hash(parts: Iterable[bytes | str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]

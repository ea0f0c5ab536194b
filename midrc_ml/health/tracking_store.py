"""The tracking store below the log folder: read with SQLite alone, never made, changed only where that is asked."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from midrc_ml.health.findings import Finding
from midrc_ml.health.places import (
    file_system,
    in_shell,
    is_locked,
    is_marked_read_only,
    is_network,
    nearest_folder,
    shown,
    size_text,
)
from midrc_ml.health.store_schema import migrations, schema_of
from midrc_ml.reporting.run_folder import STATUS

PART = "tracking store"
_STORE = "mlflow.db"
_CHECKED_BYTES = 200_000_000  # above, reading every page takes too long
_NAMED = 20
_RUN_FOLDERS = ("*/runs/*", "multiruns/*/*/*", "*/multiruns/*/*", "*")


@dataclass(frozen=True)
class OpenRun:
    """A run that MLflow calls RUNNING. last_sign: ms since 1970. is_alive: None where nobody can tell."""

    run_id: str
    name: str
    experiment: str
    last_sign: int
    is_alive: bool | None
    folder: Path | None

    def hours_silent(self) -> float:
        """Since the last metric, or since the start."""
        return max(0.0, (time.time() * 1000 - self.last_sign) / 3_600_000)


def tracking_findings(log_dir: Path, *, close_stale_hours: float | None = None) -> list[Finding]:
    """What is to be known of the log folder and the store in it.

    close_stale_hours: end the runs as KILLED that are RUNNING, have given no sign of life for so many hours and whose
    process is not seen to live; None = change nothing.
    """
    log_dir = Path(os.path.abspath(log_dir.expanduser()))
    found = [_folder(log_dir), *_network(log_dir)]
    path = log_dir / _STORE
    finding = partial(Finding, part=PART)
    if not path.exists():
        value = f"none in {shown(log_dir)} yet; the first run with tracking=mlflow makes it"
        return [*found, finding(status="not_applicable", what="store", value=value)]
    move = f"move it away, the next run makes a new one: mv {in_shell(path)} {in_shell(path)}.old"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)) as store:
            schema = _schema(store, path, move)
            found += [_store(store, path), schema]
            if schema.status == "ok":
                found += _integrity(store, path, move)
                found += _runs(store, log_dir, path, close_stale_hours)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            value = f"{shown(path)} is being written by another process"
            return [*found, finding(status="warn", what="store", value=value, what_to_do="look again in a moment")]
        value = f"{shown(path)} cannot be opened ({error})"
        found.append(
            finding(status="fail", what="store", value=value, what_to_do=f"give yourself the right, or {move}")
        )
    except sqlite3.DatabaseError as error:
        value = f"{shown(path)} is damaged ({error})"
        found.append(finding(status="fail", what="store", value=value, what_to_do=move))
    return found


def _folder(log_dir: Path) -> Finding:
    place = nearest_folder(log_dir)
    finding = partial(Finding, part=PART, what="log folder")
    if log_dir.exists() and not log_dir.is_dir():
        return finding(
            status="fail", value=f"{shown(log_dir)} is a file", what_to_do="give a folder: paths.log_dir=FOLDER"
        )
    if is_marked_read_only(place) or not os.access(place, os.W_OK | os.X_OK):
        value = f"{shown(log_dir)} cannot be written"
        return finding(status="fail", value=value, what_to_do="give a folder that can: paths.log_dir=FOLDER")
    return finding(status="ok", value=shown(log_dir) + ("" if place == log_dir else ", made by the first run"))


def _network(log_dir: Path) -> list[Finding]:
    kind = file_system(nearest_folder(log_dir))
    if not is_network(kind):
        return []
    value = f"{kind}, over the network, where SQLite's locks may fail and the store be damaged"
    advice = "use a server (tracking.uri=http://...), or a log folder on a local disk (paths.log_dir=FOLDER)"
    return [Finding(part=PART, status="warn", what="file system", value=value, what_to_do=advice)]


def _store(store: sqlite3.Connection, path: Path) -> Finding:
    (mode,) = store.execute("PRAGMA journal_mode").fetchone()
    value = f"SQLite, {size_text(path.stat().st_size)}, journal mode {mode}"
    if path.with_name(f"{path.name}-journal").exists():
        value += "; a change is being written, or was cut off and is taken back by the next writer"
    return Finding(part=PART, status="ok", what="store", value=value, facts={"journal_mode": mode})


def _schema(store: sqlite3.Connection, path: Path, move: str) -> Finding:
    schema = schema_of(store, migrations())
    finding = partial(Finding, part=PART, what="tables", facts={"state": schema.state})
    if schema.state in ("current", "empty"):
        return finding(status="ok" if schema.state == "current" else "not_applicable", value=schema.why)
    uri = in_shell(path, before="sqlite:///")
    advice = {
        "older": f"stop all runs, copy the file, then: mlflow db upgrade {uri}",
        "newer": "pip install -U mlflow, or choose another log folder: paths.log_dir=FOLDER",
        "unknown": "pip install -e . -c constraints.txt",
    }.get(schema.state, move)
    return finding(status="fail", value=f"{schema.state}: {schema.why}", what_to_do=advice)


def _integrity(store: sqlite3.Connection, path: Path, move: str) -> list[Finding]:
    if path.stat().st_size > _CHECKED_BYTES:
        return []
    (first, *_) = store.execute("PRAGMA quick_check(1)").fetchone()
    if first == "ok":
        return []
    value = f"damaged: {str(first).splitlines()[0][:150]}"
    return [Finding(part=PART, status="fail", what="pages", value=value, what_to_do=move)]


def _runs(store: sqlite3.Connection, log_dir: Path, path: Path, close_stale_hours: float | None) -> list[Finding]:
    finding = partial(Finding, part=PART)
    rows = store.execute(
        "SELECT status, COUNT(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY status ORDER BY status"
    )
    counts = {str(status): int(count) for status, count in rows}
    value = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none yet"
    found = [finding(status="ok", what="runs", value=value, facts=counts)]
    running = open_runs(store, log_dir)
    closed: list[str] = []
    if close_stale_hours is not None:
        stale = [run for run in running if not run.is_alive and run.hours_silent() >= close_stale_hours]
        if stale:
            closed = _close(path, stale)
        value = (
            f"{len(closed)} ended as KILLED" if closed else f"none without a sign of life for {close_stale_hours:g} h"
        )
        found.append(finding(status="ok", what="--close-stale", value=value, facts={"closed": closed}))
    for run in running[:_NAMED]:
        found.append(_running(run, is_closed=run.run_id in closed))
    if len(running) > _NAMED:
        found.append(finding(status="warn", what="RUNNING", value=f"and {len(running) - _NAMED} more"))
    return found


def _running(run: OpenRun, *, is_closed: bool) -> Finding:
    finding = partial(
        Finding,
        part=PART,
        what=f"{run.experiment} {run.name}",
        facts={"run_id": run.run_id, "is_alive": run.is_alive, "hours_silent": round(run.hours_silent(), 2)},
    )
    since = datetime.fromtimestamp(run.last_sign / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    hours = f"last sign of life {since}, {run.hours_silent():.1f} h ago"
    if is_closed:
        return finding(status="ok", value=f"ended as KILLED; {hours}")
    if run.is_alive:
        return finding(status="ok", value=f"RUNNING; its process holds its folder; {hours}")
    close = "--close-stale HOURS ends such runs as KILLED"
    if run.is_alive is False and run.folder is not None:
        go_on = f"python -m midrc_ml.train resume={in_shell(run.folder)} goes on with it; {close}"
        return finding(status="warn", value=f"RUNNING, but its process is gone; {hours}", what_to_do=go_on)
    value = f"RUNNING; whether its process lives is not known here; {hours}"
    return finding(status="warn", value=value, what_to_do=f"if it is gone, {close}")


def open_runs(store: sqlite3.Connection, log_dir: Path) -> list[OpenRun]:
    """Every run that is RUNNING, the longest silent first."""
    rows = store.execute(
        "SELECT runs.run_uuid, runs.name, experiments.name, runs.start_time, "
        "(SELECT MAX(timestamp) FROM latest_metrics WHERE latest_metrics.run_uuid = runs.run_uuid), "
        "(SELECT value FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'run_key') "
        "FROM runs LEFT JOIN experiments ON experiments.experiment_id = runs.experiment_id "
        "WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'"
    ).fetchall()
    folders = dict(_run_folders(log_dir)) if rows else {}
    local = not is_network(file_system(nearest_folder(log_dir)))
    found = []
    for run_id, name, experiment, started, measured, run_key in rows:
        folder = folders.get(run_id) or folders.get(run_key)
        found.append(
            OpenRun(
                run_id=run_id,
                name=str(name or run_id[:8]),
                experiment=str(experiment or "?"),
                last_sign=max(int(started or 0), int(measured or 0)),
                is_alive=_is_alive(folder, local),
                folder=folder,
            )
        )
    return sorted(found, key=lambda run: run.last_sign)


def _run_folders(log_dir: Path) -> Iterator[tuple[str, Path]]:
    """(run id in MLflow, or key of the run; its folder), of all runs below the log folder."""
    for pattern in _RUN_FOLDERS:
        for path in log_dir.glob(f"{pattern}/{STATUS}"):
            try:
                status = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            for key in ("tracking_run_id", "run_key"):
                if isinstance(status, dict) and isinstance(status.get(key), str):
                    yield status[key], path.parent


def _is_alive(folder: Path | None, local: bool) -> bool | None:
    """Whether a process holds the lock of a run's folder; a lock over the network may be free and yet be held."""
    if folder is None:
        return None
    try:
        held = is_locked(folder / "run.lock")
    except FileNotFoundError:
        held = False
    except OSError:
        return None
    return held if held or local else None


def _close(path: Path, stale: list[OpenRun]) -> list[str]:
    from filelock import FileLock

    from midrc_ml.tracking.stale_runs import close_runs

    reason = "closed by doctor: no sign of life"
    with FileLock(path.with_name("mlflow.lock")):
        return close_runs(f"sqlite:///{path}", {run.run_id: run.last_sign for run in stale}, reason=reason)

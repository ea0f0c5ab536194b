"""What may leave a run's folder: copies without small counts, searched for identifiers, paths and pixels.

<run folder>/shared/ holds them. The files of the run's folder itself tell everything, and stay.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.audits.entry import AuditEntry
from midrc_ml.audits.privacy.artifacts import Identifiers, ScanResult, artifacts_entry, scan_artifacts
from midrc_ml.audits.privacy.suppression import (
    is_small,
    shareable_flow,
    shareable_gaps,
    shareable_groups,
    small_groups_entry,
)
from midrc_ml.audits.privacy.suppression_cells import LEAST, is_told, without_small_counts
from midrc_ml.audits.run_audit import AUDIT_FILE, RunAudit
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.evaluation.evaluate import AGREEMENT_FILE, GAPS_FILE, GROUPS_FILE, METRICS_FILE, Results
from midrc_ml.reporting.audit_report import write_audit_report
from midrc_ml.reporting.comparison import ComparisonReport
from midrc_ml.reporting.report import Report
from midrc_ml.reporting.run_folder import ENVIRONMENT

log = logging.getLogger(__name__)

FOLDER = "shared"
FLOW_FILE = "cohort_flow.json"
PICTURES = ("flow.png", "groups.png", "learning.png", "performance.png")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shared:
    """What may be uploaded.

    paths: files that may be uploaded. audit: rows of the audit as they may be told.
    """

    paths: list[Path]
    audit: list[dict[str, Any]]


def share(
    folder: Path,
    report: Report,
    results: Results,
    checks: RunAudit,
    identifiers: Identifiers,
    *,
    others: Mapping[str, object] | None = None,
) -> Shared:
    """Write the shared copies of a run, and the report and `audit.json` of its folder, which tell how that came out.

    report: the run's own, of which audit and verdict are put in here. others: {name of a JSON file: what it says}. What
    holds an identifier, a path or a pixel in spite of all is not among the paths, and said.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    with checks.timed():
        flow = None if report.flow is None else shareable_flow(report.flow)
        people = _patients_by_group(report.predictions, results.groups)
        groups = shareable_groups(results.metrics, results.groups, num_patients=people)
        gaps = shareable_gaps(results.gaps, groups)
        metrics = [_without_few_labels(row) for row in results.metrics]
        agreement = [row for row in results.agreement if not is_small(row["n"])]
        told: Any = {"gaps_rows": results.gaps, "gaps_shared": gaps, "flow_shared": flow}
        checks.add(small_groups_entry(results.groups, groups, **told))
        files: dict[str, object] = {METRICS_FILE: metrics, GROUPS_FILE: groups, GAPS_FILE: gaps, **(others or {})}
        files |= {AGREEMENT_FILE: agreement} if agreement else {}
        files |= {FLOW_FILE: flow} if flow is not None else {}
        written = [_json(place / name, rows) for name, rows in files.items()]
        written += [path for path in (_copied(folder, place, ENVIRONMENT), _decision(results, place)) if path]
        _scanned(written, identifiers, checks)
    replace(report, audit=[entry.as_dict() for entry in checks.entries], verdict=checks.verdict()).write(folder)
    with checks.timed():
        audit = [shareable_entry(entry) for entry in checks.entries]
        told = {"metrics": metrics, "groups": groups, "gaps": gaps, "agreement": agreement, "audit": audit}
        told["flow"] = flow if flow is not None and "steps" in flow else None
        told |= {name: [without_small_counts(sentence) for sentence in sentences] for name, sentences in (
            ("verdict", checks.verdict()), ("warnings", report.warnings), ("notes", report.notes))}  # fmt: skip
        written += replace(report, **told, is_shared=True).write(place)
        written.append(_json(place / AUDIT_FILE, audit))
        paths = _scanned(written, identifiers, checks)
    return Shared(paths, [shareable_entry(entry) for entry in checks.entries])


def share_audit(folder: Path, told: Mapping[str, Any], checks: RunAudit, identifiers: Identifiers) -> Shared:
    """Write the shared copies of an audit without a model, and its report anew, with what came of it.

    told: of `write_audit_report`, without verdict and audit.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    verdict = [without_small_counts(sentence) for sentence in checks.verdict()]
    audit = [shareable_entry(entry) for entry in checks.entries]
    written = [_json(place / AUDIT_FILE, audit), *write_audit_report(place, **told, verdict=verdict, audit=audit)]
    paths = _scanned(list(dict.fromkeys(written)), identifiers, checks)
    rows = [entry.as_dict() for entry in checks.entries]
    write_audit_report(folder, **told, verdict=checks.verdict(), audit=rows)
    return Shared(paths, [shareable_entry(entry) for entry in checks.entries])


def share_comparison(
    folder: Path, report: ComparisonReport, written: Sequence[Path], identifiers: Identifiers
) -> list[Path]:
    """The files of a comparison that may be uploaded: of columns with a small group, a copy without them.

    written: the files of the run's own folder, which are uploaded as they are where no group is small.
    """
    found = report.comparison
    small = {
        row["group"]["column"]
        for row in found.by_group
        if is_small(row["n"]) or (isinstance(row["n_positive"], int)
                                  and is_told(row["n"], {"positive": row["n_positive"]}))
    }  # fmt: skip
    paths = list(written)
    if small:
        place = folder / FOLDER
        place.mkdir(exist_ok=True)
        kept = replace(
            found,
            by_group=[row for row in found.by_group if row["group"]["column"] not in small],
            levelling=[row for row in found.levelling if row["column"] not in small],
        )
        notes = [*report.notes, f"groups of fewer than {LEAST} are not shared: {', '.join(sorted(small))} left out"]
        copy = replace(report, comparison=kept, notes=[without_small_counts(note) for note in notes[:-1]] + notes[-1:])
        paths = [*copy.write(place), *(path for path in written if path.name == ENVIRONMENT)]
    result = scan_artifacts(paths, identifiers, allowed_pictures=[path.name for path in paths if path.suffix == ".png"])
    return _kept(paths, result)


def identifiers_of(tables: Tables, paths: Mapping[str, str]) -> Identifiers:
    """The ids of a cohort, and the folders of this machine. paths: the config's."""
    return Identifiers.of(tables, places=_places(paths))


def identifiers_of_rows(rows: pd.DataFrame, paths: Mapping[str, str]) -> Identifiers:
    """The ids of a predictions table, where there are no tables of a cohort."""
    blank = Tables.checked(origin="predictions")
    rows = rows.assign(case_id=rows.get("case_id", rows["patient_id"]))
    known = {
        "cases": rows[["case_id", "patient_id"]].drop_duplicates(),
        "studies": rows[["study_id", "case_id"]],
    }
    return Identifiers.of(replace(blank, **known), places=_places(paths))


def _places(paths: Mapping[str, str]) -> list[str]:
    places = [str(place) for place in (*paths.values(), Path.home(), Path.cwd()) if place]
    return [place for place in places if len(Path(place).parts) > 2]


def shareable_entry(entry: AuditEntry) -> dict[str, Any]:
    """A row of the audit without small counts: its sentences worded otherwise, and without the rows behind it."""
    row = replace(entry, details=()).as_dict()
    return {**row, "evidence": without_small_counts(row["evidence"])}


def _patients_by_group(predictions: pd.DataFrame, groups: Sequence[Row]) -> dict[tuple[str, str, str], int]:
    """{(part, column, group): patients}, of whom a group of many studies may have few."""
    found: dict[tuple[str, str, str], int] = {}
    columns = {row["group"]["column"] for row in groups if row["group"]["column"] in predictions}
    for column in sorted(columns):
        values = predictions[column].astype(object).fillna(NOT_REPORTED).astype(str)
        counts = predictions["patient_id"].groupby([predictions["part"], values]).nunique()
        found |= {(str(part), column, str(value)): int(count) for (part, value), count in counts.items()}
    return found


def _without_few_labels(row: Row) -> dict[str, Any]:
    """A row of `metrics.json`, of a whole part: how many have a label is not told where they are few."""
    labels = row["n_positive"]
    counts = {"positive": labels} if isinstance(labels, int) else dict(labels or {})
    if row["n"] is not None and counts and is_told(int(row["n"]), counts):
        return {**row, "n_positive": None}
    return dict(row)


def _json(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _copied(folder: Path, place: Path, name: str) -> Path | None:
    if not (folder / name).is_file():
        return None
    (place / name).write_bytes((folder / name).read_bytes())
    return place / name


def _decision(results: Results, place: Path) -> Path | None:
    """The decision, where it holds no score of a single study and was made on enough of both labels."""
    decision = results.decision
    if decision is None or decision.recalibration.method == "isotonic":
        return None
    few = decision.n_positive is not None and is_told(decision.n, {"positive": decision.n_positive})
    if few or is_small(decision.n):
        return None
    decision.save(place)
    return place / "decision.json"


def _scanned(paths: Sequence[Path], identifiers: Identifiers, checks: RunAudit) -> list[Path]:
    """The paths without a finding; `privacy` says what was found."""
    result = scan_artifacts(paths, identifiers, allowed_pictures=PICTURES)
    checks.add(artifacts_entry(result))
    return _kept(paths, result)


def _kept(paths: Sequence[Path], result: ScanResult) -> list[Path]:
    held_back = set(result.held_back)
    if held_back:
        log.warning(
            "Not uploaded: %s: what would name a patient or a machine stays in the run's folder",
            ", ".join(sorted(path.name for path in held_back)),
        )
    return [path for path in paths if path not in held_back]

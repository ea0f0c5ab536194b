"""Entries on sources: do they go with the label, and what is left of a score within one of them."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.simple_models import scores_of
from midrc_ml.audits.sources import association_rows, codes
from midrc_ml.audits.test_part import TestPart
from midrc_ml.audits.within import Within, within
from midrc_ml.evaluation.classes import auroc_macro
from midrc_ml.evaluation.weighted import Array

COLUMNS = ("site", "project", "view", "modality", "manufacturer")
_V_WARN, _V_FAIL = 0.3, 0.95
_LEAST_FOR_FAIL = 30  # patients
_FALLS = 0.1  # of the way from no knowledge to a perfect score, that may be lost within a source or at an unseen one
_TOLD = 0.5  # of that way, from which features are said to tell the source
_NO_SOURCE = "no site, project, view, modality or manufacturer is known, or each is the same for all studies"


def source_entry(rows: pd.DataFrame) -> AuditEntry:
    """`shortcut.source`: Cramer's V of each source and the label, overall and by part; the value is the highest of all.

    rows: part, label, patient_id and the columns of sources.
    """
    check = "shortcut.source"
    if rows["label"].nunique() < 2:
        return not_applicable(check, "all labels are alike")
    found = association_rows(rows, [name for name in COLUMNS if name in rows])
    known = [row for row in found if row["value"] is not None and row["part"] in ("all", "test")]
    if not known:
        return not_applicable(check, _NO_SOURCE)
    highest = max(known, key=lambda row: row["value"])
    value = highest["value"]
    status: Status = "warn" if value >= _V_WARN else "pass"
    if value >= _V_FAIL and highest["n"] >= _LEAST_FOR_FAIL:
        status = "fail"
    overall = {row["column"]: row["value"] for row in found if row["part"] == "all" and row["value"] is not None}
    told = ", ".join(f"{name} {v:.2f}" for name, v in sorted(overall.items(), key=lambda item: -item[1]))
    where = "" if highest["part"] == "all" else f" (up to {value:.2f}, of {highest['column']} in the test part)"
    return AuditEntry(
        check=check,
        status=status,
        value=value,
        evidence=f"Cramer's V of source and label (0 = independent, 1 = one tells the other): {told or 'none'}{where}",
        what_to_do="nothing"
        if status == "pass"
        else "compare within one source; split=leave_one_site_out; take positives and negatives from the same sources",
        details=found,
    )


def site_entry(
    part: TestPart, score: Array, name: str, *, unseen: Array | None, unseen_of: str, seen: Array | None
) -> AuditEntry:
    """`shortcut.site`: a score pooled over sites, within sites, and at sites that its model never saw.

    name: whose `score` (study,) of the test part it is. unseen: scores by models that never saw the study's site, of
    what `unseen_of` names, and seen: by the same model when it has; None = there is none. value: within sites.
    """
    check = "shortcut.site"
    of_sites = codes(part.studies["site"])
    if of_sites.max(initial=-1) < 1:
        return not_applicable(check, "one site only: nothing can be said of others", "test on studies of another site")
    found = within(part, score, part.studies["site"])
    if found is None:
        return not_applicable(check, "fewer than two sites have 10 test studies of which the metric has a value")
    said = [f"{name}: {part.name} {found.pooled:.3f} pooled over sites, {_limits(found)} within sites"]
    lost = _lost(part, found)
    warns = [lost >= _FALLS and (found.drop_low or 0) > 0]
    reversed_ = _is_reversed(part, found.pooled, found.value)
    details = [{"score": name, "sites": "pooled", "value": found.pooled, "low": None, "high": None, "n": len(of_sites)},
               {"score": name, "sites": "within", "value": found.value, "low": found.low, "high": found.high,
                "n": found.n}]  # fmt: skip
    if unseen is not None and seen is not None:
        able = np.asarray(~np.isnan(unseen.reshape(len(unseen), -1)).any(axis=1))
        there = within(part.where(able), unseen[able], part.studies["site"][able].reset_index(drop=True))
        here = within(part.where(able), seen[able], part.studies["site"][able].reset_index(drop=True))
        if there is not None and here is not None:
            said.append(
                f"{unseen_of}: {here.value:.3f} within sites that it was trained on, {_limits(there)} at sites that it "
                f"never saw"
            )
            warns.append(part.knowledge(here.value) - part.knowledge(there.value) >= 2 * _FALLS)
            reversed_ = reversed_ or _is_reversed(part, here.value, there.value)
            details += [{"score": unseen_of, "sites": where, "value": one.value, "low": one.low, "high": one.high,
                         "n": one.n} for where, one in (("within", here), ("unseen", there))]  # fmt: skip
    if reversed_:
        said.append("the order is reversed: what is better than chance pooled is worse than chance within sites")
    status: Status = "warn" if any(warns) or reversed_ else "pass"
    return AuditEntry(
        check=check,
        status=status,
        value=found.value,
        low=found.low,
        high=found.high,
        evidence="; ".join(said),
        what_to_do="nothing" if status == "pass" else "report the value within sites, and that of "
        "split=leave_one_site_out, beside the pooled one",
        details=[*details, *({"site": row.pop("group"), **row} for row in [dict(row) for row in found.groups])],
    )  # fmt: skip


def conditional_entry(part: TestPart, score: Array, name: str) -> AuditEntry:
    """`shortcut.conditional`: a score among studies of one view, one scanner, one modality alone.

    value: the mean within views, or of the first column that has two groups.
    """
    check = "shortcut.conditional"
    found: list[tuple[str, Within]] = []
    for column in ("view", "manufacturer", "modality", "project"):
        if column in part.studies:
            one = within(part, score, part.studies[column])
            if one is not None:
                found.append((column, one))
    if not found:
        return not_applicable(check, "no view, manufacturer, modality or project has two groups with a value")
    said, details, warns = [], [], []
    for column, one in found:
        groups = ", ".join(f"{row['group']} {row['value']:.3f}" for row in one.groups if row["value"] is not None)
        said.append(f"within one {column} {_limits(one)} ({groups})")
        warns.append(_lost(part, one) >= _FALLS and (one.drop_low or 0) > 0)
        warns.append(_is_reversed(part, one.pooled, one.value))
        details += [{"column": column, **row} for row in one.groups]
    first = found[0][1]
    status: Status = "warn" if any(warns) else "pass"
    return AuditEntry(
        check=check,
        status=status,
        value=first.value,
        low=first.low,
        high=first.high,
        evidence=f"{name}: {part.name} {first.pooled:.3f} pooled; " + "; ".join(said),
        what_to_do="nothing" if status == "pass" else "report the value within one view and one scanner beside the "
        "pooled one: part of it is told by the source alone",
        details=details,
    )  # fmt: skip


def features_entry(features: Array | None, rows: pd.DataFrame, part: TestPart) -> AuditEntry:
    """`shortcut.features`: how well a source is told from the model's features, each patient by a model of others.

    features: (study, feature), what the network hands its last layer of the test studies; None = it has no such layer.
    rows: those studies. value: the macro AUROC of the source that is told best.
    """
    check = "shortcut.features"
    if features is None:
        return not_applicable(check, "the network's last layer is no linear one, or nothing was trained here")
    told: list[dict[str, object]] = []
    for column in COLUMNS:
        code = codes(rows[column]) if column in rows else np.zeros(0)
        counts = np.bincount(code[code >= 0]) if len(code) else np.zeros(0)
        names = np.flatnonzero(counts >= 10)
        if len(names) < 2:
            continue
        able = np.isin(code, names)
        label = np.searchsorted(names, code[able])
        asked = rows[able].reset_index(drop=True).assign(label=label, part="test")
        scores = scores_of(
            features[able],
            asked,
            kind="multiclass",
            num_classes=len(names),
            form="linear",
            parts=min(50, len(asked) // 4),
        )
        if scores is None:
            continue
        of_source = TestPart.of(
            asked,
            np.tile(np.bincount(label) / len(label), (len(label), 1)),
            metrics={"auroc_macro": auroc_macro},
            kind="multiclass",
            classes=[str(name) for name in names],
            evaluation=part.evaluation,
        )
        row = of_source.compared({column: scores}).values[0]
        told.append({"column": column, "metric": "auroc_macro", "value": row["value"], "low": row["low"],
                     "high": row["high"], "n": row["n"]})  # fmt: skip
    known = [row for row in told if row["value"] is not None]
    if not known:
        return not_applicable(check, "no source has two groups of 10 test studies")
    best = max(known, key=lambda row: float(str(row["value"])))
    low = best["low"]
    together = {
        row["column"]: row["value"] for row in association_rows(rows, [str(best["column"])]) if row["part"] == "test"
    }
    v = together.get(str(best["column"])) or 0.0
    is_told = low is not None and 2 * (float(str(low)) - 0.5) >= _TOLD
    status: Status = "warn" if is_told and v >= _V_WARN else "pass"
    words = ", ".join(f"{row['column']} {float(str(row['value'])):.3f}" for row in known)
    return AuditEntry(
        check=check,
        status=status,
        value=float(str(best["value"])),
        low=None if low is None else float(str(low)),
        high=None if best["high"] is None else float(str(best["high"])),
        evidence=f"told from what the network hands its last layer (auroc_macro, 0.5 = not at all): {words}"
        + (f"; {best['column']} goes with the label (Cramer's V {v:.2f}), so that it could be used" if is_told else ""),
        what_to_do="nothing"
        if status == "pass"
        else "compare within one source; train with algorithm=group_dro, or on sources in which both classes are alike",
        details=told,
    )


def _limits(found: Within) -> str:
    between = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{between}"


def _lost(part: TestPart, found: Within) -> float:
    lost = part.knowledge(found.pooled) - part.knowledge(found.value)
    return 0.0 if math.isnan(lost) else lost


def _is_reversed(part: TestPart, pooled: float, other: float) -> bool:
    return part.knowledge(pooled) > _FALLS / 2 and part.knowledge(other) < -_FALLS / 2


def sources_of(rows: pd.DataFrame) -> Sequence[str]:
    """The columns of sources that differ between these studies."""
    return [name for name in COLUMNS if name in rows and codes(rows[name]).max(initial=-1) > 0]

"""A task: one question, who it is asked of, where its answer is found, and what scores a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import pandas as pd

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection, select_studies
from midrc_ml.errors import InputError
from midrc_ml.tasks.site_guard import constant_sites

LabelRule = Callable[[Tables, pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted. Its YAML is the whole definition; raise `version` whenever any label can change.

    kind: `binary` (label 0/1) or `regression` (label a number, in `unit`).
    needs: tables and event kinds without which the question cannot be answered.
    metrics: {name: function (y_true, y_score) -> float}.
    """

    name: str
    version: int
    question: str
    source: str
    kind: Literal["binary", "regression"]
    label: LabelRule
    metrics: Mapping[str, Callable[..., object]]
    needs: Sequence[str] = ("cases", "studies", "series")
    unit: str = ""
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if self.kind not in ("binary", "regression"):
            raise InputError(f"task {self.name}: kind is {self.kind!r}; it must be binary or regression")
        if not self.metrics:
            raise InputError(f"task {self.name}: metrics is {self.metrics!r}; name at least one, the headline first")

    @property
    def definition(self) -> dict[str, object]:
        """What decides the labels: name, version, window and rule, selection. Part of the split manifest."""
        rule = getattr(self.label, "func", self.label)
        settings = dict(getattr(self.label, "keywords", {}))
        name = getattr(rule, "__name__", type(rule).__name__)
        return {
            "task": self.name,
            "version": self.version,
            "label": {"rule": name, **settings},
            "selection": asdict(self.selection),
        }

    def labelled_studies(self, tables: Tables, flow: CohortFlow) -> pd.DataFrame:
        """The studies that have a label, one row each; every other study is counted in `flow` with its reason.

        Columns: those of `select_studies`, and `label`.

        Raises:
            InputError: a table that the task needs is absent, or no study has a label.
        """
        tables.require(self.needs, needed_by=f"task={self.name}")
        flow.notes += tables.notes
        studies = select_studies(tables, self.selection, flow)
        found = self.label(tables, studies)
        studies = studies.assign(label=found["label"].to_numpy())
        excluded = flow.step("at risk", studies, found["excluded"])
        missing = found.loc[found["excluded"].isna(), "missing"].reset_index(drop=True)
        if self.kind == "binary":
            for constant in constant_sites(excluded[missing.isna()]):
                flow.notes.append(str(constant))
                missing[(excluded["site"] == constant.site) & missing.isna()] = (
                    "label constant at the site: not recorded there"
                )
        labelled = flow.step("label known", excluded, missing)
        if labelled.empty:
            raise InputError(f"task={self.name}: no study has a label in the {tables.origin}. {last_exclusions(flow)}")
        return labelled


def last_exclusions(flow: CohortFlow) -> str:
    """Where the studies went, in one sentence, for the message that none is left."""
    parts = [f"{entry['n']} {entry['reason']}" for step in flow.steps for entry in step["excluded"]]
    total = flow.steps[0]["n_in"] if flow.steps else 0
    return f"Of {total} studies: " + ("; ".join(parts) or "none was excluded") + "."

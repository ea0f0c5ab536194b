"""A task: one question, who it is asked of, where its answer is found, and what scores a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import pandas as pd

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import ImageFiles, Selection, one_study_a_case, select_cases, select_studies
from midrc_ml.errors import InputError
from midrc_ml.tasks.site_guard import ConstantSite, constant_sites

LabelRule = Callable[[Tables, pd.DataFrame], pd.DataFrame]
Kind = Literal["binary", "multiclass", "ordinal", "regression", "time_to_event"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted. Its YAML is the whole definition; raise `version` whenever any label can change.

    kind: `binary` (label 0/1); `multiclass` (label = position in `classes`); `ordinal` and `regression` (label a
    number, in `unit`); `time_to_event` (label 1 = the event was seen, 0 = censored, with a column `time` in days).
    needs: tables and event kinds without which the question cannot be answered. Where `studies` is not among
    them, a cohort without studies is asked case by case.
    metrics: {name: function (y_true, y_score) -> float}, the headline first. Arrays are (study,), but y_score of
    `multiclass` is (study, class) and y_true of `time_to_event` is (study, 2): event and time.
    """

    name: str
    version: int
    question: str
    source: str
    kind: Kind
    label: LabelRule
    metrics: Mapping[str, Callable[..., object]]
    needs: Sequence[str] = ("cases", "studies", "series")
    unit: str = ""
    classes: Sequence[str] = ()
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"task {self.name}: kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if not self.metrics:
            raise InputError(f"task {self.name}: metrics is {self.metrics!r}; name at least one, the headline first")
        if (self.kind == "multiclass") != (len(self.classes) > 1):
            raise InputError(
                f"task {self.name}: kind is {self.kind} and classes is {list(self.classes)}; "
                f"a multiclass task names its classes, at least two, and no other task does"
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"task {self.name}: classes is {list(self.classes)}; each class is named once")

    @property
    def definition(self) -> dict[str, object]:
        """What decides the labels: name, version, window and rule, selection. Part of the split manifest."""
        classes = {"classes": list(self.classes)} if self.classes else {}
        return {
            "task": self.name,
            "version": self.version,
            "label": {"rule": self.rule_name, **self.settings},
            "selection": asdict(self.selection),
            **classes,
        }

    @property
    def rule_name(self) -> str:
        """The name of the label rule."""
        rule = getattr(self.label, "func", self.label)
        return getattr(rule, "__name__", type(rule).__name__)

    @property
    def settings(self) -> dict[str, object]:
        """The settings of the label rule, as in the YAML."""
        return dict(getattr(self.label, "keywords", {}))

    def labelled_studies(self, tables: Tables, flow: CohortFlow, *, image_files: ImageFiles = "needed") -> pd.DataFrame:
        """The studies that have a label, one row each; every other study is counted in `flow` with its reason.

        Columns: those of `select_studies`, `label`, and `time` for a time_to_event task. Where the cohort has no
        studies and the task does not need them, one row per case (`select_cases`).

        Raises:
            InputError: a table that the task needs is absent, or no study has a label.
        """
        return self.label_known(tables, self.selected(tables, flow, image_files=image_files), flow)

    def selected(self, tables: Tables, flow: CohortFlow, *, image_files: ImageFiles = "needed") -> pd.DataFrame:
        """The studies, or cases, that the task is about, before any label is asked for.

        Raises:
            InputError: a table that the task needs is absent.
        """
        needs = [*self.needs, *(["studies", "series"] if image_files == "needed" else [])]
        tables.require(dict.fromkeys(needs), needed_by=f"task={self.name}")
        flow.notes += tables.notes
        if self._by_case(tables):
            flow.unit = "case"
            return select_cases(tables, self.selection, flow)
        return select_studies(tables, self.selection, flow, image_files=image_files)

    def label_known(self, tables: Tables, rows: pd.DataFrame, flow: CohortFlow) -> pd.DataFrame:
        """Those of the `selected` that have a label, with it.

        Raises:
            InputError: none has.
        """
        found = self.label(tables, rows)
        rows = rows.assign(label=found["label"].to_numpy())
        if self.kind == "time_to_event":
            rows = rows.assign(time=found["time"].to_numpy())
        at_risk = flow.step("at risk", rows, found["excluded"])
        missing = found.loc[found["excluded"].isna(), "missing"].reset_index(drop=True)
        found_constant = self.constant_sites(at_risk[missing.isna()])
        flow.details["constant_sites"] = [str(constant) for constant in found_constant]
        flow.notes += flow.details["constant_sites"]
        for constant in found_constant:
            missing[(at_risk["site"] == constant.site) & missing.isna()] = (
                "label constant at the site: not recorded there"
            )
        labelled = flow.step("label known", at_risk, missing)
        if not self._by_case(tables):
            labelled = one_study_a_case(labelled, tables, self.selection, flow)
        if labelled.empty:
            raise InputError(f"task={self.name}: no {flow.unit} has a label in the {tables.origin}. {exclusions(flow)}")
        return labelled

    def _by_case(self, tables: Tables) -> bool:
        return "studies" in tables.absent and "studies" not in self.needs

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Refuse images that are not for the series of this task: a film recipe would take one slice of each CT.

        modalities: those that a recipe is for.

        Raises:
            InputError: the task selects others.
        """
        others = [name for name in self.selection.modalities if name not in modalities]
        if others:
            raise InputError(
                f"images=... is for {' and '.join(modalities)}, but task={self.name} selects {' and '.join(others)}; "
                f"give images=ct_96 and model=densenet121_3d for CT, images=cxr_224 and model=densenet121 for films, "
                f"or another task"
            )

    def constant_sites(self, labelled: pd.DataFrame) -> list[ConstantSite]:
        """Sites that do not record a 0/1 label; none where the label is not 0 or 1."""
        return constant_sites(labelled) if self.kind in ("binary", "time_to_event") else []


def exclusions(flow: CohortFlow) -> str:
    """Where the rows went, in one sentence, for the message that none is left."""
    parts = [f"{entry['n']} {entry['reason']}" for step in flow.steps for entry in step["excluded"]]
    total = flow.taken[0]["n_in"] if flow.taken else 0
    units = "studies" if flow.unit == "study" else "cases"
    return f"Of {total} {units}: " + ("; ".join(parts) or "none was excluded") + "."

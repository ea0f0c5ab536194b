from functools import partial

import numpy as np
import pandas as pd
import pytest

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection
from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.tasks.flags import flag
from midrc_ml.tasks.outcomes import event_within_horizon
from midrc_ml.tasks.task import KINDS, Task


def icu_task(**settings) -> Task:
    given = {
        "name": "icu",
        "version": 1,
        "question": "?",
        "source": "test",
        "kind": "binary",
        "label": partial(event_within_horizon, event="icu_stay", horizon_days=14),
        "metrics": {"auroc": auroc},
        "needs": ["cases", "studies", "series", "hospital_stay", "icu_stay"],
    }
    return Task(**{**given, **settings})


def flag_task() -> Task:
    return icu_task(name="icu_ever", label=partial(flag, column="icu_ever"), needs=["cases", "studies", "series"])


def tables_of(cases: pd.DataFrame, studies: pd.DataFrame, events: pd.DataFrame | None = None, **given) -> Tables:
    series = pd.DataFrame(
        {
            "series_id": studies["study_id"],
            "study_id": studies["study_id"],
            "modality": "DX",
            "view": "AP",
            "file": "/x/" + studies["study_id"],
        }
    )
    return Tables.checked(origin="test", cases=cases, studies=studies, series=series, events=events, **given)


def random_tables(num_cases: int, seed: int) -> Tables:
    """Sites A and B date ICU stays, C sends stays alone, some patients have none."""
    rng = np.random.default_rng(seed)
    cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(num_cases)], "site": rng.choice(list("ABC"), num_cases)})
    cases["patient_id"] = cases["case_id"]
    events = []
    for row in cases.itertuples():
        start, end = int(rng.integers(-2, 4)), int(rng.integers(6, 40))
        if rng.random() < 0.8:
            how = rng.choice(["Home or Self Care", "Deceased"])
            events.append(
                {"case_id": row.case_id, "kind": "hospital_stay", "start_day": start, "end_day": end, "value": how}
            )
            if row.site != "C" and rng.random() < 0.5:
                events.append(
                    {"case_id": row.case_id, "kind": "icu_stay", "start_day": start + int(rng.integers(0, 6))}
                )
    studies = pd.DataFrame(
        {"case_id": rng.choice(cases["case_id"], 3 * num_cases), "day": rng.integers(-5, 12, 3 * num_cases)}
    )
    studies["study_id"] = [f"s{i}" for i in range(len(studies))]
    return tables_of(cases, studies, pd.DataFrame(events))


def flagged_tables(**sites: list[bool | None]) -> Tables:
    """One case and two studies a flag."""
    cases = pd.DataFrame(
        [
            {"case_id": f"{site}-{i}", "site": site, "icu_ever": value}
            for site, values in sites.items()
            for i, value in enumerate(values)
        ]
    )
    cases["patient_id"] = cases["case_id"]
    studies = pd.DataFrame([{"case_id": name, "study_id": f"{name}-{i}"} for name in cases["case_id"] for i in (1, 2)])
    return tables_of(cases, studies)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_study_is_labelled_or_counted_with_a_reason_at_every_site(seed: int) -> None:
    tables, flow = random_tables(60, seed), CohortFlow(origin="test")
    labelled = icu_task().labelled_studies(tables, flow)
    assert labelled["label"].isin([0, 1]).all()
    sites = tables.studies["case_id"].map(tables.cases.set_index("case_id")["site"]).value_counts().to_dict()
    for site, count in sites.items():
        excluded = sum(entry["by_site"].get(site, 0) for step in flow.steps for entry in step["excluded"])
        assert count == excluded + int((labelled["site"] == site).sum())
    flow.count_labels(labelled, kind="binary")
    assert {entry["site"]: entry["n"] for entry in flow.labels} == labelled["site"].value_counts().to_dict()
    positives = labelled.groupby("site")["label"].sum().astype(int).to_dict()
    assert {entry["site"]: entry["n_positive"] for entry in flow.labels} == positives
    assert set(labelled["site"]) == {"A", "B"}


def test_excluded_and_missing_are_steps_of_their_own() -> None:
    flow = CohortFlow(origin="test")
    icu_task().labelled_studies(random_tables(60, 0), flow)
    by_step = {step["step"]: {entry["reason"] for entry in step["excluded"]} for step in flow.steps}
    assert {
        "not at risk: outside every hospital stay",
        "not at risk: icu_stay began on or before the day of the study",
    } == by_step["at risk"]
    assert {"no hospital stay on record", "the site dates no icu_stay"} == by_step["label known"]


def test_a_label_belongs_to_its_own_study_whatever_was_left_out_before() -> None:
    flags = {"A": [True, None, False, True], "B": [None, False]}
    tables = flagged_tables(**flags)
    labelled = flag_task().labelled_studies(tables, CohortFlow(origin="test"))
    expected = {
        f"{site}-{i}": value for site, values in flags.items() for i, value in enumerate(values) if value is not None
    }
    assert labelled.set_index("study_id")["label"].to_dict() == {
        f"{name}-{i}": float(value) for name, value in expected.items() for i in (1, 2)
    }


def test_labels_of_a_site_that_never_varies_are_missing_and_the_run_says_so() -> None:
    tables = flagged_tables(A=[True] * 40 + [False] * 60, B=[False] * 60, C=[False] * 49)
    flow = CohortFlow(origin="test")
    labelled = flag_task().labelled_studies(tables, flow)
    assert labelled["site"].value_counts().to_dict() == {"A": 200, "C": 98}
    (entry,) = flow.steps[-1]["excluded"]
    assert entry["by_site"] == {"B": 120}
    assert "constant at the site" in entry["reason"]
    assert any(note.startswith("site B: the label is 0 for all 60 cases") for note in flow.notes)


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (
            {"icu_stay": "from the visit node"},
            r"task=icu needs icu_stay \(from the visit node\), not found in the test",
        ),
        (
            {"series": "from the dx_series_file node", "hospital_stay": "from the visit node", "covid_test": "x"},
            r"task=icu needs series \(from the dx_series_file node\), hospital_stay \(from the visit node\), not found",
        ),
    ],
)
def test_a_missing_node_is_named_with_what_it_is_for(absent: dict[str, str], words: str) -> None:
    tables = tables_of(
        pd.DataFrame({"case_id": ["c"], "patient_id": "c"}),
        pd.DataFrame({"study_id": ["s"], "case_id": "c"}),
        absent=absent,
    )
    with pytest.raises(InputError, match=words):
        icu_task().labelled_studies(tables, CohortFlow(origin="test"))


def test_a_node_that_the_task_does_not_read_may_be_absent() -> None:
    tables = flagged_tables(A=[True, False])
    with_absent = Tables(**{**vars(tables), "absent": {"icu_stay": "from the visit node"}})
    assert len(flag_task().labelled_studies(with_absent, CohortFlow(origin="test"))) == 4


def test_no_usable_label_is_told_with_where_the_studies_went() -> None:
    flow = CohortFlow(origin="test")
    with pytest.raises(InputError) as error:
        flag_task().labelled_studies(flagged_tables(A=[None, None], B=[None]), flow)
    assert str(error.value) == (
        "task=icu_ever: no study has a label in the test. Of 6 studies: 6 icu_ever not recorded."
    )
    assert flow.steps[-1]["n_out"] == 0


def test_no_study_at_all_is_told() -> None:
    tables = tables_of(
        pd.DataFrame({"case_id": ["c"], "patient_id": "c"}), pd.DataFrame({"study_id": [], "case_id": []}, dtype=str)
    )
    with pytest.raises(InputError, match="task=icu: no study has a label in the test"):
        icu_task().labelled_studies(tables, CohortFlow(origin="test"))


def test_the_definition_changes_with_version_window_rule_and_selection() -> None:
    tasks = [
        icu_task(),
        icu_task(version=2),
        icu_task(name="icu2"),
        icu_task(label=partial(event_within_horizon, event="icu_stay", horizon_days=7)),
        icu_task(label=partial(flag, column="icu_ever")),
        icu_task(selection=Selection(min_age=18)),
    ]
    definitions = [task.definition for task in tasks]
    for i, one in enumerate(definitions):
        assert all(one != other for other in definitions[i + 1 :])
    assert definitions[0] == icu_task(question="in other words", source="another").definition


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="task icu: kind is 'binnary'; it must be one of binary, multiclass"):
        icu_task(kind="binnary")


@pytest.mark.parametrize("metrics", [None, {}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_any_kind_without_metrics_is_refused(kind: str, metrics: dict | None) -> None:
    with pytest.raises(InputError, match=f"task icu: metrics is {metrics}; name at least one, the headline first"):
        icu_task(kind=kind, metrics=metrics, classes=["a", "b"] if kind == "multiclass" else [])


def test_a_class_that_is_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"classes is \['mild', 'severe', 'mild'\]; each class is named once"):
        icu_task(kind="multiclass", classes=["mild", "severe", "mild"])


@pytest.mark.parametrize(("kind", "classes"), [("multiclass", ["one"]), ("binary", ["a", "b"])])
def test_a_multiclass_task_names_its_classes_and_no_other_does(kind: str, classes: list[str]) -> None:
    with pytest.raises(InputError, match="names its classes, at least two"):
        icu_task(kind=kind, classes=classes, metrics={"auroc": auroc})


def test_the_time_of_a_time_to_event_task_stands_beside_its_label() -> None:
    def rule(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"label": 1.0, "time": rows["day"] + 2, "missing": None, "excluded": None})

    cases = pd.DataFrame({"case_id": ["c"], "patient_id": ["c"]})
    tables = tables_of(cases, pd.DataFrame({"study_id": ["s"], "case_id": ["c"], "day": [3.0]}))
    task = icu_task(kind="time_to_event", label=rule, needs=["cases"])
    assert task.labelled_studies(tables, CohortFlow(origin="test"))["time"].tolist() == [5.0]


def test_training_needs_studies_even_where_the_question_does_not() -> None:
    cases = pd.DataFrame({"case_id": ["c"], "patient_id": ["c"], "icu_ever": [True]})
    tables = Tables.checked(origin="test", cases=cases, absent={"studies": "nowhere", "series": "nowhere"})
    task = icu_task(label=partial(flag, column="icu_ever"), needs=["cases"])
    with pytest.raises(InputError, match=r"task=icu needs studies \(nowhere\), series \(nowhere\)"):
        task.labelled_studies(tables, CohortFlow(origin="test"))
    flow = CohortFlow(origin="test")
    assert task.labelled_studies(tables, flow, image_files="if any")["study_id"].tolist() == ["c"]
    assert flow.unit == "case"


def test_images_of_other_modalities_are_refused() -> None:
    films, volumes = Selection(), Selection(modalities=["CT"])
    icu_task(selection=films).check_modalities(("CR", "DX"))
    icu_task(selection=volumes).check_modalities(("CT",))
    words = r"images=... is for CR and DX, but task=icu selects CT; give images=ct_96 and model=densenet121_3d for CT"
    with pytest.raises(InputError, match=words):
        icu_task(selection=volumes).check_modalities(("CR", "DX"))
    with pytest.raises(InputError, match=r"images=... is for CT, but task=icu selects CR and DX"):
        icu_task(selection=films).check_modalities(("CT",))

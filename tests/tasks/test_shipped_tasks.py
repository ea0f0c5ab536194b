"""Every task that is shipped, asked of one small hospital in which each of its answers can be found."""

from pathlib import Path

import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from timelines import covid_test, death, icu, stay, ventilation

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.config import shipped_folder
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task

FILES = {path.stem: path for path in sorted((shipped_folder("configs") / "task").glob("*.yaml"))}
# DESIGN 3, and the flags and the grade beside them.
EXPECTED = {
    "covid": [1.0, 0.0, 1.0],
    "covid_ct": [1.0, 0.0, 1.0],
    "hospital_admission": [1.0, 1.0, 0.0],
    "icu": [1.0, 0.0],
    "icu_ever": [1.0, 0.0],
    "ventilation": [0.0, 1.0],
    "mortality": [0.0, 1.0],
    "deterioration": [1.0, 1.0],
    "length_of_stay": [9.0],
    "time_to_icu": [1.0, 0.0],
    "mrale": [20.0, 0.0, 5.0],
    "geographic_extent": [2.5, 2.5, 2.5],
    "opacity": [2.5, 2.5, 2.5],
    "brixia": [9.0, 9.0, 9.0],
    "pneumonia_class": [1.0, 1.0, 1.0],
    "ventilated_ever": [0.0, 1.0],
    "covid_ever": [1.0, 0.0, 1.0],
    "long_covid": [1.0],
    "died": [0.0, 1.0, 0.0],
    "severe": [0.0, 1.0, 0.0],
    "airspace_grade": [2.0, 2.0, 2.0],
}
FLAGS = {
    "covid_ever": [True, False, True],
    "icu_ever": [True, False, None],
    "ventilated_ever": [False, True, None],
    "died": [False, True, False],
    "severe": [False, True, False],
    "long_covid": [True, None, None],
}
OF_CT = ("covid_ct", "severe")


def shipped(name: str) -> Task:
    """The task without its metrics, which are a group of their own, and with the selection that it names."""
    own = OmegaConf.load(FILES[name])
    entries = own.pop("defaults")
    package = ""
    if "task" in own:  # written for the root of the configuration, as it sets more than the task
        own, package = own.task, "task."
    at = f"/selection@{package}selection"
    (selection,) = [entry[at] for entry in entries if at in entry]
    path = shipped_folder("configs") / "selection" / f"{selection}.yaml"
    config = OmegaConf.merge({"selection": OmegaConf.load(path)}, own)
    config.metrics = {"one": {"_target_": "midrc_ml.evaluation.metrics.mae", "_partial_": True}}
    return instantiate(config, _convert_="all")


def hospital(tmp: Path, *, modality: str, day: float) -> Tables:
    """Three patients, one study each on `day`: a goes to intensive care and home, b dies ventilated, c was at home."""
    cases = pd.DataFrame({"case_id": list("abc"), "patient_id": list("abc"), "site": "A", "age": 50.0})
    cases = cases.assign(**FLAGS)
    studies = pd.DataFrame({"study_id": list("abc"), "case_id": list("abc"), "modality": modality, "day": day})
    series = studies[["study_id", "modality"]].assign(series_id=list("abc"), file=str(tmp))
    events = [
        stay(0, 12, of="a"),
        icu(5, 7, of="a"),
        stay(0, 8, "Deceased", of="b"),
        ventilation(6, 8, of="b"),
        death(8, of="b"),
        stay(-90, -80, of="c"),
        stay(40, 41, of="c"),
        covid_test(-2, "Positive", of="a"),
        covid_test(-2, "Negative", of="b"),
        covid_test(-2, "Positive", of="c"),
    ]
    scores = {
        "mrale_total": [20, 0, 5],
        "geographic_extent": [2, 2, 2],
        "opacity": [2, 2, 2],
        "brixia_total": [9, 9, 9],
    }
    readings = [
        {"study_id": study, "reader": reader, "name": name, "value": value + (reader == "junior")}
        for name, values in scores.items()
        for study, value in zip("abc", values, strict=True)
        for reader in (["senior"] if name == "mrale_total" else ["senior", "junior"])
    ]
    readings += [
        {"study_id": study, "reader": "senior", "name": name, "category": category}
        for name, category in (("pneumonia_class", "typical"), ("airspace_grade", "moderate"))
        for study in "abc"
    ]
    return Tables.checked(
        origin="hospital",
        cases=cases,
        studies=studies,
        series=series,
        events=pd.DataFrame(events),
        readings=pd.DataFrame(readings),
    )


def test_each_task_has_an_expected_answer_here() -> None:
    assert set(EXPECTED) == set(FILES)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tables]:
    folder = tmp_path_factory.mktemp("images")
    return {
        "CR": hospital(folder, modality="CR", day=3),
        "CT": hospital(folder, modality="CT", day=3),
        "at home": hospital(folder, modality="CR", day=-5),
    }


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_task_answers_its_question_of_the_hospital(name: str, hospitals: dict[str, Tables]) -> None:
    kind = "CT" if name in OF_CT else "at home" if name == "hospital_admission" else "CR"
    task = shipped(name)
    labelled = task.labelled_studies(hospitals[kind], CohortFlow(origin="hospital"))
    assert labelled["label"].tolist() == EXPECTED[name]
    assert task.question.endswith("?")
    if name == "time_to_icu":
        assert labelled["time"].tolist() == [2, 5]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_task_names_what_it_needs(name: str, hospitals: dict[str, Tables]) -> None:
    """The tables and event kinds without which it is refused are those that it reads."""
    task = shipped(name)
    for needed in task.needs:
        absent = Tables(**{**vars(hospitals["CR"]), "absent": {needed: "from nowhere"}})
        with pytest.raises(InputError, match=f"task={name} needs {needed}"):
            task.labelled_studies(absent, CohortFlow(origin="hospital"))

"""A cohort that the package does not know, by YAML alone: the one of docs/own_data.md, and two public collections."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from csv_hospital import write_hospital
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from midrc_ml.cohorts.csv_cohort import CsvCohort
from midrc_ml.cohorts.csv_description import columns_of
from midrc_ml.cohorts.reader import Tables
from midrc_ml.config import instantiated, make_places_absolute, register, shipped_folder

NY_SBU = """
cases:
  file: clinical_20210806.csv
  missing: NA
  columns:
    case_id: to_patient_id
    sex: gender_concept_name
    age: age.splits
    icu_ever: is_icu
    ventilated_ever: was_ventilated
    died: {column: last.status, map: {deceased: yes, discharged: no}}
"""
RICORD = """
cases: {file: FILE, columns: {case_id: Anon MRN, sex: Anon Sex}}
studies: {file: FILE, columns: {study_id: StudyInstanceUID, case_id: Anon MRN, modality: Modality}}
readings:
  - {file: FILE, name: class, columns: {study_id: StudyInstanceUID, reader: Reader_name, category: CLASS_label}}
"""


@pytest.fixture
def hospital(checkout: Path, tmp_path: Path) -> Path:
    """A folder with the hospital's files in data/, and the YAML of the documentation in my_configs/."""
    write_hospital(tmp_path / "data", num_patients=60)
    page = (checkout / "docs/own_data.md").read_text()
    (block,) = re.findall(r"`my_configs/cohort/my_hospital\.yaml`[^\n]*\n\n```yaml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "my_configs/cohort").mkdir(parents=True)
    (tmp_path / "my_configs/cohort/my_hospital.yaml").write_text(block)
    return tmp_path


def composed(hospital: Path, *overrides: str) -> DictConfig:
    register()
    own = [f"hydra.searchpath=[file://{hospital}/my_configs]", "cohort=my_hospital", f"cohort.root={hospital}/data"]
    places = [f"paths.log_dir={hospital}/logs", f"paths.cache_dir={hospital}/cache", "tracking=none"]
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        config = compose("train", overrides=[*own, *places, *overrides])
    make_places_absolute(config, base=str(hospital))
    return config


def test_the_documented_yaml_reads_the_documented_hospital(hospital: Path) -> None:
    described = OmegaConf.create({"cohort": composed(hospital, "task=icu").cohort})
    tables = instantiated(described)["cohort"].read()
    assert (len(tables.cases), len(tables.studies)) == (60, 80)  # every third patient has two films
    assert tables.cases["age"].between(30, 79).all()
    assert tables.cases["sex"].value_counts().to_dict() == {"Male": 30, "Female": 30}
    assert tables.cases["site"].value_counts().to_dict() == {"Nord": 40, "S\u00fcd": 20}
    assert tables.studies["day"].value_counts().to_dict() == {1: 60, 2: 20}
    stays = tables.events.groupby("kind")[["start_day", "end_day"]].agg(["min", "max", "size"])
    assert stays.loc["hospital_stay"].tolist() == [0, 0, 60, 20, 20, 60]
    assert stays.loc["icu_stay"].tolist() == [3, 3, 30, 9, 9, 30]
    assert stays.loc["death"].tolist()[:3] == [20, 20, 6]
    by_reader = tables.readings.pivot(index="study_id", columns="reader", values="value")
    assert (by_reader["B"] - by_reader["A"]).round(9).eq(0.5).all()
    assert len(by_reader) == 80
    assert tables.series["file"].notna().all()
    assert set(tables.series["view"]) == {"AP"}


@pytest.mark.parametrize("table", ["cases", "studies", "series", "events", "readings"])
def test_the_documentation_names_every_column_that_may_be_described(table: str, checkout: Path) -> None:
    page = (checkout / "docs/own_data.md").read_text()
    (row,) = re.findall(rf"^\| `{table}` \|.*$", page, flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", row)[1:]) == sorted(columns_of(table))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "metric"), [("icu", "auroc"), ("opacity", "mae")])
def test_a_cohort_of_ones_own_is_trained_on(task: str, metric: str, hospital: Path) -> None:
    from midrc_ml.train import _run

    small = ("training.epochs=1", "images.size=32", "evaluation.num_draws=100", "fairness.columns=[]")
    _run(composed(hospital, f"task={task}", *small), hospital / "run")
    rows = json.loads((hospital / "run/metrics.json").read_text())
    (row,) = [row for row in rows if row["metric"] == metric and row["part"] == "test"]
    parts = pd.read_parquet(hospital / "run/split.parquet")["part"]
    assert row["n"] == (parts == "test").sum() > 15


def read(folder: Path, description: str) -> Tables:
    return CsvCohort(root=str(folder), **OmegaConf.to_container(OmegaConf.create(description))).read()  # type: ignore[arg-type]


def test_a_real_clinical_table_by_yaml_alone(midrc_ml_data: Path) -> None:
    """Counts as COVID-19-NY-SBU is described: 1,384 patients, 260 in intensive care, 213 ventilated, 183 deceased."""
    cases = read(midrc_ml_data / "ny_sbu", NY_SBU).cases
    assert len(cases) == 1_384
    flags = ("icu_ever", "ventilated_ever", "died")
    assert [int(cases[name].sum()) for name in flags] == [260, 213, 183]
    assert set(cases["age"]) == {39, 67, 83}  # [18,59], (59,74], (74,90]


def test_a_real_table_of_readings_by_yaml_alone(midrc_ml_data: Path) -> None:
    """Counts as RICORD-1c is described: 981 studies of 356 patients, 3,164 rows of readings."""
    (path,) = (midrc_ml_data / "ricord_1c").glob("*.csv")
    tables = read(path.parent, RICORD.replace("FILE", path.name))
    assert (len(tables.cases), len(tables.studies)) == (356, 981)
    assert set(tables.readings["category"]) == {"Typical", "Indeterminate", "Atypical", "Negative"}
    assert any("44 of 3164 rows have no value" in note for note in tables.notes)

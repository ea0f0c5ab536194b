"""Our lists of nodes, columns and values against the dictionary of MIDRC itself, and its submission templates."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from midrc_export import case, read, write_node

from midrc_ml.cohorts.midrc_nodes import (
    COVID19_POSITIVE,
    GRADES,
    LONG_COVID,
    MRALE_MAX,
    NODES,
    NOT_READ,
    PNEUMONIA_CLASSES,
    QUALITY_INDEX,
    YES_NO,
)
from midrc_ml.tables.schemas import ETHNICITY, RACE, SEX, TEST_RESULT

VALUES = {
    ("case", "sex"): SEX,
    ("case", "race"): RACE,
    ("case", "ethnicity"): ETHNICITY,
    ("case", "covid19_positive"): COVID19_POSITIVE,
    ("case", "age_at_index_gt89"): YES_NO,
    ("case", "long_covid_diagnosis"): LONG_COVID,
    ("imaging_study", "age_at_imaging_gt89"): YES_NO,
    ("measurement", "test_result_text"): TEST_RESULT,
    ("annotation", "airspace_disease_grading"): GRADES,
    ("annotation", "class_covid19_pneumonia"): PNEUMONIA_CLASSES,
    ("annotation", "sift_image_quality_index"): QUALITY_INDEX,
}
# What every node has, and how an export spells its links.
COMMON = {"id", "project_id", "submitter_id", "case_ids", "cases.submitter_id", "imaging_studies.submitter_id"}
OF_A_FILE = {"file_name", "md5sum", "object_id"}
OF_THE_EXPLORER = {"study_uid", "object_id"}  # of a series, and of a study


@pytest.fixture(scope="module")
def dictionary(midrc_ml_data: Path) -> Path:
    return midrc_ml_data / "midrc" / "dictionary" / "gdcdictionary"


def schema(dictionary: Path, node: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((dictionary / "schemas" / f"{node}.yaml").read_text())
    return found


@pytest.mark.parametrize(("node", "name"), VALUES)
def test_allowed_values_are_those_of_the_dictionary(dictionary: Path, node: str, name: str) -> None:
    assert sorted(VALUES[node, name]) == sorted(schema(dictionary, node)["properties"][name]["enum"])


def test_the_limits_of_the_mrale_score_and_of_ages_are_those_of_the_dictionary(dictionary: Path) -> None:
    score = schema(dictionary, "annotation")["properties"]["midrc_mRALE_score"]
    assert (score["minimum"], score["maximum"]) == (0, MRALE_MAX)
    age = schema(dictionary, "case")["properties"]["age_at_index"]
    ours = next(column for column in NODES["case"] if column.name == "age_at_index")
    assert (age["minimum"], age["maximum"]) == (ours.low, ours.high)


def test_every_node_of_the_dictionary_is_read_or_known(dictionary: Path) -> None:
    nodes = {path.stem for path in (dictionary / "schemas").glob("[a-z]*.yaml")}
    assert nodes == set(NODES) | set(NOT_READ)


def test_every_column_that_is_read_is_one_of_the_dictionary(dictionary: Path) -> None:
    for kind in ("_series_file", ""):
        nodes = [node for node in NODES if node.endswith("_series_file") == bool(kind)]
        for group in [nodes] if kind else [[node] for node in nodes]:  # one list of columns serves all series
            properties = set().union(*(schema(dictionary, node)["properties"] for node in group))
            known = (
                properties | {f"{name}.submitter_id" for name in properties} | COMMON | (OF_A_FILE if kind else set())
            )
            assert {column.name for column in NODES[group[0]]} - known <= OF_THE_EXPLORER


def test_every_template_is_known_with_its_columns_and_holds_no_row(dictionary: Path, tmp_path: Path) -> None:
    templates = sorted((dictionary / "tsv_templates").glob("*.tsv"))
    for path in templates:
        (tmp_path / path.name).symlink_to(path)
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    tables = read(tmp_path)
    assert tables.notes == (f"{len(templates)} submission templates without a row are not read",)
    assert len(tables.cases) == 1
    assert "studies" in tables.absent


def test_a_filled_template_of_every_node_lacks_no_column(dictionary: Path, tmp_path: Path) -> None:
    filled = 0
    for path in (dictionary / "tsv_templates").glob("*.tsv"):
        header = next(csv.reader(path.open(), delimiter="\t"))
        node = path.stem.removeprefix("submission_").removesuffix("_template")
        values = {"type": node, "submitter_id": "100-1", "study_uid": "1.2", "file_name": "1.2/1.3.zip"}
        row = [values.get(name.lstrip("*"), "") for name in header]
        (tmp_path / path.name).write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
        filled += 1
    assert filled == 18
    assert len(read(tmp_path).cases) == 1

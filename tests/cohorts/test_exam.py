"""Portable or not, chest or not: by LOINC first, then by words."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.exam import is_of_body_part, is_portable

COLUMNS = ("description", "body_part", "loinc", "loinc_method", "loinc_system")


def studies(*rows: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).reindex(columns=list(COLUMNS)).astype("str").where(lambda frame: frame != "nan")


@pytest.mark.parametrize(
    ("row", "portable"),
    [
        ({"loinc_method": "XR.portable", "description": "XR CHEST 2 VIEWS"}, True),
        ({"loinc_method": "XR", "description": "XR CHEST PORTABLE"}, False),  # the code is the harmonized one
        ({"loinc": "36589-0", "description": "anything"}, True),
        ({"loinc": "36554-4"}, False),
        ({"description": "XR PORT CHEST 1V"}, True),
        ({"description": "chest port 1 view (rad)-cs"}, True),
        ({"description": "XR CHEST 1 VIEW NOT PORTABLE"}, False),
        ({"description": "SUPPORT DEVICE CHEST"}, False),  # PORT inside a word
        ({"description": "XR Chest AP or PA"}, False),
        ({}, None),
    ],
)
def test_portable_is_told_by_method_then_code_then_words(row: dict[str, str], portable: bool | None) -> None:
    (found,) = is_portable(studies(row))
    assert (None if found is pd.NA else found) == portable


@pytest.mark.parametrize(
    ("row", "chest"),
    [
        ({"loinc_system": "Chest", "body_part": "ABDOMEN"}, True),
        ({"loinc_system": "Abdomen", "body_part": "CHEST", "description": "chest"}, False),
        ({"loinc_system": "Chest+Abdomen+Pelvis"}, True),
        ({"body_part": "CHEST,ABDOMEN"}, True),
        ({"body_part": "KNEE", "description": "XR chest"}, False),
        ({"description": "DX Thorax ap"}, True),
        ({"description": "1 VIEW"}, None),
        ({"description": "XR KNEE 2 VIEWS"}, False),
        ({"description": "CT ABDOMEN PELVIS"}, False),
        ({"description": "CT CHEST ABDOMEN PELVIS"}, True),
        ({}, None),
    ],
)
def test_the_body_part_is_told_by_loinc_then_by_dicom_then_by_words(row: dict[str, str], chest: bool | None) -> None:
    (found,) = is_of_body_part(studies(row), ["chest"])
    assert (None if found is pd.NA else found) == chest


def test_another_body_part_is_looked_for_as_it_is_written() -> None:
    rows = studies({"body_part": "KNEE"}, {"body_part": "CHEST"}, {"body_part": "A.B"}, {"body_part": "AXB"})
    assert is_of_body_part(rows, ["knee", "a.b"]).tolist() == [True, False, True, False]
    words = studies({"description": "KNEE LEFT"}, {"description": "CXR"}, {"description": "TWO VIEWS"})
    assert is_of_body_part(words, ["knee"]).astype(object).fillna("-").tolist() == [True, False, "-"]


def test_the_words_agree_with_midrc_s_own_mapping(midrc_ml_data: Path) -> None:
    """The oracle is MIDRC's table of descriptions and LOINC codes; the words alone must reach its answer."""
    folder = midrc_ml_data / "midrc/harmonization"
    with open(folder / "StudyDescription_filtering_attributes.csv", encoding="utf-8-sig") as file:
        of_code = {row["LOINC code"]: row for row in csv.DictReader(file)}
    with open(folder / "StudyDescription_mapping_table.tsv", encoding="utf-8") as file:
        mapped = [row for row in csv.DictReader(file, delimiter="\t") if row["LOINC code"] in of_code]
    films = [row for row in mapped if row["Modality"] in ("CR", "DX", "CR,DX", "CR, DX")]
    rows = studies(*({"description": row["StudyDescription"]} for row in films))
    method = [of_code[row["LOINC code"]]["L-Method"] for row in films]
    wrong = sum(found != (name == "XR.portable") for found, name in zip(is_portable(rows), method, strict=True))
    assert len(films) == 160  # of 228, the others have a code that the table of attributes lacks
    assert wrong <= 0.02 * len(films)
    system = [of_code[row["LOINC code"]]["MIDRC-System"] for row in films]
    chest = is_of_body_part(rows, ["chest"]).fillna(False)
    missed = sum(not found for found, name in zip(chest, system, strict=True) if name == "Chest")
    assert missed <= 0.02 * sum(name == "Chest" for name in system)
    codes = studies(*({"loinc": row["LOINC code"]} for row in films))
    assert sum(found != (name == "XR.portable") for found, name in zip(is_portable(codes), method, strict=True)) == 0

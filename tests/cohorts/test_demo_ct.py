"""The demo cohort's CT series: drawn, written, and read back by pydicom and by the CT recipe."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from demo_export import D1, R1, RICORD_PREFIX, Exports, days, node

from midrc_ml.cohorts.demo_ct import draw_chest, write_scan
from midrc_ml.cohorts.demo_nodes import node_exports
from midrc_ml.cohorts.demo_patients import SITES, DemoPatients, invent_patients
from midrc_ml.cohorts.demo_scans import FAULTS, SCANNERS, ct_scans
from midrc_ml.images.ct_recipe import CtRecipe
from midrc_ml.images.files import ImageError, members

RECIPE = CtRecipe(size=32, spacing_mm=12)


@pytest.fixture(scope="module")
def patients() -> DemoPatients:
    return invent_patients(60, seed=0, shortcut=0.5)


@pytest.fixture(scope="module")
def scans(patients: DemoPatients) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ct_scans(patients).to_dict("records")
    return rows


@pytest.fixture(scope="module")
def exports(patients: DemoPatients) -> Exports:
    return node_exports(patients)


@pytest.fixture(scope="module")
def of_sites(scans: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> list[list[pydicom.Dataset]]:
    """The slices of one faultless series of each site, of its healthiest patient, in the order of the files."""
    by_severity = sorted((row for row in scans if not row["fault"]), key=lambda row: row["severity"])
    chosen = [next(row for row in by_severity if row["site"] == site) for site in range(len(SITES))]
    return [slices(write(row, tmp_path_factory.mktemp("scan"))) for row in chosen]


def write(scan: dict[str, Any], root: Path) -> Path:
    return root / write_scan(str(root), scan)[0]


def slices(archive: Path) -> list[pydicom.Dataset]:
    with zipfile.ZipFile(archive) as package:
        return [pydicom.dcmread(BytesIO(package.read(name))) for name in sorted(package.namelist())]


def hounsfield(data: pydicom.Dataset) -> np.ndarray:
    return data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)


def test_slices_are_axial_evenly_spaced_and_in_no_order_of_file_or_number(
    of_sites: list[list[pydicom.Dataset]],
) -> None:
    for found, scanner in zip(of_sites, SCANNERS, strict=True):
        heights = np.array([float(data.ImagePositionPatient[2]) for data in found])
        numbers = [int(data.InstanceNumber) for data in found]
        np.testing.assert_allclose(np.diff(np.sort(heights)), scanner.step, atol=0.011)  # written with two decimals
        assert 150 < np.ptp(heights) < 270
        for order in (heights, heights[np.argsort(numbers)]):
            assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.6
        assert len(set(numbers)) == len({data.SOPInstanceUID for data in found}) == len(found)
        assert all(data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID for data in found)
        same = ("ImageOrientationPatient", "SliceThickness", "PixelSpacing", "Modality", "PatientName")
        assert all(len({str(data[name].value) for data in found}) == 1 for name in same)
        assert list(found[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
        assert (found[0].SliceThickness, found[0].Modality) == (scanner.step, "CT")
        assert found[0].PatientName == "SYNTHETIC"
        assert {(data.Rows, data.Columns) for data in found} == {(96, 96)}
        # The middle of the picture is the middle of the table.
        half = float(found[0].PixelSpacing[1]) * 95 / 2
        x, y, _ = map(float, found[0].ImagePositionPatient)
        assert (x, y) == pytest.approx((-half, -half), abs=1e-3)


def test_the_three_scanners_store_their_pixels_in_three_ways(of_sites: list[list[pydicom.Dataset]]) -> None:
    stored = [
        (str(found[0].file_meta.TransferSyntaxUID), found[0].PixelRepresentation, "PixelPaddingValue" in found[0])
        for found in of_sites
    ]
    j = "1.2.840.10008.1.2"
    assert stored == [(f"{j}.4.70", 0, False), (f"{j}.1", 1, True), (f"{j}.4.80", 0, False)]


def test_air_lungs_fat_soft_tissue_and_bone_have_the_hu_of_a_patient(of_sites: list[list[pydicom.Dataset]]) -> None:
    for found in of_sites:
        hu = np.stack([hounsfield(data) for data in sorted(found, key=lambda one: float(one.ImagePositionPatient[2]))])
        corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners <= -950).all()  # air, or padding below it
        middle = hu[len(hu) // 2]
        lungs = np.r_[middle[40:56, 24:30].ravel(), middle[40:56, 68:74].ravel()]
        assert -950 < np.percentile(lungs, 5) < np.median(lungs) < -700
        # At the back, between the lungs, lies the spine; in front of it the mediastinum.
        assert 200 < middle[60:72, 44:52].max() < 500
        assert 0 < np.median(hu[2, 30:50, 40:56]) < 80
        body = hu[2, :, 48]  # below the lungs, from front to back: air, fat, tissue
        assert {"air", "fat", "tissue"} <= {
            name
            for name, low, high in (("air", -1100, -950), ("fat", -150, -60), ("tissue", 10, 80))
            if ((body > low) & (body < high)).any()
        }


def test_lungs_turn_to_ground_glass_and_consolidation_with_severity() -> None:
    drawn = {
        severity: draw_chest(severity, num_slices=30, spacing=(7.5, 4.0), anatomy_seed=3, scan_seed=4)
        for severity in (-6.0, 0.0, 1.5, 4.0)
    }
    lungs = drawn[-6.0] < -700
    lungs[:, :20] = lungs[:, -20:] = lungs[:, :, :10] = lungs[:, :, -10:] = False  # the air around the body
    assert lungs.sum() * 7.5 * 4 * 4 > 1.5e6  # mm3, both lungs
    inside = [hu[lungs] for hu in drawn.values()]
    assert np.all(np.diff([hu.mean() for hu in inside]) > 10)
    ground_glass, consolidation = (
        [((hu > low) & (hu < high)).mean() for hu in inside] for low, high in ((-750, -300), (-100, 100))
    )
    assert np.all(np.diff(ground_glass[:3]) > 0)
    assert consolidation[0] < 0.01
    assert consolidation[3] > 0.03
    # Neither the spine nor the air around the patient knows of it.
    changed = drawn[4.0] != drawn[-6.0]
    assert not changed[:, 64:72, 44:52].any()
    assert not changed[:, :12].any()


def test_the_same_row_writes_the_same_bytes_and_another_seed_other_ones(
    scans: list[dict[str, Any]], tmp_path: Path
) -> None:
    once, again = (write(scans[0], tmp_path / name).read_bytes() for name in ("a", "b"))
    assert once == again
    other = ct_scans(invent_patients(400, seed=1, shortcut=0.5))
    assert not set(other["series_uid"]) & {row["series_uid"] for row in scans}


@pytest.mark.parametrize(
    ("fault", "left_out", "reason"),
    [
        ("", {}, ""),
        ("localizer inside", {"a localizer": 1}, ""),
        ("slice twice", {"a duplicate": 1}, ""),
        ("slice damaged", {"pixels cannot be decoded (the stream is cut off)": 1}, ""),
        ("localizer alone", {}, "a localizer"),
        ("slices missing", {}, "slices are missing, or too far apart"),
        ("part only", {}, "cover less than 100 mm from feet to head"),
    ],
)
def test_each_fault_is_left_out_and_counted_or_refused_with_its_reason(
    scans: list[dict[str, Any]], fault: str, left_out: dict[str, int], reason: str, tmp_path: Path
) -> None:
    # Where slices are 5 mm apart, one that cannot be read is interpolated.
    scan = {**next(row for row in scans if row["site"] == 0 and not row["fault"]), "fault": fault}
    path = str(write(scan, tmp_path))
    if reason:
        with pytest.raises(ImageError, match=reason):
            RECIPE.read(members(path))
    else:
        record = RECIPE.read(members(path))
        assert (record.left_out, record.series_uid) == (left_out, scan["series_uid"])
        assert record.pixels.std() > 20


def test_a_third_of_the_patients_has_a_ct_and_every_fault_is_in_some_of_them() -> None:
    scans = ct_scans(invent_patients(400, seed=0, shortcut=0.5))
    assert 100 < len(scans) < 150
    assert scans["case_id"].is_unique
    counts = scans["fault"].value_counts()
    assert set(counts.index) == {"", *FAULTS}
    assert counts[[*FAULTS]].between(3, 5).all()


def test_a_cohort_in_which_nobody_had_a_ct_has_no_node_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midrc_ml.cohorts.demo_scans._SHARE", 0.0)
    exports = node_exports(invent_patients(20, seed=0, shortcut=0.5))
    assert [name for name in exports if "ct_series_file" in name] == []
    assert "CT" not in set(node(exports, "imaging_study")["study_modality"])


def test_the_nodes_name_each_ct_study_and_series_with_the_files_that_are_in_it(
    exports: Exports, scans: list[dict[str, Any]], tmp_path: Path
) -> None:
    series = node(exports, "ct_series_file", D1, R1).set_index("series_uid")
    studies = node(exports, "imaging_study", D1, R1)
    studies = studies[studies["study_modality"] == "CT"].set_index("study_uid")
    assert set(series.index) == {row["series_uid"] for row in scans}
    assert set(studies.index) == {row["study_uid"] for row in scans}
    assert set(studies["loinc_code"]) <= {"29252-4", ""}
    by_id = studies.reset_index().set_index("submitter_id")["study_uid"]
    linked = by_id[series["imaging_studies.submitter_id"]]
    assert linked.tolist() == [name.split("/")[1] for name in series["file_name"]]
    first = {row["fault"]: row for row in reversed(scans)}
    for row in first.values():
        path = write(row, tmp_path)
        assert str(path.relative_to(tmp_path)) == series.loc[row["series_uid"], "file_name"]
        with zipfile.ZipFile(path) as package:
            assert str(len(package.namelist())) == series.loc[row["series_uid"], "number_of_instances"]


def test_a_ct_comes_one_to_three_days_after_the_first_film_and_never_after_death(exports: Exports) -> None:
    studies = node(exports, "imaging_study")
    studies = studies.assign(day=days(studies["days_to_study"]), is_ct=studies["study_modality"] == "CT")
    studies["patient"] = studies["cases.submitter_id"].str.split(",").str[0].str.removeprefix(RICORD_PREFIX)
    first_film = studies[~studies["is_ct"]].groupby("patient")["day"].min()
    of_ct = studies[studies["is_ct"]]
    assert set(of_ct["day"] - of_ct["patient"].map(first_film)) == {1, 2, 3}
    # Of more patients, as few of these die.
    invented = invent_patients(2_000, seed=0, shortcut=0.5)
    scans = ct_scans(invented)
    death = invented.patients["death"].loc[scans["patient"]].to_numpy()
    assert np.isfinite(death).sum() > 20
    assert not (scans["day"].to_numpy() > death).any()

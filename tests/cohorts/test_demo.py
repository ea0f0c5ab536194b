import hashlib
import logging
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from sklearn.metrics import roc_auc_score

from midrc_ml.cohorts.demo import DemoCohort
from midrc_ml.cohorts.demo_patients import SITES, UNKNOWN_SITE, DemoPatients, invent_patients
from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.label_rules import event_within_horizon

NUM_PATIENTS = 40


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> DemoCohort:
    cohort = DemoCohort(cache_dir=str(tmp_path_factory.mktemp("marked")), num_patients=NUM_PATIENTS)
    cohort.read()
    return cohort


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> DemoCohort:
    cohort = DemoCohort(cache_dir=str(tmp_path_factory.mktemp("clean")), num_patients=NUM_PATIENTS, shortcut=0)
    cohort.read()
    return cohort


@pytest.fixture(scope="module")
def patients() -> DemoPatients:
    return invent_patients(2_000, seed=0, shortcut=0.5)


def contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def dicom_of(archive: Path) -> pydicom.Dataset:
    with zipfile.ZipFile(archive) as package:
        (member,) = package.infolist()
        assert package.getinfo(member.filename).compress_type == zipfile.ZIP_STORED
        return pydicom.dcmread(BytesIO(package.read(member)))


def films(cohort: DemoCohort) -> list[pydicom.Dataset]:
    return [dicom_of(path) for path in sorted(cohort.root.rglob("*.zip"))]


def write_nodes(patients: DemoPatients, root: Path, *nodes: str) -> Tables:
    for node in nodes:
        patients.nodes[node].to_csv(root / f"{node}.tsv", sep="\t", index=False)
    return MidrcCohort(root=str(root), synthetic=True).read()


# The headers that midrc-data.md 3.1 gives for real exports (case January 2025, measurement, visit).
@pytest.mark.parametrize(
    ("node", "header"),
    [
        (
            "case",
            "type id project_id submitter_id age_at_index age_at_index_gt89 case_ids country_of_residence "
            "covid19_positive ethnicity gen3_linked_subjects_available icu_indicator index_event linked_external_data "
            "long_covid_diagnosis race sex site_id token_record_id treatment_info ventilator_indicator zip datasets.id "
            "datasets.submitter_id",
        ),
        (
            "visit",
            "type id project_id submitter_id case_ids days_to_hospital_admission days_to_hospital_discharge "
            "days_to_icu_admission days_to_icu_discharge discharge_type cases.id cases.submitter_id",
        ),
    ],
)
def test_headers_are_those_of_a_real_export(marked: DemoCohort, node: str, header: str) -> None:
    (path,) = marked.root.glob(f"*_{node}.tsv")
    assert path.read_text().splitlines()[0].split("\t") == header.split()


def test_the_case_header_is_that_of_the_real_file(marked: DemoCohort, midrc_ml_data: Path) -> None:
    (real,) = (midrc_ml_data / "midrc" / "react").glob("*.tsv")
    (ours,) = marked.root.glob("*_case.tsv")
    with real.open() as file, ours.open() as other:
        assert file.readline() == other.readline()


@pytest.mark.parametrize(
    ("node", "columns"),
    [
        (
            "imaging_study",
            "study_uid study_modality days_to_study age_at_imaging age_at_imaging_gt89 cases.submitter_id",
        ),
        ("measurement", "test_name test_method test_result_text test_days_from_index cases.submitter_id"),
        ("cr_series_file", "series_uid file_name file_size md5sum view_position imaging_studies.submitter_id"),
        ("dx_series_file", "series_uid file_name file_size md5sum view_position imaging_studies.submitter_id"),
    ],
)
def test_every_node_is_there_with_its_columns(marked: DemoCohort, node: str, columns: str) -> None:
    frame = pd.read_csv(next(marked.root.glob(f"*_{node}.tsv")), sep="\t", dtype=str)
    assert set(columns.split()) <= set(frame.columns)
    assert set(frame["type"]) == {node}
    assert len(frame) > 0


def test_three_sites_differ_in_prevalence_and_scanner(patients: DemoPatients, tmp_path: Path) -> None:
    assert patients.nodes["case"]["site_id"].nunique() == 3
    scanners = pd.concat([patients.nodes["cr_series_file"], patients.nodes["dx_series_file"]])
    assert (
        scanners.groupby(scanners["case_ids"].str.split("-").str[0])["manufacturer"].agg(set).astype(str).nunique() == 3
    )
    flags = patients.nodes["case"].groupby("site_id")["icu_indicator"].agg(lambda flags: (flags == "True").mean())
    assert flags.round(2).nunique() == 3


def test_one_site_has_no_icu_flag_and_no_visit_although_it_ventilates(patients: DemoPatients) -> None:
    case, visit = patients.nodes["case"], patients.nodes["visit"]
    unknown = case[case["site_id"] == SITES[UNKNOWN_SITE].name]
    assert set(unknown["icu_indicator"]) == {"False"}
    assert (unknown["ventilator_indicator"] == "True").any()
    assert len(unknown) > 50
    assert not visit["case_ids"].isin(unknown["submitter_id"]).any()
    others = case[case["site_id"] != SITES[UNKNOWN_SITE].name]
    assert (others.groupby("site_id")["icu_indicator"].nunique() == 2).all()
    assert set(visit["case_ids"].str.split("-").str[0]) == set(others["site_id"])


def test_ages_over_89_are_blank_and_marked(patients: DemoPatients) -> None:
    case = patients.nodes["case"]
    marked = case["age_at_index_gt89"] == "Yes"
    assert marked.any()
    assert set(case.loc[marked, "age_at_index"]) == {""}
    assert case.loc[~marked, "age_at_index"].astype(float).max() <= 89
    study = patients.nodes["imaging_study"].set_index("case_ids")["age_at_imaging"]
    assert set(study[study.index.isin(case.loc[marked, "submitter_id"])]) == {""}


def test_studies_lie_before_on_and_after_the_icu_day_and_several_a_patient(patients: DemoPatients) -> None:
    icu_day = patients.nodes["visit"].set_index("case_ids")["days_to_icu_admission"]
    study = patients.nodes["imaging_study"]
    gap = study["days_to_study"].astype(float) - pd.to_numeric(study["case_ids"].map(icu_day))
    assert min((gap < 0).sum(), (gap == 0).sum(), (gap > 0).sum()) > 20
    per_patient = study.groupby("case_ids").size()
    assert set(per_patient) == {1, 2, 3, 4}


def test_files_are_raw_rle_and_jpeg_2000_and_some_are_monochrome1(marked: DemoCohort) -> None:
    found = films(marked)
    assert {film.file_meta.TransferSyntaxUID for film in found} == {
        ExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    }
    assert {film.PhotometricInterpretation for film in found} == {"MONOCHROME1", "MONOCHROME2"}
    assert {film.Modality for film in found} == {"CR", "DX"}


def test_one_zip_a_series_whose_checksum_and_ids_are_those_of_the_table(marked: DemoCohort) -> None:
    nodes = pd.concat([pd.read_csv(path, sep="\t", dtype=str) for path in marked.root.glob("*_series_file.tsv")])
    assert len(nodes) == len(list(marked.root.rglob("*.zip")))
    for row in nodes.itertuples():
        path = marked.root / "images" / row.file_name
        assert hashlib.md5(path.read_bytes()).hexdigest() == row.md5sum
        assert path.stat().st_size == int(row.file_size)
        film = dicom_of(path)
        assert (film.SeriesInstanceUID, film.PatientID) == (row.series_uid, row.case_ids)
        assert film.PatientIdentityRemoved == "YES"


def test_lungs_grow_whiter_with_severity(clean: DemoCohort) -> None:
    drawn = invent_patients(NUM_PATIENTS, seed=0, shortcut=0).films
    frontal = drawn[drawn["view"] != "LATERAL"]
    brightness = []
    for row in frontal.itertuples():
        film = dicom_of(clean.root / "images" / row.case_id / row.study_uid / f"{row.series_uid}.zip")
        pixels = film.pixel_array / (2.0**film.BitsStored - 1)
        if film.PhotometricInterpretation == "MONOCHROME1":
            pixels = 1 - pixels
        rows, columns = pixels.shape
        brightness.append(pixels[rows // 3 : rows * 2 // 3, columns // 5 : columns * 2 // 5].mean())
    assert np.corrcoef(frontal["severity"], brightness)[0, 1] > 0.5


def test_the_same_seed_writes_the_same_bytes_also_after_a_writer_was_killed(marked: DemoCohort, tmp_path: Path) -> None:
    again = DemoCohort(cache_dir=str(tmp_path), num_patients=NUM_PATIENTS)
    half = Path(f"{again.root}.4711.unfinished")
    half.mkdir(parents=True)
    (half / "Synthetic-D1_case.tsv").write_text("torn")
    (half / "left_over.tsv").write_text("torn")
    again.read()
    assert contents(again.root) == contents(marked.root)
    assert len(contents(again.root)) > NUM_PATIENTS
    assert not half.exists()


def test_another_seed_writes_other_patients() -> None:
    one, other = (invent_patients(30, seed=seed, shortcut=0.5) for seed in (0, 1))
    assert one.films["severity"].tolist() != other.films["severity"].tolist()
    assert not set(one.films["sop_uid"]) & set(other.films["sop_uid"])


def test_a_written_cohort_is_read_and_not_written_again(marked: DemoCohort) -> None:
    before = {path: path.stat().st_mtime_ns for path in marked.root.rglob("*")}
    marked.read()
    assert {path: path.stat().st_mtime_ns for path in marked.root.rglob("*")} == before


def test_settings_have_folders_of_their_own(tmp_path: Path) -> None:
    settings = [{}, {"seed": 1}, {"num_patients": 500}, {"shortcut": 0}, {"shortcut": 0.50000001}]
    assert len({DemoCohort(cache_dir=str(tmp_path), **given).root for given in settings}) == len(settings)


def test_the_shortcut_draws_a_mark_in_a_top_corner_and_no_shortcut_draws_none(
    marked: DemoCohort, clean: DemoCohort
) -> None:
    # The third site stores its pixels uncompressed and upright; its mark is in the left corner.
    site = SITES[UNKNOWN_SITE]
    corners = {}
    for cohort in (marked, clean):
        found = [film for film in films(cohort) if film.Manufacturer == site.manufacturer]
        tops = [film.pixel_array[: site.shape[0] // 10, : site.shape[1] // 6].max() for film in found]
        corners[cohort.shortcut] = np.array(tops) / (2.0**site.bits - 1)
    assert (corners[0.5] == 1).all()
    assert (corners[0] < 0.9).all()


@pytest.mark.parametrize(("shortcut", "low", "high"), [(0.0, 0.47, 0.53), (0.5, 0.60, 1.0), (1.0, 0.70, 1.0)])
def test_the_view_tells_of_severity_only_with_a_shortcut(shortcut: float, low: float, high: float) -> None:
    drawn = invent_patients(2_000, seed=0, shortcut=shortcut).films
    frontal = drawn[drawn["view"] != "LATERAL"]
    assert low < roc_auc_score(frontal["view"] == "AP", frontal["severity"]) < high
    assert set(drawn["mark"]) == {shortcut > 0}


@pytest.mark.parametrize("given", [{"num_patients": 19}, {"seed": -1}, {"shortcut": -0.1}, {"shortcut": 1.1}])
def test_settings_that_make_no_sense_are_refused_by_name(given: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cohort.{next(iter(given))} is {next(iter(given.values()))}"):
        DemoCohort(cache_dir=str(tmp_path), **given)


def test_it_is_called_synthetic_wherever_it_appears(
    tmp_path: Path, clean: DemoCohort, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="midrc_ml"):
        tables = DemoCohort(cache_dir=str(tmp_path), num_patients=20).read()
    assert "synthetic" in caplog.text
    assert tables.synthetic
    assert "synthetic" in tables.origin
    assert clean.query["synthetic"] is True
    assert "SYNTHETIC" in (clean.root / "README.txt").read_text()
    assert set(tables.cases["project"]) == {"Synthetic-D1"}
    for path in clean.root.glob("*.tsv"):
        assert path.name.startswith("Synthetic-")
    for film in films(clean):
        assert str(film.PatientName) == "SYNTHETIC"
        assert "SYNTHETIC" in film.PatientComments
        assert "Synthetic" in film.Manufacturer


def test_reading_it_is_reading_a_midrc_export(clean: DemoCohort) -> None:
    by_hand = MidrcCohort(root=str(clean.root), synthetic=True).read()
    assert by_hand.fingerprint() == clean.read().fingerprint()
    assert by_hand.series["file"].notna().all()
    assert by_hand.absent == {}
    assert by_hand.notes == ()


def test_latent_severity_tells_the_icu_label_with_an_auroc_of_083(tmp_path: Path) -> None:
    invented = invent_patients(20_000, seed=0, shortcut=0.5)
    tables = write_nodes(invented, tmp_path, "case", "imaging_study", "visit")
    studies = tables.studies.merge(tables.cases[["case_id", "site"]], on="case_id")
    label = event_within_horizon(tables, studies, event="icu_stay", horizon_days=14)["label"]
    severity = studies["study_id"].map(invented.films.drop_duplicates("study_uid").set_index("study_uid")["severity"])
    known = label.notna()
    assert known.sum() > 15_000
    assert abs(roc_auc_score(label[known], severity[known]) - 0.83) <= 0.02

import hashlib
import logging
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from demo_export import D1, R1, RICORD, read_back, words_of_sites
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from sklearn.metrics import roc_auc_score

from midrc_ml.cohorts.demo import DemoCohort
from midrc_ml.cohorts.demo_nodes import node_exports
from midrc_ml.cohorts.demo_patients import SITES, UNKNOWN_SITE, invent_patients
from midrc_ml.cohorts.demo_scans import ct_scans
from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.covid import covid_at_imaging
from midrc_ml.tasks.outcomes import event_within_horizon

NUM_PATIENTS = 28


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


def contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def dicom_of(archive: Path) -> pydicom.Dataset:
    with zipfile.ZipFile(archive) as package:
        (member,) = package.infolist()
        assert package.getinfo(member.filename).compress_type == zipfile.ZIP_STORED
        return pydicom.dcmread(BytesIO(package.read(member)))


def film_files(cohort: DemoCohort) -> list[Path]:
    """The ZIPs of films, by the tables: those of CT hold many files."""
    nodes = pd.concat(
        [read_tsv(path) for kind in ("cr", "dx") for path in cohort.root.glob(f"*_{kind}_series_file.tsv")]
    )
    return [cohort.root / "images" / name for name in sorted(nodes["file_name"])]


def read_tsv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str)


def films(cohort: DemoCohort) -> list[pydicom.Dataset]:
    return [dicom_of(path) for path in film_files(cohort)]


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
    nodes = pd.concat([read_tsv(path) for path in marked.root.glob("*_series_file.tsv")])
    assert set(nodes["modality"]) == {"CR", "DX", "CT"}
    assert len(nodes) == len(list(marked.root.rglob("*.zip")))
    for row in nodes.itertuples():
        path = marked.root / "images" / row.file_name
        assert hashlib.md5(path.read_bytes()).hexdigest() == row.md5sum
        assert path.stat().st_size == int(row.file_size)
        with zipfile.ZipFile(path) as package:
            assert len(package.namelist()) == int(row.number_of_instances)
            film = pydicom.dcmread(BytesIO(package.read(package.namelist()[0])), stop_before_pixels=True)
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


def test_the_files_are_the_exports_of_the_invented_patients_cell_by_cell(marked: DemoCohort) -> None:
    exports = node_exports(invent_patients(NUM_PATIENTS, seed=0, shortcut=0.5))
    assert {path.stem for path in marked.root.glob("*.tsv")} == set(exports)
    for name, frame in exports.items():
        header, *rows = (line.split("\t") for line in (marked.root / f"{name}.tsv").read_text().splitlines())
        written = pd.DataFrame(rows, columns=header).drop(columns=["file_size", "md5sum"], errors="ignore")
        expected = frame.drop(columns=["file_size", "md5sum"], errors="ignore")
        assert written.to_dict("list") == expected.to_dict("list")


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
    assert set(tables.cases["project"]) <= {D1, R1, RICORD}
    for path in clean.root.glob("*.tsv"):
        assert path.name.startswith("Synthetic-")
    for film in films(clean):
        assert str(film.PatientName) == "SYNTHETIC"
        assert "SYNTHETIC" in film.PatientComments
        assert "Synthetic" in film.Manufacturer


def test_reading_it_is_reading_a_midrc_export(clean: DemoCohort, checkout: Path) -> None:
    words = words_of_sites(checkout)
    by_hand = MidrcCohort(root=str(clean.root), synthetic=True, **words).read()
    by_demo = DemoCohort(cache_dir=clean.cache_dir, num_patients=NUM_PATIENTS, shortcut=0, **words).read()
    assert by_hand.fingerprint() == by_demo.fingerprint()
    assert by_hand.series["file"].notna().all()
    assert set(by_hand.absent) == {"laboratory"}  # MIDRC has no node for it


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, pd.DataFrame]:
    """Tables of many invented patients, and their studies with site and latent severity."""
    invented = invent_patients(6_000, seed=0, shortcut=0.5)
    needed = ("case", "imaging_study", "measurement", "visit")
    exports = {name: rows for name, rows in node_exports(invented).items() if name.endswith(needed)}
    tables = read_back(exports, tmp_path_factory.mktemp("many"))
    studies = tables.studies.merge(tables.cases[["case_id", "site"]], on="case_id")
    severity = pd.concat([invented.films.drop_duplicates("study_uid"), ct_scans(invented)]).set_index("study_uid")
    return tables, studies.assign(severity=studies["study_id"].map(severity["severity"]))


def test_latent_severity_tells_the_icu_label_with_an_auroc_of_083(labelled: tuple[Tables, pd.DataFrame]) -> None:
    tables, studies = labelled
    studies = studies[studies["modality"] != "CT"].reset_index(drop=True)
    label = event_within_horizon(tables, studies, event="icu_stay", horizon_days=14)["label"]
    known = label.notna()
    assert known.sum() > 5_000
    assert abs(roc_auc_score(label[known], studies.loc[known, "severity"]) - 0.83) <= 0.02


@pytest.mark.parametrize(("modality", "count"), [("film", 8_000), ("CT", 1_500)])
def test_latent_severity_tells_the_covid_label_with_an_auroc_of_080(
    labelled: tuple[Tables, pd.DataFrame], modality: str, count: int
) -> None:
    tables, studies = labelled
    studies = studies[(studies["modality"] == "CT") == (modality == "CT")].reset_index(drop=True)
    label = covid_at_imaging(tables, studies, window="covidx2022")["label"]
    known = label.notna()
    assert known.sum() > count
    assert abs(roc_auc_score(label[known], studies.loc[known, "severity"]) - 0.80) <= 0.02
    rates = label[known].groupby(studies.loc[known, "site"]).mean()
    assert rates.between(0.4, 0.8).all()
    assert rates.round(2).nunique() == 3

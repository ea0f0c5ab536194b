"""Write a MIDRC export of 200,000 studies and 1,000,000 series, read, label and split it; seconds and memory.

    python tests/speed/big_export.py [FOLDER]

Invented rows with the headers and quirks of real exports: no patient stands behind any of them.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pyarrow import csv

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.config import instantiated, register, shipped_folder
from midrc_ml.splits.by_patient import ByPatient
from midrc_ml.splits.manifest import Manifest

_SITES = np.array(["419639", "10008204", "302028", "10003752", "514382"])
_PROJECTS = {True: "Open-R1", False: "Open-A1"}  # by whether the site is one of RSNA's
_BATCHES = np.array(["20210820", "20211026", "20220114", "20220308", "20220531", "20230824", "20241011"])
_RSNA_SITES = 3
_UID_ROOT = "1.2.826.0.1.3680043.10.474."


def write_big_export(folder: Path, *, num_cases: int, num_studies: int, num_series: int, seed: int) -> None:
    """Node TSVs of two projects below `folder`: case, imaging_study, measurement, visit, procedure, series files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cases = _cases(num_cases, rng)
    studies = _studies(cases, num_studies, rng)
    _write(folder, "case", cases["table"])
    _write(folder, "imaging_study", studies["table"])
    _write(folder, "measurement", _measurements(cases, num_cases * 3 // 2, rng))
    _write(folder, "visit", _visits(cases, num_cases // 3, rng))
    _write(folder, "procedure", _procedures(cases, num_cases // 20, rng))
    study = rng.integers(0, num_studies, num_series)
    for modality in ("CR", "CT", "DX"):
        of_modality = study[studies["modality"][study] == modality]
        _write(folder, f"{modality.lower()}_series_file", _series(studies, of_modality, modality, rng))


def _cases(count: int, rng: np.random.Generator) -> dict:
    site = rng.choice(len(_SITES), count, p=[0.45, 0.25, 0.15, 0.1, 0.05])
    case_id = _joined(_SITES[site], "-", _digits(np.arange(count), 6))
    project = np.where(site < _RSNA_SITES, _PROJECTS[True], _PROJECTS[False])
    age = rng.integers(1, 100, count)
    agency = np.where(site < _RSNA_SITES, "RSNA", "ACR")
    first, second = (_joined(agency, "_", rng.choice(_BATCHES, count)) for _ in range(2))
    datasets = np.where(rng.random(count) < 0.3, _joined(first, ",", second), first)
    flags = np.array(["True", "False", ""])
    table = {
        **_head("case", project, case_id, rng),
        "age_at_index": np.where(age > 89, "", _joined(age.astype(str), ".0")),
        "age_at_index_gt89": np.where(age > 89, "Yes", "No"),
        "case_ids": case_id,
        "country_of_residence": _all("US", count),
        "covid19_positive": rng.choice(["Yes", "No", "Not Reported"], count, p=[0.5, 0.45, 0.05]),
        "ethnicity": rng.choice(["Not Hispanic or Latino", "Hispanic or Latino", "Not Reported"], count),
        "gen3_linked_subjects_available": _all("", count),
        "icu_indicator": rng.choice(flags, count, p=[0.06, 0.14, 0.8]),
        "index_event": _all("COVID-19 Test", count),
        "linked_external_data": _all("", count),
        "long_covid_diagnosis": rng.choice(["Positive", ""], count, p=[0.02, 0.98]),
        "race": rng.choice(["White", "Asian", "Black or African American", "Not Reported"], count),
        "sex": rng.choice(["Female", "Male", "Not Reported"], count, p=[0.49, 0.49, 0.02]),
        "site_id": _SITES[site],
        "token_record_id": _all("", count),
        "treatment_info": _all("", count),
        "ventilator_indicator": rng.choice(flags, count, p=[0.01, 0.04, 0.95]),
        "zip": _all("000", count),
        "datasets.id": _all("", count),
        "datasets.submitter_id": datasets,
    }
    return {"table": table, "case_id": case_id, "project": project, "site": _SITES[site]}


def _studies(cases: dict, count: int, rng: np.random.Generator) -> dict:
    of = rng.integers(0, len(cases["case_id"]), count)
    case_id, project = cases["case_id"][of], cases["project"][of]
    uid = _joined(_UID_ROOT, cases["site"][of], ".1.", _digits(rng.permutation(count), 10))
    modality = rng.choice(["CR", "CT", "DX"], count, p=[0.3, 0.2, 0.5])
    day = rng.integers(-30, 400, count)
    test = (rng.integers(-5, 5, count) - day).astype(str)
    words = ["XR CHEST 1 VIEW AP", "CHEST PORT 1 VIEW (RAD)-CS", "XR CHEST 1 VW, FRONTAL", "CT CHEST W/O CONTRAST"]
    table = {
        # A submitter_id may be the uid, or <case>_<uid>.
        **_head("imaging_study", project, np.where(rng.random(count) < 0.3, _joined(case_id, "_", uid), uid), rng),
        "age_at_imaging": rng.integers(1, 89, count).astype(str),
        "age_at_imaging_gt89": _all("No", count),
        "body_part_examined": _all("CHEST", count),
        "case_ids": case_id,
        "days_from_study_to_neg_covid_test": np.where(rng.random(count) < 0.3, test, ""),
        "days_from_study_to_pos_covid_test": np.where(rng.random(count) < 0.4, _joined(test, ",", test), ""),
        "days_to_study": _joined(day.astype(str), ".0"),
        "loinc_code": rng.choice(["36572-6", "36589-0", "30745-4", ""], count),
        "loinc_contrast": _all("", count),
        "loinc_long_common_name": _all("XR Chest AP", count),
        "loinc_method": rng.choice(["XR", "XR.portable", "CT"], count),
        "loinc_system": _all("Chest", count),
        "study_description": rng.choice(words, count),
        "study_modality": np.where(rng.random(count) < 0.1, _joined(modality, ",SR"), modality),
        "study_uid": uid,
        "study_year": _all("1960", count),
        "study_year_shifted": _all("True", count),
        "cases.id": _ids(count, rng),
        "cases.submitter_id": case_id,
    }
    return {"table": table, "uid": uid, "case_id": case_id, "project": project, "modality": modality}


def _measurements(cases: dict, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    return {
        **_of_cases("measurement", cases, count, rng),
        "test_days_from_index": rng.integers(-3, 300, count).astype(str),
        "test_method": _all("RT-PCR", count),
        "test_name": _all("COVID-19", count),
        "test_result_text": rng.choice(["Positive", "Negative", "Indeterminate"], count, p=[0.35, 0.64, 0.01]),
        "conditions.id": _all("", count),
        "conditions.submitter_id": _all("", count),
    }


def _visits(cases: dict, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    admission = rng.integers(0, 40, count)
    icu = admission + rng.integers(0, 6, count)
    in_icu = rng.random(count) < 0.25
    discharge = icu + rng.integers(3, 25, count)
    return {
        **_of_cases("visit", cases, count, rng, each_once=True),
        "days_to_hospital_admission": admission.astype(str),
        "days_to_hospital_discharge": discharge.astype(str),
        "days_to_icu_admission": np.where(in_icu, icu.astype(str), ""),
        "days_to_icu_discharge": np.where(in_icu, (icu + 2).astype(str), ""),
        "discharge_type": rng.choice(["Home or Self Care", "Long Term Care", "07"], count, p=[0.8, 0.15, 0.05]),
    }


def _procedures(cases: dict, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    start = rng.integers(0, 60, count)
    return {
        **_of_cases("procedure", cases, count, rng),
        "procedure_name": _all("Breathing Support", count),
        "breathing_support_type": rng.choice(["Mechanical Ventilation", "High-Flow Nasal Cannula"], count),
        "days_to_procedure_start": start.astype(str),
        "days_to_procedure_end": (start + 4).astype(str),
    }


def _series(studies: dict, study: np.ndarray, modality: str, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    count = len(study)
    uid = _joined(studies["uid"][study], ".", _digits(np.arange(count), 7))
    case_id, study_uid = studies["case_id"][study], studies["uid"][study]
    return {
        **_head(f"{modality.lower()}_series_file", studies["project"][study], uid, rng),
        "case_ids": case_id,
        "data_category": _all(modality, count),
        "data_format": _all("DCM", count),
        "data_type": _all("DICOM", count),
        "file_name": _joined(case_id, "/", study_uid, "/", uid, ".zip"),
        "file_size": rng.integers(1_000_000, 20_000_000, count).astype(str),
        "manufacturer": rng.choice(["GE Healthcare", "Siemens", "Philips Medical Systems", ""], count),
        "manufacturer_model_name": rng.choice(["Thunder Platform", "DRX-1", "Definium 8000"], count),
        "md5sum": _hex(count, rng),
        "modality": _all(modality, count),
        "number_of_instances": rng.integers(1, 4, count).astype(str),
        "object_id": _joined("dg.MD1R/", _ids(count, rng)),
        "series_description": rng.choice(["AP", "PA", "W Chest Lat.", "LUNG 1.25mm"], count),
        "series_uid": uid,
        "view_position": rng.choice(["AP", "PA", "LL", ""], count),
        "core_metadata_collections.submitter_id": _all("", count),
        "imaging_studies.id": _ids(count, rng),
        "imaging_studies.submitter_id": study_uid,
    }


def _of_cases(
    node: str, cases: dict, count: int, rng: np.random.Generator, *, each_once: bool = False
) -> Mapping[str, np.ndarray]:
    of = rng.permutation(len(cases["case_id"]))[:count] if each_once else rng.integers(0, len(cases["case_id"]), count)
    case_id = cases["case_id"][of]
    names = _joined(case_id, f"_{node}_", _digits(np.arange(count), 7))
    head = _head(node, cases["project"][of], names, rng)
    return {**head, "case_ids": case_id, "cases.id": _ids(count, rng), "cases.submitter_id": case_id}


def _head(node: str, project: np.ndarray, submitter_id: np.ndarray, rng: np.random.Generator) -> dict:
    count = len(submitter_id)
    return {"type": _all(node, count), "id": _ids(count, rng), "project_id": project, "submitter_id": submitter_id}


def _write(folder: Path, node: str, table: Mapping[str, np.ndarray]) -> None:
    """One file a project, as Gen3 writes it: nothing is quoted."""
    whole = pa.table({name: _text(values) for name, values in table.items()})
    options = csv.WriteOptions(delimiter="\t", quoting_style="none", quoting_header="none")
    for project in _PROJECTS.values():
        part = whole.filter(pc.equal(whole["project_id"], project))
        if len(part):
            csv.write_csv(part, folder / f"{project}_{node}.tsv", options)


def _text(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist() if values.dtype.kind == "U" else values, pa.string())


def _joined(*parts: str | np.ndarray) -> np.ndarray:
    arrays = [pa.scalar(part) if isinstance(part, str) else _text(part) for part in parts]
    return pc.binary_join_element_wise(*arrays, pa.scalar("")).to_numpy(zero_copy_only=False)


def _digits(numbers: np.ndarray, width: int) -> np.ndarray:
    return pc.utf8_lpad(pa.array(numbers.astype(str).tolist()), width, "0").to_numpy(zero_copy_only=False)


def _all(value: str, count: int) -> np.ndarray:
    return np.full(count, value, dtype=object)


def _hex(count: int, rng: np.random.Generator) -> np.ndarray:
    """Invented checksums: 32 hexadecimal digits."""
    whole = rng.bytes(16 * count).hex()
    return np.array([whole[at : at + 32] for at in range(0, len(whole), 32)], dtype=object)


def _ids(count: int, rng: np.random.Generator) -> np.ndarray:
    """Invented UUIDs."""
    return np.array([f"{x[:8]}-{x[8:12]}-{x[12:16]}-{x[16:20]}-{x[20:]}" for x in _hex(count, rng)], dtype=object)


def read_big_export(folder: Path) -> Tables:
    """The tables of the export, read with the words that we ship."""
    groups = {group: shipped_folder("configs") / group / "default.yaml" for group in ("discharge", "breathing_support")}
    words = {group: OmegaConf.to_container(OmegaConf.load(path)) for group, path in groups.items()}
    return MidrcCohort(root=str(folder), synthetic=True, **words).read()


def label_and_split(tables: Tables, name: str) -> tuple[Manifest, dict[str, float]]:
    """The split manifest of the task `name`, and the seconds that labels, split and hash took."""
    register()
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        task = instantiated(OmegaConf.masked_copy(compose("train", overrides=[f"task={name}"]), ["task"]))["task"]
    seconds, started = {}, time.perf_counter()
    rows = task.labelled_studies(tables, CohortFlow(origin="big export"), image_files="if any")
    seconds["labels"] = time.perf_counter() - started
    started = time.perf_counter()
    manifest = Manifest.of(ByPatient().assign(rows), task.definition)
    seconds["split"] = time.perf_counter() - started
    started = time.perf_counter()
    print(f"  task={name}: {len(rows):,} labelled studies, SHA-256 {manifest.sha256[:12]}")
    seconds["hash"] = time.perf_counter() - started
    return manifest, seconds


def peer(folder: Path, seconds: Any) -> None:
    """pandas.read_csv of the same files, every column as text: what a notebook does before its first merge."""
    started = time.perf_counter()
    frames = [pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in sorted(folder.rglob("*.tsv"))]
    seconds.value = time.perf_counter() - started
    assert frames


def peak_gib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="written if it is not there; a temporary one by default")
    folder = parser.parse_args().folder
    processes = get_context("spawn")  # of their own, so that their memory does not count
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        if not any(folder.glob("*.tsv")):
            sizes = {"num_cases": 120_000, "num_studies": 200_000, "num_series": 1_000_000, "seed": 0}
            writer = processes.Process(target=write_big_export, args=(folder,), kwargs=sizes)
            writer.start()
            writer.join()
        started = time.perf_counter()
        tables = read_big_export(folder)
        read_s = time.perf_counter() - started
        counts = ", ".join(
            f"{len(getattr(tables, name)):,} {name}" for name in ("cases", "studies", "series", "events")
        )
        print(f"read {counts} in {read_s:.1f} s, peak {peak_gib():.2f} GiB")
        for name in ("icu", "covid"):
            _, seconds = label_and_split(tables, name)
            parts = ", ".join(f"{what} {value:.1f} s" for what, value in seconds.items())
            print(
                f"  {parts}: {read_s + sum(seconds.values()):.1f} s in all (limit 20), "
                f"peak {peak_gib():.2f} GiB (limit 3)"
            )
        started = time.perf_counter()
        print(f"fingerprint {tables.fingerprint()[:12]} in {time.perf_counter() - started:.1f} s")
        del tables
        peer_s = processes.Value("d", 0.0)
        other = processes.Process(target=peer, args=(folder, peer_s))
        other.start()
        other.join()
        print(
            f"pandas.read_csv of the same files as text: {peer_s.value:.1f} s; our read is {peer_s.value / read_s:.1f}x"
        )


if __name__ == "__main__":
    main()

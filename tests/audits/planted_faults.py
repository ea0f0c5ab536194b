"""A small invented cohort for `cohort=csv`, with one fault planted into it at a time. No patient stands behind it.

Two sites, one film a patient, drawn by the demo cohort's pen; the sicker a patient, the likelier the flag that
`task=icu_ever` asks for. Without a fault only the lungs, and a little the age, tell it.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from midrc_ml.cohorts.demo_films import draw_film

Rows = list[dict[str, Any]]
Plant = Callable[[Rows, np.random.Generator], None]
_HEADER = ("pid", "sex", "age", "site", "icu", "view", "maker", "crp", "file")


def write_cohort(root: Path, *, num_patients: int = 160, seed: int = 0, plant: Plant | None = None) -> None:
    """Write table.csv and films/ below `root`. plant: changes the rows, with their pictures, before that."""
    generator = np.random.default_rng(seed)
    (root / "films").mkdir(parents=True)
    rows: Rows = []
    for number in range(num_patients):
        severity = generator.normal(0, 1.5)
        film = draw_film(severity, shape=(96, 96), anatomy_seed=seed * 100_000 + number, film_seed=seed * 7 + number)
        rows.append(
            {
                "pid": f"P{number:04d}",
                "sex": ("Female", "Male")[int(generator.random() < 0.5)],
                "age": int(np.clip(generator.normal(55 + 3 * severity, 12), 20, 88)),
                "site": ("North", "South")[int(generator.random() < 0.4)],
                "icu": int(generator.random() < 1 / (1 + np.exp(-1.5 * severity))),
                "view": ("AP", "PA")[int(generator.random() < 0.5)],
                "maker": ("Maker A", "Maker B")[int(generator.random() < 0.5)],
                "crp": f"{generator.normal(50, 20):.1f}",
                "picture": np.round(film * 255).astype(np.uint8),
                "padding": 0,
            }
        )
    if plant is not None:
        plant(rows, generator)
    with open(root / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _HEADER, extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows):
            row["file"] = f"films/{number:04d}.png"
            written, content = cv2.imencode(".png", row["picture"], [cv2.IMWRITE_PNG_COMPRESSION, 0])
            assert written
            # Behind its end a PNG may have anything: no decoder reads it.
            whole = content.tobytes()[:60] if row.get("cut") else content.tobytes()
            (root / row["file"]).write_bytes(whole + bytes(row["padding"]))
            writer.writerow(row)


def label_in_a_column(rows: Rows, generator: np.random.Generator) -> None:
    """The scanner's maker is another where the label is."""
    for row in rows:
        row["maker"] = ("Maker A", "Maker B")[row["icu"]]


def label_in_a_value(rows: Rows, generator: np.random.Generator) -> None:
    """A laboratory value that only patients in intensive care have, but for one in twenty."""
    for row in rows:
        if (row["icu"] == 0) != (generator.random() < 0.02):
            row["crp"] = ""


def label_in_the_border(rows: Rows, generator: np.random.Generator) -> None:
    """A bright strip at the edge of positive films."""
    for row in rows:
        if row["icu"]:
            row["picture"][:4, :] = 230


def label_in_the_file_size(rows: Rows, generator: np.random.Generator) -> None:
    """Some bytes more behind the picture of positives."""
    for row in rows:
        row["padding"] = 400 + 200 * row["icu"]


def one_patient_under_two_ids(rows: Rows, generator: np.random.Generator) -> None:
    """Every tenth film comes again, as it is, under another id."""
    _again(rows, generator, lambda picture: picture)


def one_patient_under_two_ids_retoned(rows: Rows, generator: np.random.Generator) -> None:
    """Every tenth film comes again, cropped and with another gamma, under another id."""

    def other(picture: np.ndarray) -> np.ndarray:
        cut = picture[6:-4, 5:-8].astype(np.float64) / 255
        return np.round(255 * cut**0.7).astype(np.uint8)

    _again(rows, generator, other)


def _again(rows: Rows, generator: np.random.Generator, other: Callable[[np.ndarray], np.ndarray]) -> None:
    for row in list(rows[::10]):
        rows.append({**row, "pid": f"Q{row['pid'][1:]}", "picture": other(row["picture"])})


def nothing_is_known(rows: Rows, generator: np.random.Generator) -> None:
    """Neither site, view nor maker."""
    for row in rows:
        row["site"] = row["view"] = row["maker"] = ""


def one_site(rows: Rows, generator: np.random.Generator) -> None:
    """All of one hospital, one view and one maker."""
    for row in rows:
        row["site"], row["view"], row["maker"] = "North", "AP", "Maker A"


def labels_alike(rows: Rows, generator: np.random.Generator) -> None:
    """Nobody went to intensive care."""
    for row in rows:
        row["icu"] = 0


def films_that_cannot_be_decoded(rows: Rows, generator: np.random.Generator) -> None:
    """Every fifth file is cut off."""
    for row in rows[::5]:
        row["cut"] = True


def cohort_overrides(root: Path) -> list[str]:
    """What makes `cohort=csv` of the files."""
    columns = {
        "cases": "case_id: pid, sex: sex, age: age, site: site, icu_ever: icu",
        "studies": "study_id: pid, case_id: pid, day: {value: 1}, modality: {value: DX}, view: view, "
        "manufacturer: maker, file: file",
    }
    made = [f"cohort.{name}={{file: table.csv, columns: {{{text}}}}}" for name, text in columns.items()]
    event = "case_id: pid, name: {value: CRP}, start_day: {value: 1}, value: crp"
    events = f"{{file: table.csv, kind: laboratory, columns: {{{event}}}}}"
    return ["cohort=csv", f"cohort.root={root}", "cohort.name=invented", "cohort.synthetic=true", *made,
            f"cohort.events={events}", "images=cxr_64"]  # fmt: skip

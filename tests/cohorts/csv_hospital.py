"""Files of an invented hospital, as in docs/own_data.md: two tables, a PNG per film. No patient stands behind it."""

import csv
from datetime import date, timedelta
from pathlib import Path

import cv2
import numpy as np

PATIENTS = ("pid", "geschlecht", "alter", "klinik", "aufnahme", "entlassung", "its_von", "its_bis", "verstorben")
FILMS = ("acc", "pid", "datum", "datei", "projektion", "opazitaet_A", "opazitaet_B")


def write_hospital(root: Path, *, num_patients: int) -> None:
    """Write patients.csv (;, cp1252, dates as 03.05.2021, ages as 071Y), films.csv (decimal commas) and films/.

    Every second patient goes to intensive care on day 3 of a stay of 20 days, every tenth dies at its end. Each has a
    film on day 1, every third another on day 2. The sicker tend to be denser; reader B sees 0.5 more than A.
    """
    generator = np.random.default_rng(0)
    (root / "films").mkdir(parents=True)
    patients, films = [], []
    for number in range(num_patients):
        pid, to_icu = f"{number:04d}", number % 2 == 0
        admitted = date(2021, 3, 1) + timedelta(days=number)
        patients.append(
            (
                pid, "mw"[number // 2 % 2], f"{30 + number % 50:03d}Y", ("Nord", "S\u00fcd")[number % 3 == 0],
                _german(admitted), _german(admitted + timedelta(days=20)),
                _german(admitted + timedelta(days=3)) if to_icu else "",
                _german(admitted + timedelta(days=9)) if to_icu else "",
                "ja" if number % 10 == 0 else "nein",
            )
        )  # fmt: skip
        for day in (1, 2) if number % 3 == 0 else (1,):
            density = float(np.clip(generator.normal(4.5 if to_icu else 3, 1.5), 0, 7.5))
            pixels = np.tile(np.linspace(0, 100, 64), (64, 1)) + generator.normal(0, 5, (64, 64))
            pixels[20:44, 8:56] += 20 * density
            name = f"films/{pid}_{day}.png"
            cv2.imwrite(str(root / name), np.clip(pixels, 0, 255).astype(np.uint8))
            readings = (f"{density + shift:.1f}".replace(".", ",") for shift in (0, 0.5))
            films.append((f"F{pid}{day}", pid, _german(admitted + timedelta(days=day)), name, "ap", *readings))
    _write(root / "patients.csv", PATIENTS, patients)
    _write(root / "films.csv", FILMS, films)


def _german(day: date) -> str:
    return f"{day:%d.%m.%Y}"


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with open(path, "w", newline="", encoding="cp1252") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(header)
        writer.writerows(rows)

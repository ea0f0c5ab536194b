"""A small `metadata.csv` in the form of the COVID-19 image data collection."""

import csv
from pathlib import Path

COLUMNS = (
    *(
        "patientid",
        "offset",
        "sex",
        "age",
        "finding",
        "survival",
        "intubated",
        "intubation_present",
        "went_icu",
        "in_icu",
    ),
    *("needed_supplemental_O2", "extubated", "temperature", "pO2_saturation", "leukocyte_count", "neutrophil_count"),
    *("lymphocyte_count", "view", "modality", "date", "location", "folder", "filename"),
)


def write(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> None:
    """`<folder>/cohen/metadata.csv` with these rows; an image is a film `<row>.png` unless told otherwise."""
    place = folder / "cohen"
    place.mkdir(parents=True)
    with (place / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow({"modality": "X-ray", "folder": "images", "filename": f"{number}.png", **row})

"""The demo cohort's node exports, made and read without drawing a film."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables

RICORD_PREFIX = "MIDRC-RICORD-1C-"
D1, R1, RICORD = "Synthetic-D1", "Synthetic-R1", "Synthetic-RICORD"
Exports = dict[str, pd.DataFrame]


def words_of_sites(checkout: Path) -> dict[str, Any]:
    """What the configs say of discharges and breathing support."""
    names = ("discharge", "breathing_support")
    return {name: OmegaConf.to_object(OmegaConf.load(checkout / f"configs/{name}/default.yaml")) for name in names}


def read_back(exports: Exports, root: Path, **words: Any) -> Tables:
    for name, frame in exports.items():
        frame.to_csv(root / f"{name}.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE)
    return MidrcCohort(root=str(root), synthetic=True, **words).read()


def node(exports: Exports, name: str, *projects: str) -> pd.DataFrame:
    """The rows of a node in all projects, or in those named."""
    found = [exports[f"{project}_{name}"] for project in projects or (D1, R1, RICORD) if f"{project}_{name}" in exports]
    return pd.concat(found, ignore_index=True)


def days(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column)


def site_of(case_ids: pd.Series) -> pd.Series:
    return case_ids.str.removeprefix(RICORD_PREFIX).str.split("-").str[0]

"""What is known of a study beside its picture and its patient: where it comes from, its file, what is missing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.datasets.clinical_table import ClinicalTable, Encoder
from midrc_ml.errors import InputError
from midrc_ml.evaluation.weighted import Array
from midrc_ml.tasks.task import Task

SOURCES = ("site", "project", "view", "modality", "manufacturer", "manufacturer_model", "loinc_method")
# What may differ between the sites' files, and be known to nobody who reads the film.
_OF_METADATA = ("rows", "columns", "bits", "row_spacing_mm", "column_spacing_mm")
_ASKED = ("laboratory", "observation", "covid_test")  # what is asked of some patients only
_KNOWN_KINDS = ("laboratory", "observation", "condition", "medication")
_MOST_NAMES = 300
_LEAST_SHARE = 0.01  # of the studies, of which something has to be known or unknown


def metadata(studies: pd.DataFrame, tables: Tables, facts: pd.DataFrame | None) -> pd.DataFrame:
    """Site, project, view, modality, manufacturer, model, portable or not, year, size, bits and spacing of each study.

    studies: as of `Task.labelled_studies`. facts: of `images.film_facts`, aligned; None = no file is there. Words as
    they stand, missing where not reported; columns that are the same for every study are left out.
    """
    made = pd.DataFrame({name: _words(studies[name]) for name in SOURCES if name in studies})
    by_series = tables.series.set_index("series_id")
    by_study = tables.studies.set_index("study_id")
    if "series_id" in studies and len(by_series):
        made["manufacturer_model"] = _words(studies["series_id"].map(by_series["manufacturer_model"]))
        made["instances"] = studies["series_id"].map(by_series["instances"]).astype("float64")
    if len(by_study):
        made["loinc_method"] = _words(studies["study_id"].map(by_study["loinc_method"]))
        made["year"] = studies["study_id"].map(by_study["year"]).astype("float64")
    if facts is not None:
        made = pd.concat([made, facts[list(_OF_METADATA)].set_axis(made.index)], axis=1)
    return _that_vary(made)


def words_of(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Columns of words as they stand, missing where not reported; those that are the same for all are left out."""
    return _that_vary(pd.DataFrame({name: _words(rows[name]) for name in names if name in rows}))


def file_facts(facts: pd.DataFrame) -> pd.DataFrame:
    """What `film_facts` says, with bytes a pixel and the ratio of the sides; columns that vary."""
    pixels = facts["rows"] * facts["columns"]
    made = facts.assign(bytes_a_pixel=facts["bytes"] / pixels.where(pixels > 0), sides=facts["rows"] / facts["columns"])
    return _that_vary(made.replace([np.inf, -np.inf], np.nan).reset_index(drop=True))


def missingness(studies: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """1.0 where something is known of a study, 0.0 where it is missing: of its tables, and of each thing measured.

    What was measured, answered or tested counts that is dated on or before the day of the study, or undated. Columns
    that are known of nearly all or nearly none are left out.
    """
    made = {f"{name} known": _words(studies[name]).notna() for name in ("sex", "race", "ethnicity", *SOURCES)
            if name in studies}  # fmt: skip
    made |= {f"{name} known": studies[name].notna() for name in ("age", "day") if name in studies}
    if len(tables.studies):
        by_study = tables.studies.set_index("study_id")
        for name in ("year", "loinc", "description", "body_part"):
            made[f"{name} known"] = studies["study_id"].map(by_study[name]).notna()
    frame = pd.DataFrame(made, index=studies.index)
    frame = pd.concat([frame, measured(studies, tables)], axis=1).astype("float64")
    share = frame.mean()
    return frame.loc[:, (share >= _LEAST_SHARE) & (share <= 1 - _LEAST_SHARE)].reset_index(drop=True)


def measured(studies: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Whether each laboratory value, observation or test is known of a study by its day: a column for each name."""
    events = tables.events[tables.events["kind"].isin(_ASKED) & tables.events["name"].notna()]
    names = events["name"].value_counts(sort=True).index[:_MOST_NAMES]
    events = events[events["name"].isin(names)]
    rows = pd.DataFrame({"row": studies.index, "case_id": studies["case_id"], "day": studies["day"].astype("float64")})
    pairs = rows.merge(events[["case_id", "name", "start_day"]], on="case_id")
    pairs = pairs[pairs["start_day"].isna() | (pairs["start_day"] <= pairs["day"])]
    found = pd.crosstab(pairs["row"], pairs["name"]).clip(upper=1) if len(pairs) else pd.DataFrame(index=[])
    return found.reindex(studies.index, fill_value=0).add_suffix(" known")


def known_table(task: Task, tables: Tables, studies: pd.DataFrame) -> pd.DataFrame:
    """Age, sex and every dated laboratory value, observation, condition and medication known by the day of the study.

    What the task takes its label from, or has codes of, is left out, as are kinds of more names than anybody chose.
    studies: with part.
    """
    frames = [ClinicalTable(columns=["age", "sex"]).read(tables, studies)]
    dated = set(tables.events.loc[tables.events["start_day"].notna(), "kind"])
    for kind in _KNOWN_KINDS:
        if kind not in dated:
            continue
        asked = ClinicalTable(columns=[], events={kind: {"names": None}})
        try:
            asked.check_task(task)
            frames.append(asked.read(tables, studies))
        except InputError:
            continue
    return pd.concat(frames, axis=1)


def encoded(frame: pd.DataFrame, studies: pd.DataFrame) -> Array:
    """A frame of words and numbers as float64 (study, feature), by what its training rows teach; of all, if none."""
    if frame.empty or not len(frame.columns):
        return np.zeros((len(studies), 0))
    train = (studies["part"] == "train").to_numpy()
    taught = frame[train] if train.any() else frame
    if not taught.notna().any().any():
        return np.zeros((len(studies), 0))
    return np.asarray(Encoder.fit(taught.reset_index(drop=True)).encode(frame), dtype=np.float64)


def _words(values: pd.Series) -> pd.Series:
    """Texts that no encoder takes for numbers: sites are often called by one."""
    texts = values.astype("str")
    return ("=" + texts).where(values.notna() & (texts != NOT_REPORTED))


def _that_vary(frame: pd.DataFrame) -> pd.DataFrame:
    varies = [name for name in frame if frame[name].nunique() > 1 or frame[name].isna().nunique() > 1]
    return frame[varies].reset_index(drop=True)

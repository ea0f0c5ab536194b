"""The readings of an export: scores, grades and classes that the annotation node gives to studies and series."""

import pandas as pd

from midrc_ml.cohorts.midrc_lists import exploded, looked_up
from midrc_ml.cohorts.midrc_nodes import GRADES, SERIES_NODES
from midrc_ml.tables.keys import is_among

_COLUMNS = ["study_id", "series_id", "image", "reader", "name", "value", "category", "source"]
_NAMES = {
    "midrc_mRALE_score": "mrale_total",
    "airspace_disease_grading": "airspace_grade",
    "class_covid19_pneumonia": "pneumonia_class",
    "sift_image_quality_index": "image_quality",
}
_NOT_REPORTED = "Not Reported"


def read_readings(
    node: pd.DataFrame, copies: pd.DataFrame | None, series: pd.DataFrame | None, notes: list[str]
) -> tuple[pd.DataFrame, frozenset[str]]:
    """The readings table, and the studies that are read differently in two projects.

    A row is of a study, by its link, or of a series, whose study it then is of; of each of them, where it links to
    several studies. Rows of a case alone, or of nothing that is known, are counted. Several rows of one annotator for
    one thing are his readings of several images, numbered; rows without an annotator may be anyone's, and are told
    apart by a number of the reader.
    """
    places = _places(node, copies, series)
    further = len(places) - len(node)
    if further:
        notes.append(f"annotation: rows link to {further} further studies; each of these has the reading too")
    reader = node["annotator_id"].fillna(node["annotation_method"]).fillna("unknown")
    values = places.join(node.assign(reader=reader, is_known=node["annotator_id"].notna())).reset_index(drop=True)
    long = []
    for column, name in _NAMES.items():
        given = values[column].notna() & (values[column] != _NOT_REPORTED)
        rows = values.loc[given, ["study_id", "series_id", "reader", "is_known", "project_id", "submitter_id", "id"]]
        of_column = values.loc[given, column]
        if name == "mrale_total":
            rows = rows.assign(value=of_column)
        elif name == "airspace_grade":
            rank = {grade: float(value) for value, grade in enumerate(GRADES, start=1)}
            rows = rows.assign(value=of_column.map(rank), category=of_column)
        else:
            rows = rows.assign(category=of_column)
        long.append(rows.assign(name=name))
    columns = [*_COLUMNS, "is_known", "project_id", "submitter_id", "id"]
    readings = pd.concat([frame.reindex(columns=columns) for frame in long])
    readings = readings.astype({"value": "float64", "category": "str"}).reset_index(drop=True)
    nowhere = readings["study_id"].isna()
    if nowhere.any():
        notes.append(f"annotation: {int(nowhere.sum())} readings name no known study or series; they are left out")
        readings = readings[~nowhere]
    if copies is not None:
        strays = int((~is_among(readings["study_id"], copies["study_id"])).sum())
        if strays:
            notes.append(
                f"annotation: {strays} readings name a study that is in no imaging_study row; they are not used"
            )
    order = ["study_id", "name", "project_id", "submitter_id", "id", "series_id", "reader", "value", "category"]
    readings = readings.sort_values(order, na_position="last", ignore_index=True)
    readings, differently = _one_project_each(readings)
    place = readings.groupby(["study_id", "series_id", "reader", "name"], dropna=False).cumcount()
    number, is_further, is_known = (place + 1).astype("str"), place > 0, readings["is_known"].eq(True)
    readings["image"] = number.where(is_further & is_known)
    readings["reader"] = readings["reader"].mask(is_further & ~is_known, readings["reader"] + " (" + number + ")")
    if further := int((is_further & is_known).sum()):
        notes.append(f"annotation: {further} are further readings of one reader, who counts once")
    readings["source"] = "annotation"
    return readings[_COLUMNS], differently


def _places(node: pd.DataFrame, copies: pd.DataFrame | None, series: pd.DataFrame | None) -> pd.DataFrame:
    """Each study that a row links to, by itself or through a series: study_id and series_id, under the row's index.

    A row without a study stays, once. series_id: where the row is of one series alone.
    """
    links = pd.concat([exploded(node[f"{name}s.submitter_id"]) for name in SERIES_NODES])
    uid, through = links, links.where(pd.Series(False, index=links.index))
    if series is not None and len(links):
        uid = looked_up(links, series["submitter_id"], series["series_uid"]).fillna(links)
        through = looked_up(uid, series["series_uid"], series["study_uid"])
    study = exploded(node["imaging_studies.submitter_id"])
    if copies is not None:
        study = looked_up(study, copies["submitter_id"], copies["study_id"]).fillna(study)
    through = through[~through.index.isin(study.index)].dropna()
    pairs = pd.concat([study, through]).rename("study_id").rename_axis("row").reset_index().drop_duplicates()
    of_row = pairs.set_index("row")["study_id"]
    alone = uid[~uid.index.duplicated(keep=False) & ~uid.index.isin(of_row.index[of_row.index.duplicated()])]
    rows = node.index.to_frame(name="row").join(of_row).join(alone.rename("series_id"))
    return rows[["study_id", "series_id"]]


def _one_project_each(readings: pd.DataFrame) -> tuple[pd.DataFrame, frozenset[str]]:
    """Readings of a study by one name from one project, and the studies of which two projects say other things."""
    project = readings["project_id"].fillna("")
    projects = project.groupby([readings["study_id"], readings["name"]])
    if (projects.transform("nunique") == 1).all():
        return readings, frozenset()
    said = (readings["value"].astype("str").fillna("") + "\x1f" + readings["category"].fillna("")).rename("said")
    by_copy = pd.concat([readings[["study_id", "name"]], project.rename("project"), said], axis=1)
    together = by_copy.groupby(["study_id", "name", "project"])["said"].agg(lambda texts: "\x1e".join(sorted(texts)))
    states = together.groupby(["study_id", "name"]).nunique()
    differently = frozenset(states.index[states > 1].get_level_values("study_id"))
    return readings[project == projects.transform("min")], differently

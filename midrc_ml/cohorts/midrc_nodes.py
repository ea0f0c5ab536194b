"""The Gen3 nodes of MIDRC that are read here: their columns, types and allowed values.

Source: uc-cdis/midrc_dictionary d7befda (2026-06-29), and headers of real exports. `file_name`s follow
`<case>/<study>/<series>.zip`. Columns that old or new exports lack are optional.
"""

from midrc_ml.tables.schemas import ETHNICITY, RACE, SEX, TEST_RESULT, Column, flag, number, text

_COVID19_POSITIVE = ("Yes", "No", "Indeterminate", "Not Reported")


def _list(name: str, *, optional: bool = False) -> Column:
    return Column(name=name, kind="list", optional=optional)


_CASE_LINK = (_list("case_ids", optional=True), _list("cases.submitter_id", optional=True))

_SERIES_FILE = (
    text("submitter_id"),
    _list("case_ids", optional=True),
    text("series_uid", required=True),
    text("modality"),
    text("manufacturer", optional=True),
    _list("view_position", optional=True),
    text("file_name", required=True),
    text("md5sum", optional=True),
    text("study_uid", optional=True),
    _list("imaging_studies.submitter_id", optional=True),
)

NODES: dict[str, tuple[Column, ...]] = {
    "case": (
        text("project_id", optional=True),
        text("submitter_id", required=True),
        number("age_at_index", low=0, high=89),
        text("age_at_index_gt89", optional=True, allowed=("Yes", "No")),
        text("sex", allowed=SEX),
        text("race", allowed=RACE),
        text("ethnicity", allowed=ETHNICITY),
        text("covid19_positive", optional=True, allowed=_COVID19_POSITIVE),
        flag("icu_indicator", optional=True),
        flag("ventilator_indicator", optional=True),
        text("site_id", optional=True),
        _list("datasets.submitter_id", optional=True),
    ),
    "imaging_study": (
        text("project_id", optional=True),
        text("submitter_id"),
        text("study_uid", required=True),
        *_CASE_LINK,
        _list("study_modality"),
        text("study_description", optional=True),
        text("loinc_code", optional=True),
        number("days_to_study"),
        number("age_at_imaging", optional=True, low=0, high=89),
        text("age_at_imaging_gt89", optional=True, allowed=("Yes", "No")),
        number("study_year", optional=True),
    ),
    "measurement": (
        text("submitter_id", optional=True),
        *_CASE_LINK,
        text("test_name", optional=True),
        text("test_method", optional=True),
        text("test_result_text", allowed=TEST_RESULT),
        number("test_days_from_index"),
    ),
    "visit": (
        text("submitter_id", optional=True),
        *_CASE_LINK,
        number("days_to_hospital_admission"),
        number("days_to_hospital_discharge"),
        number("days_to_icu_admission"),
        number("days_to_icu_discharge"),
        text("discharge_type"),
    ),
    "cr_series_file": _SERIES_FILE,
    "dx_series_file": _SERIES_FILE,
}

# Which of our tables and events come from which node, for messages about an absent one.
SUPPLIED_BY = {
    "cases": ("case",),
    "studies": ("imaging_study",),
    "series": ("cr_series_file", "dx_series_file"),
    "covid_test": ("measurement",),
    "hospital_stay": ("visit",),
    "icu_stay": ("visit",),
    "death": ("visit",),
}

"""The Gen3 nodes of MIDRC: which are read, their columns, types and allowed values.

Source: uc-cdis/midrc_dictionary d7befda (2026-06-29), headers of real exports, and the fields of the portal's
explorer. Columns that old or new exports lack are optional. A list stays text here, in one spelling (`midrc_lists`).
"""

from midrc_ml.tables.schemas import ETHNICITY, RACE, SEX, TEST_RESULT, Column, day, flag, number, text

COVID19_POSITIVE = ("Yes", "No", "Indeterminate", "Not Reported")
LONG_COVID = ("Positive", "Not Reported")
YES_NO = ("Yes", "No")
GRADES = ("mild", "moderate", "severe")  # in the order of their values 1, 2, 3
PNEUMONIA_CLASSES = ("typical", "indeterminate", "atypical", "negative")
QUALITY_INDEX = ("A", "B", "C", "D", "Not Reported")
MRALE_MAX = 24

# The modality that a series file is of, where its own column is blank.
SERIES_NODES = {
    f"{modality.lower()}_series_file": modality
    for modality in ("CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA")
}
# Nodes that hold nothing that becomes a row of the tables.
NOT_READ = (
    "annotation_file",
    "core_metadata_collection",
    "dataset",
    "dicom_annotation_file",
    "program",
    "project",
    "radiology_report",
    "supplementary_file",
)

_WHO = (text("id", optional=True), text("project_id", optional=True))
_CASE_LINK = (text("case_ids", optional=True), text("cases.submitter_id", optional=True))
_OF_A_CASE = (*_WHO, text("submitter_id", optional=True), *_CASE_LINK)

# Neither its id nor its case is needed: a series is known by its uid, and its study knows the case.
_SERIES_FILE = (
    text("project_id", optional=True),
    text("submitter_id"),
    text("series_uid", optional=True),
    text("modality"),
    text("manufacturer", optional=True),
    text("manufacturer_model_name", optional=True),
    text("series_description", optional=True),
    text("view_position", optional=True),
    number("number_of_instances", optional=True, low=0),
    text("file_name", required=True),
    text("object_id", optional=True),
    text("data_format", optional=True),
    text("study_uid", optional=True),
    text("imaging_studies.submitter_id", optional=True),
)

NODES: dict[str, tuple[Column, ...]] = {
    "case": (
        *_WHO,
        text("submitter_id", required=True),
        text("case_ids", optional=True),
        number("age_at_index", low=0, high=89),
        text("age_at_index_gt89", optional=True, allowed=YES_NO),
        text("sex", allowed=SEX),
        text("race", allowed=RACE),
        text("ethnicity", allowed=ETHNICITY),
        text("covid19_positive", optional=True, allowed=COVID19_POSITIVE),
        text("long_covid_diagnosis", optional=True, allowed=LONG_COVID),
        flag("icu_indicator", optional=True),
        flag("ventilator_indicator", optional=True),
        text("site_id", optional=True),
        text("datasets.submitter_id", optional=True),
    ),
    "imaging_study": (
        *_WHO,
        text("submitter_id"),
        text("study_uid", required=True),
        *_CASE_LINK,
        text("study_modality"),
        text("study_description", optional=True),
        text("body_part_examined", optional=True),
        text("loinc_code", optional=True),
        text("loinc_method", optional=True),
        text("loinc_system", optional=True),
        day("days_to_study"),
        text("days_from_study_to_pos_covid_test", optional=True),
        text("days_from_study_to_neg_covid_test", optional=True),
        number("age_at_imaging", optional=True, low=0, high=89),
        text("age_at_imaging_gt89", optional=True, allowed=YES_NO),
        number("study_year", optional=True),
        text("object_id", optional=True),
    ),
    "measurement": (
        *_OF_A_CASE,
        text("test_name", optional=True),
        text("test_method", optional=True),
        text("test_result_text", allowed=TEST_RESULT),
        day("test_days_from_index"),
    ),
    "visit": (
        *_OF_A_CASE,
        day("days_to_hospital_admission"),
        day("days_to_hospital_discharge"),
        day("days_to_icu_admission"),
        day("days_to_icu_discharge"),
        text("discharge_type"),
    ),
    "procedure": (
        *_OF_A_CASE,
        text("procedure_name", optional=True),
        text("breathing_support_type", optional=True),
        day("days_to_procedure_start"),
        day("days_to_procedure_end"),
    ),
    "condition": (
        *_OF_A_CASE,
        text("condition_code", optional=True),
        text("condition_code_system", optional=True),
        text("condition_name", optional=True),
        day("days_to_condition_start"),
        day("days_to_condition_end"),
    ),
    "medication": (
        *_OF_A_CASE,
        text("medication_name", optional=True),
        text("medication_code", optional=True),
        text("medication_type", optional=True),
        day("days_to_medication_start"),
        day("days_to_medication_end"),
    ),
    "observation": (
        *_OF_A_CASE,
        text("observation_name"),
        text("observation_answer"),
        day("days_to_observation"),
    ),
    "annotation": (
        *_OF_A_CASE,
        text("imaging_studies.submitter_id", optional=True),
        *(text(f"{node}s.submitter_id", optional=True) for node in SERIES_NODES),
        text("annotator_id", optional=True),
        text("annotation_method", optional=True),
        number("midrc_mRALE_score", optional=True, low=0, high=MRALE_MAX),
        text("airspace_disease_grading", optional=True, allowed=GRADES),
        text("class_covid19_pneumonia", optional=True, allowed=PNEUMONIA_CLASSES),
        text("sift_image_quality_index", optional=True, allowed=QUALITY_INDEX),
    ),
    **dict.fromkeys(SERIES_NODES, _SERIES_FILE),
}
NODE_NAMES = ", ".join([*(node for node in NODES if node not in SERIES_NODES), "*_series_file"])  # for messages

# The explorer's table of all files, and the manifests of a download: no node, but the same facts.
DATA_FILE = "data_file"
DATA_FILE_COLUMNS = (*_SERIES_FILE, text("source_node", optional=True))

LISTS = frozenset(
    {
        "case_ids",
        "cases.submitter_id",
        "datasets.submitter_id",
        "study_modality",
        "body_part_examined",
        "days_from_study_to_pos_covid_test",
        "days_from_study_to_neg_covid_test",
        "view_position",
        "imaging_studies.submitter_id",
        *(f"{node}s.submitter_id" for node in SERIES_NODES),
    }
)

# {table or kind of event: (nodes that hold it, where it would come from in words)}.
SUPPLIED_BY: dict[str, tuple[tuple[str, ...], str]] = {
    "cases": (("case",), "the case node"),
    "studies": (("imaging_study",), "the imaging_study node"),
    "series": ((*SERIES_NODES, DATA_FILE), "the *_series_file nodes or the data_file table"),
    "readings": (("annotation",), "the annotation node"),
    "covid_test": (("measurement",), "the measurement node or the days_from_study_to_*_covid_test of imaging_study"),
    "hospital_stay": (("visit",), "the visit node"),
    "icu_stay": (("visit",), "the visit node"),
    "death": (("visit",), "the visit node"),
    "ventilation": (("procedure",), "the procedure node"),
    "condition": (("condition",), "the condition node"),
    "medication": (("medication",), "the medication node"),
    "observation": (("observation",), "the observation node"),
}

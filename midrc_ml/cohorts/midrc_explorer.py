"""Records of the portal's explorer, of its manifests and of JSON node exports, as rows of the nodes.

An explorer download has no `type`: its index is known by its fields. A record repeats what belongs to its case
(`"sex": ["Male"]`) and holds what hangs on it (`measurements: [...]`); the portal's TSV and CSV spell the same as
`sex_0` and `measurements_0_test_name`. All of it becomes node rows, the less direct ones at a lower rank.
Fields: uc-cdis/gen3-frontend-framework (tests of groupSharedFields), data.midrc.org/etlMapping.yaml.
"""

import ast
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from midrc_ml.cohorts.midrc_lists import per_distinct
from midrc_ml.cohorts.midrc_nodes import DATA_FILE, DATA_FILE_COLUMNS, LISTS, NODES
from midrc_ml.tables.checks import parse_list

# Ranks: where two rows describe one thing, the lower rank is believed and the higher fills its gaps.
NODE_EXPORT, EXPLORER, NESTED, REPEATED = range(4)

_HELD = {  # what hangs on a record: {index: {field: node}}
    "case": {
        "measurements": "measurement",
        "conditions": "condition",
        "procedures": "procedure",
        "medications": "medication",
        "imaging_studies": "imaging_study",
        "case_annotations": "annotation",
        "imaging_study_annotations": "annotation",
        "annotations": "annotation",
    },
    "imaging_study": {"imaging_study_annotations": "annotation", "annotations": "annotation"},
}
HELD_FIELDS = frozenset(field for fields in _HELD.values() for field in fields)
_ANNOTATION_FIELDS = frozenset(
    {
        "_annotation_id",
        "annotation_name",
        "annotation_method",
        "annotator_id",
        "midrc_mRALE_score",
        "airspace_disease_grading",
        "class_covid19_pneumonia",
        "sift_image_quality_index",
    }
)
_CASE_FIELDS = frozenset({"sex", "race", "ethnicity", "age_at_index", "covid19_positive"})
_STUDY_FIELDS = frozenset({"study_uid", "days_to_study", "study_modality", "study_description", "age_at_imaging"})
_COLUMNS = {**{node: frozenset(c.name for c in columns) for node, columns in NODES.items()}}
_COLUMNS[DATA_FILE] = frozenset(column.name for column in DATA_FILE_COLUMNS)
_OTHER_NAMES = {"dataset_submitter_id": "datasets.submitter_id"}
_NUMBERED = re.compile(r"^(?P<field>.+?)[._](?P<place>\d+)(?:[._](?P<inner>.+))?$")
_UID = re.compile(r"^\d+(?:\.\d+)+$")

_IDS = frozenset({"node_id", "case_submitter_id", *(f"_{node}_id" for node in _COLUMNS)})

# Every field that is worth reading in a flat table.
KNOWN_FIELDS = frozenset().union(*_COLUMNS.values(), _OTHER_NAMES, HELD_FIELDS, _IDS)


@dataclass(frozen=True)
class Records:
    """cells: one row a record, lists as JSON text. held: {field: rows of it, with `_row`, the record's position}."""

    cells: pd.DataFrame
    held: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Rows:
    """Rows of one node, as text, and how directly they describe it."""

    node: str
    rank: int
    frame: pd.DataFrame


def index_of(fields: Collection[str]) -> str | None:
    """The index (`case`, `imaging_study`, `measurement`, `annotation`, `data_file`) of records with these fields."""
    has = {match["field"] if (match := _NUMBERED.match(name)) else name for name in fields}
    named_case = bool(has & {"case_ids", "case_submitter_id"})
    if "_imaging_studies_count" in has:
        return "case"
    if has & {"_data_file_id", "source_node", "file_name"} or {"object_id", "series_uid"} <= has:
        return DATA_FILE
    if "_measurement_id" in has or (named_case and has & {"test_result_text", "test_days_from_index"}):
        return "measurement"
    if "_imaging_study_id" in has or (named_case and has & _STUDY_FIELDS):
        return "imaging_study"
    if "_case_id" in has or ({"project_id", "submitter_id"} <= has and not named_case and has & _CASE_FIELDS):
        return "case"
    if has & _ANNOTATION_FIELDS and (named_case or "submitter_id" in has):
        return "annotation"
    return DATA_FILE if "object_id" in has and not named_case and "submitter_id" not in has else None


def records_of(entries: Sequence[dict[str, Any]]) -> Records:
    """JSON records; keys that a record omits, nulls and empty lists are missing."""
    rows: list[dict[str, str | None]] = []
    held: dict[str, list[dict[str, Any]]] = {}
    for position, entry in enumerate(entries):
        row: dict[str, str | None] = {}
        for field, value in entry.items():
            children = [value] if isinstance(value, dict) else value
            if not isinstance(children, list) or not any(isinstance(child, dict) for child in children):
                row[field] = _cell(value)
            elif field in HELD_FIELDS:
                held.setdefault(field, []).extend(_children(children, position))
            else:  # a link of a node export: {"cases": [{"submitter_id": ...}]}
                links = [child for child in children if isinstance(child, dict)]
                row[f"{field}.submitter_id"] = _cell([c.get("submitter_id") for c in links])
        rows.append(row)
    return Records(cells=_texts(rows), held={field: _texts(children) for field, children in held.items()})


def records_of_flat(frame: pd.DataFrame) -> Records:
    """A flat table: the portal's numbered columns put together again, notebooks' reprs of records taken apart."""
    lists: dict[str, list[str]] = {}
    inner: dict[str, dict[str, dict[str, str]]] = {}
    plain = {}
    for name in frame.columns:
        match = _NUMBERED.match(name)
        if name in KNOWN_FIELDS or match is None:
            plain[name] = frame[name]
        elif match["inner"] is None:
            lists.setdefault(match["field"], []).append(name)
        else:
            inner.setdefault(match["field"], {}).setdefault(match["place"], {})[name] = match["inner"]
    for field, names in lists.items():
        plain[field] = _put_together(frame[names])
    held = {}
    for field, places in inner.items():
        parts = [
            frame[[*names]].rename(columns=names).assign(_row=[str(row) for row in range(len(frame))])
            for names in places.values()
        ]
        together = pd.concat(parts, ignore_index=True)
        held[field] = records_of_flat(together[together.drop(columns="_row").notna().any(axis=1)]).cells
    for field in HELD_FIELDS & set(plain):
        cells = plain.pop(field).fillna("")
        if children := [child for row, cell in enumerate(cells) for child in _children(_parsed(cell), row)]:
            held[field] = _texts(children)
    return Records(cells=pd.DataFrame(plain, index=frame.index), held=held)


def node_rows(index: str, records: Records) -> Iterator[Rows]:
    """The rows of an explorer index, of what its records hold, and of what they repeat of their study and case."""
    cells = records.cells.rename(columns=_OTHER_NAMES)
    cells = cells.rename(columns={"case_submitter_id": "case_ids"} if "case_ids" not in cells else {})
    own = _only(cells, index)
    own["id"] = _first_of(cells, f"_{index}_id", "node_id", "id")
    if index == "imaging_study":
        own["study_uid"] = _study_uid(own)
    yield Rows(index, EXPLORER, own)
    project = _column(cells, "project_id")
    case_ids = _column(cells, "submitter_id" if index == "case" else "case_ids")
    for field, node in _HELD.get(index, {}).items():
        if field not in records.held:
            continue
        held = records.held[field]
        rows = _only(held, node)
        rows["id"] = _first_of(held, f"_{node}_id", "node_id", "id")
        at = held["_row"].astype("int64")
        rows["project_id"], rows["case_ids"] = (c.take(at).set_axis(held.index) for c in (project, case_ids))
        if index == "imaging_study":
            rows["imaging_studies.submitter_id"] = own["study_uid"].take(at).set_axis(held.index)
        elif node == "imaging_study":
            rows["study_uid"] = _study_uid(rows)
        yield Rows(node, NESTED, rows.reset_index(drop=True))
    if index == DATA_FILE and "study_uid" in own:
        repeated = _only(cells, "imaging_study").drop(columns=["submitter_id", "id", "object_id"], errors="ignore")
        repeated = repeated[repeated["study_uid"].notna()]
        yield Rows("imaging_study", REPEATED, repeated.drop_duplicates(ignore_index=True))
    if index in (DATA_FILE, "imaging_study") and _CASE_FIELDS & set(cells):
        one = per_distinct(case_ids, _only_item)
        repeated = _only(cells, "case").drop(columns=["case_ids", "id"], errors="ignore").assign(submitter_id=one)
        yield Rows("case", REPEATED, repeated[one.notna()].drop_duplicates(ignore_index=True))


def scalars(frame: pd.DataFrame, node: str) -> tuple[pd.DataFrame, int]:
    """`frame` with one value in each cell that is no list, and how many cells held several different ones."""
    ambiguous = 0
    result = {}
    for name in frame.columns:
        values = frame[name]
        if not is_list(node, name):
            listed = values.str.startswith("[", na=False)
            if listed.any():
                one = per_distinct(values.where(listed), _only_item)
                ambiguous += int((listed & one.isna() & (values != "[]")).sum())
                values = values.where(~listed, one)
        result[name] = values
    return pd.DataFrame(result, index=frame.index), ambiguous


def is_list(node: str, column: str) -> bool:
    """Whether a cell of this column may hold several values."""
    return column in LISTS or (node == "imaging_study" and column == "object_id")


def _texts(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, dtype=object)
    return frame.astype("str").where(frame.notna())


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return json.dumps([_cell(item) for item in value if item is not None]) if value else None
    return str(value)  # True, 50, 76.0, as a TSV has them


def _children(children: Any, row: int) -> list[dict[str, Any]]:
    if not isinstance(children, list):
        return []
    return [
        {"_row": str(row), **{field: _cell(value) for field, value in child.items()}}
        for child in children
        if isinstance(child, dict)
    ]


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell) if cell else None
    except json.JSONDecodeError:
        try:
            return ast.literal_eval(cell)
        except (ValueError, SyntaxError):
            return None


def _put_together(parts: pd.DataFrame) -> pd.Series:
    """Columns `name_0`, `name_1` ... as one of JSON lists; missing where all are."""
    cells = [json.dumps([item for item in row if item]) for row in parts.fillna("").itertuples(index=False, name=None)]
    return pd.Series(cells, index=parts.index, dtype="str").mask(parts.isna().all(axis=1))


def _only_item(cell: str) -> str | None:
    items = set(parse_list(cell))
    return items.pop() if len(items) == 1 else None


def _only(frame: pd.DataFrame, node: str) -> pd.DataFrame:
    return frame[[name for name in frame.columns if name in _COLUMNS[node]]].copy()


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name] if name in frame else pd.Series(None, index=frame.index, dtype="str")


def _first_of(frame: pd.DataFrame, *names: str) -> pd.Series:
    result = _column(frame, names[0])
    for name in names[1:]:
        result = result.fillna(_column(frame, name))
    return result


def _study_uid(rows: pd.DataFrame) -> pd.Series:
    """`study_uid`; where the record has none, the id, which is `<study_uid>` or `<case>_<study_uid>`."""
    last = per_distinct(_column(rows, "submitter_id"), _uid_in)
    return _column(rows, "study_uid").fillna(last)


def _uid_in(name: str) -> str | None:
    last = name.rsplit("_", 1)[-1]
    return last if _UID.match(last) else None

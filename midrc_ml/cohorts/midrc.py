"""`cohort=midrc`: a folder of Gen3 node exports, with the images beside them, as the five tables."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_files import Export, find_series_files, read_export
from midrc_ml.cohorts.midrc_nodes import SUPPLIED_BY
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.schemas import AGE_OVER_89

# TCIA gave the same patients another name: MIDRC-RICORD-1A-419639-000001 is MIDRC's 419639-000001.
_RICORD_PREFIX = re.compile(r"^MIDRC-RICORD-\w+?-")
_BATCH_DATE = re.compile(r"(\d{8})$")
# UMich, the one site whose words are public; further vocabularies come with further sites.
DEATH = "deceased"
LIVE_DISCHARGES = frozenset(
    {
        "acute/inpatient rehab facility",
        "court/law enforcement",
        "home or self care",
        "home-health care svc",
        "hospice/home",
        "hospice/medical facility",
        "intermediate care facility",
        "left against medical advice",
        "long term care",
        "short term hospital",
        "subacute rehab/skilled nursing facility",
    }
)


@dataclass(frozen=True, kw_only=True)
class MidrcCohort:
    """Reads node TSVs (any subset of the nodes) and finds one ZIP or folder per series.

    root: the folder that holds both, at any depth.
    """

    root: str | None
    synthetic: bool = False

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {"cohort": "midrc", "synthetic": self.synthetic}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: no folder, or nothing to read in it.
            TableError: rows that break the dictionary's rules, all at once.
        """
        if not self.root:
            raise InputError(
                "cohort=midrc reads an export, but cohort.root is not set; give cohort.root=FOLDER "
                "(the folder that holds the node exports), or try cohort=demo"
            )
        root = Path(self.root).expanduser().resolve()
        export = read_export(root)
        notes = list(export.notes)
        absent = {
            table: f"from the {' or '.join(nodes)} node: no such TSV in cohort.root"
            for table, nodes in SUPPLIED_BY.items()
            if not any(node in export.nodes for node in nodes)
        }
        return Tables.checked(
            origin="synthetic MIDRC export" if self.synthetic else "MIDRC export",
            synthetic=self.synthetic,
            cases=_cases(export),
            studies=_studies(export, notes),
            series=_series(export, root, notes),
            events=_events(export, notes),
            absent=absent,
            notes=tuple(notes),
        )


def _cases(export: Export) -> pd.DataFrame | None:
    if "case" not in export.nodes:
        return None
    node = export.nodes["case"]
    over_89 = node["age_at_index_gt89"] == "Yes"
    from_id = node["submitter_id"].str.replace(_RICORD_PREFIX, "", regex=True)
    return pd.DataFrame(
        {
            "case_id": node["submitter_id"],
            "patient_id": from_id,
            "project": node["project_id"],
            # The text before the first hyphen of a case id is the site that sent it.
            "site": node["site_id"].fillna(from_id.str.split("-", n=1).str[0]),
            "sex": node["sex"],
            "race": node["race"],
            "ethnicity": node["ethnicity"],
            "age": node["age_at_index"].mask(over_89, AGE_OVER_89),
            "age_over_89": over_89,
            "icu_ever": node["icu_indicator"],
            "ventilated_ever": node["ventilator_indicator"],
            "arrival_date": [_first_batch(names) for names in node["datasets.submitter_id"]],
        }
    )


def _studies(export: Export, notes: list[str]) -> pd.DataFrame | None:
    if "imaging_study" not in export.nodes:
        return None
    node = export.nodes["imaging_study"]
    over_89 = node["age_at_imaging_gt89"] == "Yes"
    return pd.DataFrame(
        {
            "study_id": node["study_uid"],
            "case_id": _case_of(node, "imaging_study", notes),
            "modality": [",".join(sorted(set(names))) or None for names in node["study_modality"]],
            "description": node["study_description"],
            "loinc": node["loinc_code"],
            "day": node["days_to_study"],
            "age": node["age_at_imaging"].mask(over_89, AGE_OVER_89),
            "year": node["study_year"],
        }
    ).dropna(subset="case_id")


def _series(export: Export, root: Path, notes: list[str]) -> pd.DataFrame | None:
    frames = [export.nodes[node] for node in SUPPLIED_BY["series"] if node in export.nodes]
    if not frames:
        return None
    node = pd.concat(frames, ignore_index=True)
    linked = [names[0] if names else None for names in node["imaging_studies.submitter_id"]]
    # A file_name is <case>/<study>/<series>.zip, in old rows <study>/<series>.zip.
    in_path = [parts[-2] if len(parts) > 1 else None for parts in node["file_name"].str.split("/")]
    study = node["study_uid"].fillna(pd.Series(linked, dtype="str")).fillna(pd.Series(in_path, dtype="str"))
    if "imaging_study" in export.nodes:
        # A study's submitter_id may be its uid or <case>_<uid>: the imaging_study node knows which.
        studies = export.nodes["imaging_study"]
        uid_of = dict(zip(studies["submitter_id"], studies["study_uid"], strict=True))
        study = study.map(lambda name: uid_of.get(name, name), na_action="ignore")
        strays = int((study.notna() & ~study.isin(studies["study_uid"])).sum())
        if strays:
            notes.append(f"series: {strays} rows name a study that is in no imaging_study row; they are not used")
    nowhere = study.isna()
    if nowhere.any():
        notes.append(f"series: {int(nowhere.sum())} rows name no study, by link or by path; they are left out")
    node, study = node[~nowhere], study[~nowhere]
    files, twice = find_series_files(root, node["file_name"])
    if twice:
        notes.append(f"{twice} series lie both as a ZIP and unpacked; each is counted once, from the ZIP")
    return pd.DataFrame(
        {
            "series_id": node["series_uid"],
            "study_id": study,
            "modality": node["modality"],
            "view": [names[0] if names else None for names in node["view_position"]],
            "manufacturer": node["manufacturer"],
            "file": files,
        }
    )


def _events(export: Export, notes: list[str]) -> pd.DataFrame:
    frames = []
    if "measurement" in export.nodes:
        node = export.nodes["measurement"]
        frames.append(
            pd.DataFrame(
                {
                    "case_id": _known_case_of(export, "measurement", notes),
                    "kind": "covid_test",
                    "name": node["test_method"],
                    "start_day": node["test_days_from_index"],
                    "value": node["test_result_text"],
                    "source": "measurement",
                }
            )
        )
    if "visit" in export.nodes:
        frames += _visits(export.nodes["visit"], _known_case_of(export, "visit", notes), notes)
    events = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    columns = ["case_id", "kind", "name", "start_day", "end_day", "value", "unit", "source"]
    return events.reindex(columns=columns).dropna(subset="case_id")


def _visits(node: pd.DataFrame, case_id: pd.Series, notes: list[str]) -> list[pd.DataFrame]:
    """Hospital stays, ICU stays and deaths of the visit rows.

    A stay that ends before it starts, or has an end and no start, has no day that can be used; both are
    counted. Such a hospital stay is left out; such an ICU stay is kept without its days, because a label must
    not take the patient for one who was never there. An ICU stay without an end that began before its own row's
    hospital stay is taken to have reached it, and counted: without an end it would belong to neither.
    """
    ended = node["discharge_type"].str.casefold()
    died = ended == DEATH
    unknown = ended.notna() & ~died & ~ended.isin(LIVE_DISCHARGES)
    if unknown.any():
        notes.append(
            f"visit: {int(unknown.sum())} rows have a discharge_type that is no known word; "
            f"how those stays ended counts as not recorded"
        )
    stays = []
    for kind, name, consequence in (
        ("hospital_stay", "hospital", "they are left out"),
        ("icu_stay", "icu", "they are kept, but their days are not used"),
    ):
        start, end = node[f"days_to_{name}_admission"], node[f"days_to_{name}_discharge"]
        no_start = start.isna() & end.notna()
        reversed_days = end < start
        for wrong, words in (
            (no_start, "have a discharge day but no admission day"),
            (reversed_days, "end before they start"),
        ):
            if wrong.any():
                notes.append(f"visit: {int(wrong.sum())} {name} stays {words}; {consequence}")
        unusable = no_start | reversed_days
        frame = pd.DataFrame({"case_id": case_id, "kind": kind, "source": "visit"})
        frame["start_day"], frame["end_day"] = start.mask(unusable), end.mask(unusable)
        if kind == "hospital_stay":
            frame["value"] = node["discharge_type"].mask(unknown)
            stays.append(frame[start.notna() & ~unusable])
            continue
        arrival = node["days_to_hospital_admission"]
        reaches = (frame["start_day"] < arrival) & frame["end_day"].isna()
        frame["end_day"] = frame["end_day"].mask(reaches, arrival)
        if reaches.any():
            notes.append(
                f"visit: {int(reaches.sum())} icu stays without a discharge day begin before the hospital admission "
                f"of their row; they are taken to last until it"
            )
        stays.append(frame[start.notna() | end.notna()])
    day = node["days_to_hospital_discharge"]
    undated = int((died & day.isna()).sum())
    if undated:
        notes.append(f"visit: {undated} deaths have no day; they are left out")
    deaths = pd.DataFrame({"case_id": case_id, "kind": "death", "start_day": day, "source": "visit"})
    return [*stays, deaths[died & day.notna()].drop_duplicates()]


def _case_of(node: pd.DataFrame, name: str, notes: list[str]) -> pd.Series:
    """The one case of each row; missing, and counted, where a row names none or several."""
    linked = [links or ids for links, ids in zip(node["cases.submitter_id"], node["case_ids"], strict=True)]
    count = pd.Series([len(set(ids)) for ids in linked], index=node.index)
    for wrong, words in ((count == 0, "name no case"), (count > 1, "name several cases")):
        if wrong.any():
            notes.append(f"{name}: {int(wrong.sum())} rows {words}; they are left out")
    return pd.Series([ids[0] if len(set(ids)) == 1 else None for ids in linked], index=node.index, dtype=object)


def _known_case_of(export: Export, name: str, notes: list[str]) -> pd.Series:
    """`_case_of` the node `name`; cases that are in no case row are counted too."""
    case_id = _case_of(export.nodes[name], name, notes)
    if "case" in export.nodes:
        strays = int((case_id.notna() & ~case_id.isin(export.nodes["case"]["submitter_id"])).sum())
        if strays:
            notes.append(f"{name}: {strays} rows name a case that is in no case row; they are not used")
    return case_id


def _first_batch(names: Iterable[str]) -> str | None:
    dates = [match.group(1) for name in names if (match := _BATCH_DATE.search(name))]
    return min(dates, default=None)

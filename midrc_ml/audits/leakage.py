"""Leakage by name: the same patient, study, series or image in more than one part, or under two patients."""

from collections.abc import Mapping, Sequence

import pandas as pd

from midrc_ml.audits.entry import AuditEntry, Status
from midrc_ml.cohorts.midrc_patients import without_prefix

# What is the same film when it is equal, in the order in which it is told.
SAME_IMAGE = {
    "sop_uid": "the same SOP instance UID",
    "content_hash": "the same file content",
    "pixels_hash": "the same pixels",
}


def patient_leakage(split: pd.DataFrame) -> AuditEntry:
    """`leakage.patient`: how many patients have studies in more than one part, by any id that they are known by.

    split: patient_id, part and, where there are, case_id and further_cases (all case ids of a patient who has several).
    """
    people = _ids(split)
    of_id = people.drop_duplicates(["id", "part"])["id"]
    leaking = people[people["id"].isin(of_id[of_id.duplicated()])]
    shared = int(leaking["patient_id"].nunique())
    patients = split["patient_id"].nunique()
    other_name = leaking["patient_id"].nunique() - _in_several_parts(split, "patient_id")
    also = f" ({other_name} of them only by another id that they are known by)" if other_name > 0 else ""
    return AuditEntry(
        check="leakage.patient",
        status="fail" if shared else "pass",
        value=float(shared),
        evidence=f"{shared} of {patients} patients have studies in more than one part{also}",
        what_to_do="split by patient; resolve patients who are known under several ids" if shared else "nothing",
    )


def study_leakage(split: pd.DataFrame) -> AuditEntry:
    """`leakage.study`: how many studies or series stand in more than one part, or under two patients.

    split: patient_id, study_id, part and, where there is, series_id.
    """
    told, total = [], 0
    for column, word in (("study_id", "studies"), ("series_id", "series")):
        if column not in split or split[column].isna().all():
            continue
        known = split[split[column].notna()]
        parts, patients = _in_several_parts(known, column), _in_several_parts(known, column, "patient_id")
        told.append(f"{parts} of {known[column].nunique()} {word} stand in more than one part, {patients} under two "
                    f"patients")  # fmt: skip
        total += max(parts, patients)
    return AuditEntry(
        check="leakage.study",
        status="fail" if total else "pass",
        value=float(total),
        evidence="; ".join(told) or "studies have no ids",
        what_to_do="give each study and series to one patient and one part" if total else "nothing",
    )


def same_images(rows: pd.DataFrame, identity: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images that are one and the same by an id or a hash: first, second (positions), how; each pair once.

    rows: patient_id and part. identity: `SAME_IMAGE`'s columns, aligned; an empty text is unknown. Of an image that is
    there many times, each is paired with the one before it.
    """
    found = []
    places = pd.Series(range(len(rows)))
    for column, words in SAME_IMAGE.items():
        values = identity[column].reset_index(drop=True)
        known = places[(values != "").to_numpy() & values.notna().to_numpy()]
        before = known.groupby(values[known]).shift()
        pairs = pd.DataFrame({"first": before.dropna().astype("int64"), "second": known[before.notna()], "how": words})
        found.append(pairs)
    every = pd.concat(found, ignore_index=True)
    return every.drop_duplicates(["first", "second"], ignore_index=True)


def image_leakage(pairs: pd.DataFrame, rows: pd.DataFrame, *, status: Status, num_images: int) -> AuditEntry:
    """`leakage.image`: pairs of the same image across parts. pairs: of `same_images`. status: where there are some."""
    across, within = pairs_across(pairs, rows), pairs_of_two_patients(pairs, rows)
    by_how = ", ".join(f"{count} by {how}" for how, count in across["how"].value_counts().items())
    also = f"; {len(within)} pairs of two patients in one part" if len(within) else ""
    found: Status = status if len(across) else "warn" if len(within) else "pass"
    return AuditEntry(
        check="leakage.image",
        status=found,
        value=float(len(across)),
        evidence=f"{len(across)} pairs of the same image across parts{f' ({by_how})' if by_how else ''}{also}, among "
        f"{num_images} images",
        what_to_do="nothing" if found == "pass" else DUPLICATES_REMEDY,
    )


DUPLICATES_REMEDY = (
    "look at the pairs in near_duplicates.png and near_duplicates.parquet of the run's folder; give one patient one "
    "id, or audit.duplicates=drop leaves them out of training"
)


def pairs_across(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Those of which the two are in different parts."""
    part = rows["part"].to_numpy()
    return pairs[part[pairs["first"].to_numpy()] != part[pairs["second"].to_numpy()]]


def pairs_of_two_patients(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Those of which the two are in one part, under two patients."""
    part, patient = rows["part"].to_numpy(), rows["patient_id"].to_numpy()
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    return pairs[(part[first] == part[second]) & (patient[first] != patient[second])]


def left_out_of_training(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Why a study is left out, aligned with `rows`: its film is also in a later part; missing where it stays.

    Of a pair in train and another part the one in train is left out, of one in validation and test that in validation.
    """
    reasons = pd.Series(None, index=rows.index, dtype=object)
    across, part = pairs_across(pairs, rows), rows["part"].to_numpy()
    later: Mapping[str, Sequence[str]] = {"train": ("validation", "test"), "validation": ("test",)}
    for one, other in (("first", "second"), ("second", "first")):
        for place, beside in zip(across[one], across[other], strict=True):
            if part[beside] in later.get(part[place], ()):
                reasons.iloc[place] = f"the same film as one of the {part[beside]} part"
    return reasons


def _ids(split: pd.DataFrame) -> pd.DataFrame:
    """patient_id, part and id: a row for each id that a patient is known by, in each part."""
    named = split[["patient_id", "part"]].assign(id=split["patient_id"])
    frames = [named]
    if "case_id" in split:
        frames.append(named.assign(id=split["case_id"]))
    if "further_cases" in split:
        further = named.assign(id=split["further_cases"])
        frames.append(further[split["further_cases"].notna()].explode("id"))
    people = pd.concat(frames, ignore_index=True).dropna(subset="id")
    return people.assign(id=without_prefix(people["id"].astype("str"))).drop_duplicates()


def _in_several_parts(rows: pd.DataFrame, key: str, of: str = "part") -> int:
    distinct = rows.drop_duplicates([key, of])[key]
    return int(distinct[distinct.duplicated()].nunique())

"""Published splits: a list of test ids, or a table that says who is in which part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from midrc_ml.errors import InputError, check_kinds
from midrc_ml.splits.dealing import check_rule, check_share, deal_the_others, deal_validation, refuse_cut_patients
from midrc_ml.splits.manifest import PARTS

ID_COLUMNS = {"study": "study_id", "case": "case_id", "patient": "patient_id"}
# What a listed id names. A patient belongs to one part, so that the id of a case names its patient.
NAMED_COLUMNS = {"study": "study_id", "case": "patient_id", "patient": "patient_id"}
PLURAL = {"study": "studies", "case": "cases", "patient": "patients"}
UNKNOWN = ("refuse", "ignore")
UNLISTED = ("refuse", "train", "leave_out")
LEAVE_OUT = "leave_out"
NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PublishedTest:
    """The test part is a published list of ids, one a line; the other patients are dealt as `ByPatient` does.

    id: whose ids the list holds: `study`, `case` or `patient`; a patient of several cases is in the test part as
    soon as one of them is listed, also one without a labelled study. unknown: an id that names no labelled study or
    patient is refused, or with `ignore` counted in the notes: the test part is then smaller than the published one.
    validation: share of the other patients that goes to the validation part.
    """

    test_ids: str | None
    id: str = "study"
    unknown: str = "refuse"
    validation: float = 0.15
    stratify: Sequence[str] = ("label",)
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_share("split.validation", self.validation)
        check_rule("split.id", self.id, tuple(ID_COLUMNS))
        check_rule("split.unknown", self.unknown, UNKNOWN)

    @property
    def query(self) -> Mapping[str, object]:
        """The settings; the list itself speaks through the rows of the manifest."""
        return {
            "split": "published_test",
            "seed": self.seed,
            "validation": self.validation,
            "stratify": list(self.stratify),
            **({} if self.id == "study" else {"id": self.id}),
            **({} if self.unknown == "refuse" else {"unknown": self.unknown}),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`.

        Raises:
            InputError: no such file, an id that no study has, or a patient of the test part elsewhere.
        """
        named = self._named(studies)
        if self.unknown == "refuse":
            _refuse_unknown(named, studies, self.id, where="split.test_ids")
        is_test = studies[NAMED_COLUMNS[self.id]].isin(named)
        if not is_test.any():
            raise InputError(
                f"split.test_ids lists {len(named)} {PLURAL[self.id]}, none of which is among the labelled ones"
            )
        part = is_test.map({True: "test", False: "elsewhere"})
        refuse_cut_patients(studies, part, where="split.test_ids", into="test and elsewhere")
        return studies.assign(
            part=deal_the_others(studies, is_test, validation=self.validation, stratify=self.stratify, seed=self.seed)
        )

    def notes(self, studies: pd.DataFrame) -> list[str]:
        """How many of the listed ids no study has, and how many studies are named by another id."""
        named = self._named(studies)
        return [
            *_note_unknown(named, studies, self.id, where="list of test ids"),
            *_note_other_case(named, studies, self.id, where="list of test ids"),
        ]

    def _named(self, studies: pd.DataFrame) -> pd.Series:
        if not self.test_ids or not Path(self.test_ids).is_file():
            raise InputError(
                f"split.test_ids is {self.test_ids!r}, which is not a file; "
                f"give the published list of test {self.id} ids"
            )
        try:
            lines = Path(self.test_ids).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"split.test_ids is {self.test_ids}, which is not a text; give one id a line") from error
        return _named_by({line.strip() for line in lines} - {""}, studies, self.id)


@dataclass(frozen=True, kw_only=True)
class PublishedParts:
    """Every part is read from a published table: CSV, TSV or Parquet, one row a study, case or patient.

    id: what the ids of `id_column` are: `study`, `case` or `patient`; a case that is not listed is in the part of
    its patient's other cases, also of one without a labelled study. parts: {value of `part_column`: train,
    validation, test or leave_out}. validation: where the table puts no study into validation, this share of its
    train patients is dealt into it, by `stratify` and `seed`.
    unknown: an id of the table that no labelled study has: `refuse`, or `ignore` and count it in the notes.
    unlisted: a study that the table does not name: `refuse`, `train`, `leave_out`.
    """

    file: str | None
    id_column: str = "study_id"
    part_column: str = "part"
    id: str = "study"
    parts: Mapping[str, str] = field(default_factory=lambda: {part: part for part in PARTS})
    unknown: str = "refuse"
    unlisted: str = "refuse"
    validation: float = 0.15
    stratify: Sequence[str] = ("label",)
    seed: int = 0
    sha256: str | None = None

    left_out: ClassVar[str] = "not in a part of the published split"

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_share("split.validation", self.validation)
        check_rule("split.id", self.id, tuple(ID_COLUMNS))
        check_rule("split.unknown", self.unknown, UNKNOWN)
        check_rule("split.unlisted", self.unlisted, UNLISTED)
        if not isinstance(self.parts, Mapping):
            raise InputError(f"split.parts is {self.parts!r}; it must map values of the file to parts: {{dev: train}}")
        for value, part in self.parts.items():
            check_rule(f"split.parts.{value}", part, (*PARTS, LEAVE_OUT))

    @property
    def query(self) -> Mapping[str, object]:
        """The settings; the table itself speaks through the rows of the manifest."""
        return {
            "split": "published_parts",
            "id": self.id,
            "parts": {str(value): part for value, part in self.parts.items()},
            "unknown": self.unknown,
            "unlisted": self.unlisted,
            "validation": self.validation,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, less those that are left out.

        Raises:
            InputError: no such table or column, a value that `parts` does not name, an id in two parts, an id
                that no study has, a study that is not listed, or a patient in two parts.
        """
        published = self._published(studies)
        named = _named_by(published.index, studies, self.id)
        part = self._listed_part(published, named, studies)
        if self.unknown == "refuse":
            _refuse_unknown(named, studies, self.id, where="split.file")
        if unlisted := int(part.isna().sum()):
            if self.unlisted == "refuse":
                raise InputError(
                    f"split.file does not list {unlisted} of the {len(studies)} labelled studies; choose "
                    f"split.unlisted=train or split.unlisted=leave_out"
                )
            part = part.fillna(self.unlisted)
        part = part.mask(part == LEAVE_OUT)
        refuse_cut_patients(studies, part, where="split.file", into="more than one part")
        studies, part = studies[part.notna()], part.dropna()
        if not part.eq("validation").any():
            part = deal_validation(studies, part, validation=self.validation, stratify=self.stratify, seed=self.seed)
        return studies.assign(part=part)

    def notes(self, studies: pd.DataFrame) -> list[str]:
        """How many ids of the table no study has, and how many studies it does not list, or by another id."""
        named = _named_by(self._published(studies).index, studies, self.id)
        unlisted = int((~studies[NAMED_COLUMNS[self.id]].isin(named)).sum())
        note = f"{unlisted} of {len(studies)} studies are not in the published split: split.unlisted is {self.unlisted}"
        return [
            *_note_unknown(named, studies, self.id, where="published split"),
            *([note] if unlisted else []),
            *_note_other_case(named, studies, self.id, where="published split"),
        ]

    def _listed_part(self, published: pd.Series, named: pd.Series, studies: pd.DataFrame) -> pd.Series:
        """The part, or `leave_out`, of each study; missing where the table does not list it."""
        part = studies[ID_COLUMNS[self.id]].map(published).astype("str")
        if self.id != "case":
            return part
        # Every case of a patient speaks, also one without a labelled study: it may be the one that is in test.
        cases = pd.DataFrame({"patient_id": named, "case_id": named.index, "part": published})
        cases["part"] = cases["part"].mask(cases["part"] == LEAVE_OUT)
        refuse_cut_patients(cases, cases["part"], where="split.file", into="more than one part")
        of_patient = cases.groupby("patient_id")["part"].first().fillna(LEAVE_OUT)
        return part.fillna(studies["patient_id"].map(of_patient).astype("str"))

    def _published(self, studies: pd.DataFrame) -> pd.Series:
        """The part, or `leave_out`, of each id of the table."""
        table = _read_table(self.file, [self.id_column, self.part_column])
        ids, values = table[self.id_column].str.strip(), table[self.part_column].str.strip()
        blank = int((ids == "").sum())
        if blank:
            raise InputError(f"split.file has {blank} rows without an id in {self.id_column!r}; each row needs one")
        if self.id == "patient":
            ids = _patients_of(ids, studies)
        parts = {str(value): part for value, part in self.parts.items()}
        unmapped = sorted(set(values) - set(parts))
        if unmapped:
            raise InputError(
                f"split.file has {', '.join(map(repr, unmapped[:NUM_SHOWN]))} in {self.part_column!r}, "
                f"which split.parts does not name (it names {', '.join(parts)}): give +split.parts.VALUE=PART"
            )
        pairs = pd.DataFrame({"id": ids, "part": values.map(parts)}).drop_duplicates()
        twice = pairs.loc[pairs["id"].duplicated(), "id"].nunique()
        if twice:
            raise InputError(f"split.file puts {twice} {PLURAL[self.id]} into more than one part; each belongs to one")
        return pairs.set_index("id")["part"]


def _read_table(file: str | None, columns: list[str]) -> pd.DataFrame:
    """The columns of a CSV, TSV or Parquet file, as text; blank is an empty text."""
    if not file or not Path(file).is_file():
        raise InputError(f"split.file is {file!r}, which is not a file; give the published split (CSV, TSV, Parquet)")
    suffix = Path(file).suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError(f"split.file is {file}; its name must end in .csv, .tsv or .parquet")
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(file)
        else:
            separator = "\t" if suffix == ".tsv" else ","
            table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise InputError(f"split.file is {file}, which is not a readable {suffix[1:].upper()}") from error
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise InputError(
            f"split.file has no column {', '.join(map(repr, absent))}; columns are "
            f"{', '.join(map(str, table.columns))}: set split.id_column and split.part_column"
        )
    return table[columns].astype("str").fillna("")


def _patients_of(ids: pd.Series, studies: pd.DataFrame) -> pd.Series:
    """`ids` with every further id of a patient (each case has one) replaced by the patient's own."""
    own = dict(zip(studies["case_id"], studies["patient_id"], strict=True))
    if "further_cases" in studies.columns:
        known = studies[["patient_id", "further_cases"]].dropna().drop_duplicates("patient_id")
        own |= {case: name for name, cases in known.itertuples(index=False) for case in cases}
    return ids.map(lambda name: own.get(name, name))


def _named_by(ids: Iterable[str], studies: pd.DataFrame, of: str) -> pd.Series:
    """{listed id: what it names}, a study or a patient; a list of patients names each once."""
    listed = pd.Series(sorted(ids), dtype="str")
    named = listed if of == "study" else _patients_of(listed, studies)
    named = named.astype("str").set_axis(listed)
    return named.drop_duplicates() if of == "patient" else named


def _num_unknown(named: pd.Series, studies: pd.DataFrame, of: str) -> int:
    return int((~named.isin(studies[NAMED_COLUMNS[of]])).sum())


def _refuse_unknown(named: pd.Series, studies: pd.DataFrame, of: str, *, where: str) -> None:
    if unknown := _num_unknown(named, studies, of):
        raise InputError(
            f"{where} lists {len(named)} {PLURAL[of]}, {unknown} of which are not among the "
            f"{studies[ID_COLUMNS[of]].nunique()} labelled ones; the published split must be complete: "
            f"split.unknown=ignore counts them and goes on"
        )


def _note_unknown(named: pd.Series, studies: pd.DataFrame, of: str, *, where: str) -> list[str]:
    count = _num_unknown(named, studies, of)
    return [f"{count} of {len(named)} {PLURAL[of]} of the {where} are not among the labelled ones"] if count else []


def _note_other_case(named: pd.Series, studies: pd.DataFrame, of: str, *, where: str) -> list[str]:
    if of != "case":
        return []
    count = int((studies["patient_id"].isin(named) & ~studies["case_id"].isin(named.index)).sum())
    note = f"{count} of {len(studies)} studies are of a case that the {where} does not name, and go with another of"
    return [f"{note} their patient's, which it names"] if count else []

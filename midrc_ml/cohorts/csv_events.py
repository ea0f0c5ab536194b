"""Which rows of one block of somebody's own table are events, when they were, and in which words they ended."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction, ContradictionRule
from midrc_ml.cohorts.csv_columns import BlockRows
from midrc_ml.cohorts.csv_description import HAPPENED
from midrc_ml.cohorts.csv_values import bad_rows, unknown_words
from midrc_ml.tables.schemas import TEST_RESULT

FILE, ROW = "file of the row", "row in its file"  # no column of ours has a space

# How a stay ended: alive, or in death by the words that labels on death look for.
STAY_ENDS = ("discharged", "alive", "deceased", "died", "expired", "dead", "death")
_WORDS: Mapping[str, Mapping[str, str]] = {
    "covid_test": {word.lower(): word for word in TEST_RESULT},
    "hospital_stay": {word: word for word in STAY_ENDS},
}
_TO_GIVE = {
    "covid_test": ", ".join(TEST_RESULT),
    "hospital_stay": "discharged, deceased, or '' where it does not say (`others: null` for all the rest)",
}
# Where there is none, labels take the patient for one who had none. Of the others each row says that something was.
_ABSENCE_TELLS = ("covid_test", "hospital_stay", "icu_stay", "ventilation", "death")
_DAYS = ("start_day", "end_day")


@dataclass(frozen=True, kw_only=True)
class EventRows:
    """Makes events of the rows of one block; problems, notes and contradictory cases are collected.

    frame (of each method): the columns of the events, `happened`, and the file and row that each came from.
    """

    rows: BlockRows
    rule: ContradictionRule
    problems: list[str]
    notes: list[str]
    found: list[Contradiction]

    def that_happened(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows that tell of an event, or, where its absence would tell, may do so."""
        sources = self.rows.block.sources
        if HAPPENED in sources:
            happened = frame[HAPPENED].astype("boolean")
            unknown, telling = happened.isna(), frame["kind"].isin(_ABSENCE_TELLS)
            self._note(happened.eq(False), "say that it did not happen: no {} is made of them")
            self._note(unknown & ~telling, "do not say whether it happened: no {} is made of them")
            self._note(
                unknown & telling,
                "do not say whether it happened: {} is kept without its day, so that a label on it is missing; where a "
                "blank cell means no, give `map: {{'': false}}` with `others: '{{}}'`",
            )
            return frame[happened.fillna(False).astype(bool) | (unknown & telling)]
        told = [name for name in ("start_day", "end_day", "name", "value") if name in sources]
        told = [name for name in told if sources[name].column is not None]
        if sources["kind"].value is None or not told:
            return frame
        # As it stands in their file: a day whose origin is missing has happened all the same.
        says_something = pd.concat([self.rows.told(name) for name in told], axis=1).any(axis=1).set_axis(frame.index)
        self._note(~says_something, f"are blank in {', '.join(told)}: no {{}} is made of them")
        return frame[says_something]

    def of_one_case(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame`, where no row that names both a case and a study names the study of another case."""
        sources = self.rows.block.sources
        if not {"case_id", "study_id"} <= set(sources):
            return frame
        of_study = self.rows.case_of_study().loc[frame[ROW]].set_axis(frame.index)
        wrong = frame["case_id"].notna() & of_study.notna() & (frame["case_id"] != of_study)
        if not wrong.any():
            return frame
        if self.rule == "refuse":
            lines = list(frame.loc[wrong, ROW])
            sentence = bad_rows(lines, "must be a study of the row's case", where=f"{self.rows.block.file}: study_id")
            self.problems.append(
                f"{sentence}; correct them, or leave both cases out with cohort.on_contradiction=leave_out"
            )
        else:  # nobody knows whose event it is, so that neither case may pass for one without it
            cases = frozenset(frame.loc[wrong, "case_id"]) | frozenset(of_study[wrong])
            self.found.append(Contradiction(int(wrong.sum()), "events name a study of another case", cases))
        return frame

    def with_known_days(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` without days of what may not have happened, and of what ends before it starts."""
        sure = frame[HAPPENED].notna() if HAPPENED in self.rows.block.sources else pd.Series(True, index=frame.index)
        for name in _DAYS:
            told = self.rows.told(name).loc[frame[ROW]].set_axis(frame.index)
            lost = int((told & frame[name].isna() & sure).sum())
            if lost:
                # Dropping them would make their patients negative.
                self.notes.append(
                    f"{self._title}: {lost} of {len(frame)} {self._kind} rows are kept without their {name}, as what "
                    f"it counts from is missing: it happened, but nobody knows when"
                )
        return self._forwards(frame.assign(**{name: frame[name].where(sure) for name in _DAYS}))

    def with_known_words(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with the results of COVID tests and the ends of stays in words that labels know."""
        values = frame["value"].astype(object)
        for kind, ours in _WORDS.items():
            of_kind = (frame["kind"] == kind) & frame["value"].notna()
            words = frame["value"].astype(object).str.lower().map(ours)
            unknown = of_kind & words.isna()
            if unknown.any():
                where = f"{self.rows.block.file}: value of {kind}"
                sentence = unknown_words(frame["value"].where(of_kind), unknown, where=where)
                self.problems.append(f"{sentence}; with a `map:` give each one of {_TO_GIVE[kind]}")
            values = values.mask(of_kind, words)
        return frame.assign(value=values)

    def _forwards(self, frame: pd.DataFrame) -> pd.DataFrame:
        backwards = frame["end_day"].astype("float64") < frame["start_day"].astype("float64")
        if not backwards.any():
            return frame
        lines = list(frame.loc[backwards, ROW])
        where = f"{self.rows.block.file}: {self._kind}"
        if self.rule == "refuse":
            self.problems.append(
                f"{bad_rows(lines, 'must not end before it starts', where=where)}; are `sign:`, `unit:` and `origin:` "
                f"of both days right? on_contradiction=leave_out takes their days out"
            )
            return frame
        # Without its days rather than not at all: a label must not take the patient for one who was never there.
        self.notes.append(f"{self._title}: {len(lines)} end before they start; they are kept, but not their days")
        return frame.assign(**{name: frame[name].mask(backwards) for name in _DAYS})

    def _note(self, these: pd.Series, words: str) -> None:
        if count := int(these.fillna(False).sum()):
            self.notes.append(f"{self._title}: {count} of {len(these)} rows {words.format(self._kind)}")

    @property
    def _title(self) -> str:
        return f"events from {self.rows.block.file}"

    @property
    def _kind(self) -> str:
        return self.rows.block.sources["kind"].value or "event"

"""The five tables from the blocks of somebody's own files: rows joined, taken once, and checked among themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction, ContradictionRule
from midrc_ml.cohorts.csv_columns import BlockRows
from midrc_ml.cohorts.csv_description import HAPPENED, INDEX_DATE, OF_SERIES
from midrc_ml.cohorts.csv_events import FILE, ROW, EventRows
from midrc_ml.cohorts.csv_values import bad_rows
from midrc_ml.tables.checks import NUM_SHOWN
from midrc_ml.tables.schemas import AGE_OVER_89, CASES, EVENTS, READINGS, SERIES, STUDIES, Table


@dataclass(kw_only=True)
class TableMaker:
    """Makes tables of blocks; problems and notes are collected.

    rule: for rows that contradict each other. found: the cases that do, where they are to be left out.
    """

    rule: ContradictionRule
    problems: list[str]
    notes: list[str]
    found: list[Contradiction] = field(default_factory=list)

    def cases(self, blocks: Sequence[BlockRows]) -> pd.DataFrame:
        """The cases, with their index date."""
        frames = []
        for rows in blocks:
            frame = self._frame(rows, CASES, INDEX_DATE)
            age, marked = frame["age"].astype("float64"), frame["age_over_89"].astype("boolean")
            from_age = (age >= AGE_OVER_89).astype("boolean").mask(age.isna())
            frame["age_over_89"] = marked.fillna(False) | from_age if "age" in rows.block.sources else marked
            frame["age"] = age.mask(marked.fillna(False).astype(bool), AGE_OVER_89)
            frames.append(frame)
        cases = self._once(frames, CASES, CASES.key, further=(INDEX_DATE,))
        # Of all rows of a case, and of all blocks, one may name its patient.
        nameless = int(cases["patient_id"].isna().sum())
        if nameless and any("patient_id" in rows.block.sources for rows in blocks):
            self.notes.append(f"cases: {nameless} name no patient; each is one of its own")
        cases["patient_id"] = cases["patient_id"].fillna(cases["case_id"])
        return cases

    def studies(self, blocks: Sequence[BlockRows]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The studies, and the series that stand in their rows."""
        studies, series = [], []
        for rows in blocks:
            frame = self._frame(rows, STUDIES)
            studies.append(frame)
            described = [name for name in OF_SERIES if name in rows.block.sources]
            if described:
                own = self._frame(rows, SERIES, check=False)
                own["description"] = None  # the study's own words are not the series'
                # A study of several modalities does not say which its one series has.
                own["modality"] = own["modality"].mask(own["modality"].str.contains(",", regex=False, na=False), None)
                series.append(own)
        return self._once(studies, STUDIES, STUDIES.key), self._series(series)

    def series(self, blocks: Sequence[BlockRows]) -> pd.DataFrame:
        """The series of blocks of their own."""
        return self._series([self._frame(rows, SERIES) for rows in blocks])

    def events(self, blocks: Sequence[BlockRows]) -> pd.DataFrame:
        """The events: of a block whose `kind` is the same for all rows, only where a row says something of one."""
        frames = []
        for rows in blocks:
            frame = self._frame(rows, EVENTS, HAPPENED, check=False)
            frame["case_id"] = rows.case_id().to_numpy()
            frame["source"] = frame["source"].fillna(rows.block.file)
            make = EventRows(rows=rows, rule=self.rule, problems=self.problems, notes=self.notes, found=self.found)
            frame = make.that_happened(frame)
            if "case_id" in rows.block.sources:
                self._required(frame, EVENTS, rows)
            elif unknown := int(frame["case_id"].isna().sum()):
                self.notes.append(
                    f"events from {rows.block.file}: {unknown} rows name a study that is in no row of the studies; "
                    f"they are left out"
                )
                frame = frame.dropna(subset="case_id")
            frame = make.with_known_words(make.with_known_days(make.of_one_case(frame)))
            frames.append(frame.explode("name"))
        columns = [column.name for column in EVENTS.columns]
        if not frames:
            return pd.DataFrame(columns=columns)
        together = pd.concat(frames, ignore_index=True)[columns]
        once = together[~together.astype("str").duplicated()].reset_index(drop=True)
        if len(once) < len(together):
            self.notes.append(f"events: {len(together) - len(once)} rows say no more than another and are taken once")
        return once

    def readings(self, blocks: Sequence[BlockRows]) -> pd.DataFrame:
        """The readings that say something."""
        frames = []
        for rows in blocks:
            frame = self._frame(rows, READINGS, check=False)
            if "reader" not in rows.block.sources:
                frame["reader"] = "reader"
            frame["source"] = frame["source"].fillna(rows.block.file)
            blank = frame["value"].isna() & frame["category"].isna()
            if blank.any():
                self.notes.append(
                    f"readings from {rows.block.file}: {int(blank.sum())} of {len(frame)} rows have no value: "
                    f"they are no readings"
                )
            frame = frame[~blank]
            self._required(frame, READINGS, rows)
            frames.append(frame)
        return self._once(frames, READINGS, READINGS.key)

    def _frame(self, rows: BlockRows, table: Table, *further: str, check: bool = True) -> pd.DataFrame:
        """The block's columns of `table`, with the file and row that each came from."""
        names = [*(column.name for column in table.columns), *further]
        frame = pd.DataFrame({name: rows.of(name) for name in names}, index=rows.frame.index)
        frame[FILE], frame[ROW] = rows.block.file, rows.frame.index
        if check:
            self._required(frame, table, rows)
        return frame.reset_index(drop=True)

    def _required(self, frame: pd.DataFrame, table: Table, rows: BlockRows) -> None:
        for column in table.columns:
            source = rows.block.sources.get(column.name)
            # A case without a patient is one of its own.
            if not column.required or source is None or column.name == "patient_id":
                continue
            if column.name in rows.with_unknown_words:  # they are blank by now
                continue
            empty = frame[column.name].isna()
            if empty.any():
                lines = list(frame.loc[empty, ROW])
                sentence = bad_rows(lines, "must not be empty", where=f"{rows.block.file}: {column.name}")
                by_others = source.has_others and source.others is None
                hint = "; rows that `others: null` empties are left out with `only:`" if by_others else ""
                self.problems.append(sentence + hint)

    def _series(self, frames: list[pd.DataFrame]) -> pd.DataFrame:
        """Series with an id each: its own, or that of its study, numbered where the study has several."""
        if not frames:
            return pd.DataFrame(columns=[column.name for column in SERIES.columns])
        together = pd.concat([frame.explode("file") for frame in frames], ignore_index=True)
        unnamed = together["series_id"].isna() & together["study_id"].notna()
        names = [column.name for column in SERIES.columns]
        nameless = together[unnamed].drop_duplicates(names)
        if repeated := int(unnamed.sum()) - len(nameless):
            self.notes.append(f"series: {repeated} rows stand in the files more than once and are taken once")
        # Numbered by what they say, so that the order of the rows makes no difference.
        nameless = nameless.sort_values(["study_id", "file", "view", "manufacturer", "modality"], kind="stable")
        by_study = nameless.groupby("study_id")["study_id"]
        number = (by_study.cumcount() + 1).astype("str")
        single = by_study.transform("size") == 1
        study_id = nameless["study_id"].astype(object)
        nameless = nameless.assign(series_id=study_id.where(single, study_id + "/" + number))
        return self._once([together[~unnamed], nameless], SERIES, SERIES.key)

    def _once(
        self, frames: Sequence[pd.DataFrame], table: Table, key: Sequence[str], *, further: Sequence[str] = ()
    ) -> pd.DataFrame:
        """The rows of all blocks, each key once. Rows of a key that differ in blank cells alone are one.

        Others contradict each other: they are refused, or left out altogether, as the rule says.
        """
        names = [*(column.name for column in table.columns), *further]
        if not frames:
            return pd.DataFrame(columns=names)
        together = pd.concat(frames, ignore_index=True)
        compared = [name for name in names if name != "source"]  # which file says it makes no difference
        once = together[~together[compared].astype("str").duplicated()].reset_index(drop=True)
        if len(once) < len(together):
            self.notes.append(
                f"{table.name}: {len(together) - len(once)} rows stand in the files more than once and are taken once"
            )
        keyed = once[once[list(key)].notna().any(axis=1)]
        shared = keyed[keyed.duplicated(list(key), keep=False)]
        if shared.empty:
            return once[names]
        ids = " + ".join(key)
        group = shared.groupby(list(key), dropna=False).ngroup()
        conflicts = {name: group.map(shared.groupby(group)[name].nunique() > 1) for name in compared if name not in key}
        differing = [name for name, conflict in conflicts.items() if conflict.any()]
        contradicts = pd.DataFrame(conflicts).any(axis=1)
        agreeing = shared[~contradicts]
        if len(agreeing):
            # One row is blank where the other says something: `first` takes what is not missing.
            filled = agreeing.groupby(group[~contradicts]).first()
            self.notes.append(
                f"{table.name}: {len(agreeing)} rows share their {ids} and differ in blank cells alone; they are taken "
                f"as {len(filled)}"
            )
            once = pd.concat([once.drop(agreeing.index), filled])
        if contradicts.any():
            rows = shared[contradicts]
            words = f"rows share their {ids} with another row but differ in {', '.join(differing)}"
            once = self._settled(once, rows, table, words)
        return once.drop_duplicates(list(key))[names].reset_index(drop=True)

    def _settled(self, once: pd.DataFrame, rows: pd.DataFrame, table: Table, words: str) -> pd.DataFrame:
        """`once` without the `rows` that contradict each other, or a problem, as the rule says.

        Cases stay for now: they go later, with everything of theirs.
        """
        if self.rule == "leave_out" and table is CASES:
            self.found.append(Contradiction(len(rows), words, frozenset(rows["case_id"])))
            return once
        words = f"{table.name}: {len(rows)} {words}"
        if self.rule == "leave_out":
            self.notes.append(f"{words}; they are left out")
            return once.drop(rows.index)
        places = [f"row {row} of {file}" for file, row in zip(rows[FILE], rows[ROW], strict=True)]
        shown = ", ".join(places[:NUM_SHOWN]) + (" ..." if len(places) > NUM_SHOWN else "")
        self.problems.append(
            f"{words} ({shown}); correct them, or leave such rows out with cohort.on_contradiction=leave_out"
        )
        return once

"""From the description of somebody's own tables to the five tables: files, conversions, links, images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction, ContradictionRule, settle_contradictions
from midrc_ml.cohorts.csv_columns import BlockRows, Known
from midrc_ml.cohorts.csv_dates import STAMP
from midrc_ml.cohorts.csv_description import INDEX_DATE, OF_SERIES, Block, Source, described_blocks
from midrc_ml.cohorts.csv_files import TextTable, read_text_file
from midrc_ml.cohorts.csv_images import find_images, shared_images
from midrc_ml.cohorts.csv_mistakes import near
from midrc_ml.cohorts.csv_tables import TableMaker
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.schemas import EVENT_KINDS

_ORDER = ("cases", "studies", "series", "events", "readings")
_FileKey = tuple[str, str | None, str]


def read_described(
    described: Mapping[str, Any],
    *,
    root: Path,
    images: Path,
    origin: str,
    synthetic: bool,
    on_contradiction: ContradictionRule,
) -> Tables:
    """The five tables that `described` describes, from files below `root` and images below `images`.

    Raises:
        InputError: the folder of the images is not there.
        TableError: first every mistake of the description, then every file and column that is not there, then every
            cell that cannot be read, then tables that do not belong together.
    """
    problems: list[str] = []
    blocks = described_blocks(described, problems)
    problems += _index_date_problems(blocks) + _study_problems(blocks)
    _stop_at(problems)
    reading = _Reading(root=root, blocks=blocks)
    tables = reading.tables(on_contradiction)
    if tables["series"]["file"].notna().any():
        if not images.is_dir():
            raise InputError(f"cohort.images is {str(images)!r}, which is not a folder; give the folder of the images")
        found = find_images(tables["series"]["file"], images)
        tables["series"]["file"] = found.files
        shared, strange = shared_images(tables["series"], tables["studies"], tables["cases"])
        tables["series"] = pd.concat([tables["series"], _of_no_study(found.unused, images)], ignore_index=True)
        reading.notes += [*found.notes, *shared]
        reading.found.append(strange)
    reading.count_studies_without_image(tables)
    checked = Tables.checked(
        origin=origin,
        synthetic=synthetic,
        absent=_absent(blocks, tables),
        notes=tuple(reading.notes),
        **{name: frame if len(frame) else None for name, frame in tables.items()},
    )
    return settle_contradictions(checked, rule=on_contradiction, found=reading.found)


@dataclass(kw_only=True)
class _Reading:
    """The blocks of all tables, read one after the other: a later table needs what an earlier one says."""

    root: Path
    blocks: Mapping[str, Sequence[Block]]
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    found: list[Contradiction] = field(default_factory=list)

    def tables(self, rule: ContradictionRule) -> dict[str, pd.DataFrame]:
        """The five tables, before their images are looked for."""
        files = self._files()
        _stop_at(self.problems)
        make = TableMaker(rule=rule, problems=self.problems, notes=self.notes, found=self.found)

        def rows(table: str, known: Known) -> list[BlockRows]:
            problems, notes = self.problems, self.notes
            return [
                BlockRows(block=block, table=files[_key(block)], known=known, problems=problems, notes=notes)
                for block in self.blocks[table]
            ]

        of_cases_rows = rows("cases", Known())
        index_date = _index_dates(of_cases_rows)
        for block in of_cases_rows:  # one block may hold the dates of birth, another the index dates
            block.known = Known(index_date=index_date)
        cases = make.cases(of_cases_rows)
        of_cases = Known(index_date=index_date)
        studies, in_studies = make.studies(rows("studies", of_cases))
        by_id = _by(studies, "study_id")
        known = Known(
            index_date=of_cases.index_date, study_day=by_id["day"].astype("float64"), case_of_study=by_id["case_id"]
        )
        series = pd.concat([in_studies, make.series(rows("series", known))], ignore_index=True)
        events, readings = make.events(rows("events", known)), make.readings(rows("readings", known))
        _stop_at(self.problems)
        if not self.blocks["cases"]:
            cases = self._cases_by_id(studies, events)
        self._check_links(cases, studies, series, events, readings)
        _with_modalities(studies, series, self.problems)
        _stop_at(self.problems)
        cases = cases.drop(columns=INDEX_DATE)
        return {"cases": cases, "studies": studies, "series": series, "events": events, "readings": readings}

    def count_studies_without_image(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Note how many studies have no image file, where images are described at all."""
        studies, series = tables["studies"], tables["series"]
        without = ~studies["study_id"].isin(series.loc[series["file"].notna(), "study_id"])
        if len(series) and without.any():
            self.notes.append(f"{int(without.sum())} of {len(studies)} studies have no image file")

    def _files(self) -> dict[_FileKey, TextTable]:
        """Every file once; files and columns that are not there are problems."""
        files: dict[_FileKey, TextTable] = {}
        every = [block for table in _ORDER for block in self.blocks[table]]
        for block in every:
            if _key(block) in files:
                continue
            try:
                table = read_text_file(self.root, block.file, delimiter=block.delimiter, encoding=block.encoding)
            except TableError as error:
                self.problems += [f"{block.where}: {problem}" for problem in error.problems]
                continue
            files[_key(block)] = table
            if table.num_empty:
                self.notes.append(f"{block.file}: {table.num_empty} empty rows are skipped")
        for block in every:
            if _key(block) in files:
                self.problems += _column_problems(block, files)
        return files

    def _cases_by_id(self, studies: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
        """One case for each that a study or an event names, where no file describes them."""
        named = [frame["case_id"] for frame in (studies, events) if len(frame)]
        ids = pd.concat(named, ignore_index=True).drop_duplicates() if named else pd.Series(dtype=object)
        self.notes.append(f"no cases are described: {len(ids)} are known by their ids alone")
        return pd.DataFrame({"case_id": ids, "patient_id": ids, INDEX_DATE: None})

    def _check_links(
        self,
        cases: pd.DataFrame,
        studies: pd.DataFrame,
        series: pd.DataFrame,
        events: pd.DataFrame,
        readings: pd.DataFrame,
    ) -> None:
        """Rows that name a case or study that is nowhere are counted; where all of one table do, it is refused."""
        links = [
            ("studies", studies, "case_id", "cases", cases),
            ("events", events, "case_id", "cases", cases),
            ("series", series, "study_id", "studies", studies),
            ("readings", readings, "study_id", "studies", studies),
        ]
        if len(readings):
            links.append(("readings", readings.dropna(subset="series_id"), "series_id", "series", series))
        for name, frame, key, other, target in links:
            if frame.empty:
                continue
            strays = ~frame[key].isin(target[key])
            if strays.all():
                files = ", ".join(dict.fromkeys(block.file for block in self.blocks[name] or self.blocks["studies"]))
                self.problems.append(
                    f"{name} from {files}: not one of {len(frame)} rows has a {key} of the {len(target)} {other}: "
                    f"{_likely_cause(frame[key], target[key])}"
                )
            elif strays.any():
                self.notes.append(
                    f"{name}: {int(strays.sum())} rows name a {key} that is in no row of the {other}; they are not used"
                )


def _key(block: Block) -> _FileKey:
    return block.file, block.delimiter, block.encoding


def _index_dates(blocks: Iterable[BlockRows]) -> pd.Series:
    """By case, the midnight at which its day 0 begins. A case with several is refused or left out elsewhere."""
    dated = [
        pd.DataFrame({"case_id": rows.of("case_id"), INDEX_DATE: rows.of(INDEX_DATE)})
        for rows in blocks
        if INDEX_DATE in rows.block.sources
    ]
    known = pd.concat(dated).dropna() if dated else pd.DataFrame({"case_id": [], INDEX_DATE: []})
    return _by(known, "case_id")[INDEX_DATE].astype(STAMP)


def _by(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    return frame.dropna(subset=key).drop_duplicates(key).set_index(key)


def _stop_at(problems: Sequence[str]) -> None:
    if problems:
        raise TableError(dict.fromkeys(problems))


def _index_date_problems(blocks: Mapping[str, Sequence[Block]]) -> list[str]:
    """Dates that count from the case's index date, where no case has one."""
    if any(INDEX_DATE in block.sources for block in blocks["cases"]):
        return []
    counted = [
        source
        for listed in blocks.values()
        for block in listed
        for source in _with_origins(block.sources.values())
        if source.origin == "case"
    ]
    return [
        f"{source.where}: a date, but counted from what? Give `origin:`, a column of dates in the same file, or the "
        f"day 0 of each case as cohort.cases.columns.{INDEX_DATE}"
        for source in counted
    ]


def _study_problems(blocks: Mapping[str, Sequence[Block]]) -> list[str]:
    """Blocks that name studies where none are described, and series that are described twice."""
    if not blocks["studies"]:
        of_studies = [block for listed in blocks.values() for block in listed if "study_id" in block.sources]
        return [
            f"{block.where}: its rows name studies, but none are described; describe them as cohort.studies"
            for block in of_studies
        ]
    if not blocks["series"]:
        return []
    return [
        f"{block.where}.columns: {', '.join(twice)} of a series, beside a table of series: say it there"
        for block in blocks["studies"]
        if (twice := [name for name in OF_SERIES if name in block.sources])
    ]


def _of_no_study(unused: Sequence[str], images: Path) -> pd.DataFrame:
    """A series for each image that no table names; its study is in no table either."""
    names = [f"file {Path(path).relative_to(images).as_posix()}" for path in unused]
    return pd.DataFrame({"series_id": names, "study_id": names, "file": list(unused)}, dtype=object)


def _with_origins(sources: Iterable[Source]) -> Iterable[Source]:
    for source in sources:
        yield source
        if isinstance(source.origin, Source):
            yield from _with_origins([source.origin])


def _column_problems(block: Block, files: Mapping[_FileKey, TextTable]) -> list[str]:
    """Columns that the block names and its file does not have, or has twice."""
    columns = files[_key(block)].columns
    problems = []
    absent = [name for name in block.their_columns if name not in columns]
    if absent:
        named = ", ".join(f"{name!r}{near(name, columns)}" for name in absent)
        homes = [key[0] for key, table in files.items() if key[0] != block.file and set(absent) <= set(table.columns)]
        hint = f"; {homes[0]} has {'it' if len(absent) == 1 else 'them'}" if homes else ""
        if not homes and len(absent) == len(block.their_columns):
            hint = "; is it another table?"
        problems.append(f"{block.where}: {block.file} has no column {named} (its columns: {', '.join(columns)}){hint}")
    if binary := [name for name in block.their_columns if name in files[_key(block)].undecodable]:
        named = ", ".join(map(repr, binary))
        problems.append(
            f"{block.where}: {block.file} holds bytes that are no {block.encoding} text in column {named}; write text "
            f"there, or give its `encoding:`"
        )
    repeated = [name for name in block.their_columns if columns.count(name) > 1]
    if repeated:
        problems.append(f"{block.where}: {block.file} has more than one column {', '.join(map(repr, repeated))}")
    return problems


def _likely_cause(ours: pd.Series, theirs: pd.Series) -> str:
    """Why two columns of ids have nothing in common, without showing one."""
    alike: dict[str, Callable[[pd.Series], pd.Series]] = {
        "they differ in upper and lower case": lambda ids: ids.str.lower(),
        "leading zeros were lost in one of the files": lambda ids: ids.str.lstrip("0"),
        "one of the files has them as decimal numbers (7.0)": lambda ids: ids.str.removesuffix(".0"),
        "they differ in punctuation or spaces": lambda ids: ids.str.replace(r"[\W_]", "", regex=True),
    }
    for words, plain in alike.items():
        if plain(ours.dropna().astype("str")).isin(plain(theirs.dropna().astype("str"))).any():
            return words
    return "do both columns hold the same kind of id?"


def _with_modalities(studies: pd.DataFrame, series: pd.DataFrame, problems: list[str]) -> None:
    """Fill in, in place, the modalities of studies from their series, and of series from a study that has one."""
    if series.empty:
        return
    of_study = studies.dropna(subset="modality").set_index("study_id")["modality"]
    single = of_study[~of_study.astype("str").str.contains(",", regex=False)]
    series["modality"] = series["modality"].fillna(series["study_id"].map(single))
    if series["modality"].isna().all():
        problems.append(
            "no series has a modality, by which images are chosen; give cohort.studies.columns.modality, a column or "
            "{value: DX} (CR, DX, CT ... as in DICOM)"
        )
    once = series[["study_id", "modality"]].dropna().drop_duplicates().sort_values("modality")
    several = once["study_id"].duplicated(keep=False)
    joined = once.set_index("study_id")["modality"].astype(object)
    if several.any():
        joined = pd.concat([joined[~several.to_numpy()], once[several].groupby("study_id")["modality"].agg(",".join)])
    studies["modality"] = studies["modality"].fillna(studies["study_id"].map(joined))


def _absent(blocks: Mapping[str, Sequence[Block]], tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """What the description has no place for, and where it would be described."""
    absent = {}
    if not blocks["studies"]:
        absent["studies"] = "no `studies:` in the cohort's YAML"
    if tables["series"].empty:
        absent["series"] = "neither `series:` nor a `file` under studies in the cohort's YAML"
    if not blocks["readings"]:
        absent["readings"] = "no `readings:` in the cohort's YAML"
    kinds = [block.sources["kind"] for block in blocks["events"]]
    given = {source.value for source in kinds} | {ours for source in kinds for _, ours in source.map or ()}
    if len(tables["events"]):
        given |= set(tables["events"]["kind"])
    for kind in EVENT_KINDS:
        if kind not in given:
            absent[kind] = f"no block of `events:` in the cohort's YAML has `kind: {kind}`"
    return absent

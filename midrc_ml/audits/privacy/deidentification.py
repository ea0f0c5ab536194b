"""DICOM headers against the Basic Application Level Confidentiality Profile (PS3.15 Annex E): counts, never values.

fail: what names a person or leads to one, or pixels that are marked as holding such text. warn: what only an option of
the profile allows, where the file does not say that the option was used; private attributes; pixels of a kind that
often shows names; and values that may be real where the file does not say that the identity was removed. UIDs are not
judged: whether one was replaced cannot be seen in one file.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydicom.dataset import Dataset

from midrc_ml.audits.entry import AuditEntry, not_applicable
from midrc_ml.audits.privacy.basic_profile import (
    CHARACTERISTICS,
    CLEAN_PIXELS,
    DATES,
    EDITION,
    OPTION_CODES,
    SAFE_PRIVATE,
    UIDS,
    Attribute,
    age_years,
    attribute_of,
    basic_profile,
    is_dummy,
    is_real_date,
    is_safe_private,
    name_form,
)
from midrc_ml.audits.privacy.header_reading import elements, first_header, is_filled, representation, text_of

CHECK = "privacy.headers"
Level = Literal["fail", "warn", "kept"]
_WORST: tuple[Level, ...] = ("fail", "warn", "kept")
_NAMED = 8  # attributes in the evidence
_OVER_89 = 89
# PS3.3 C.8.6.1.1 (ConversionType); PS3.4 B.5 (SOP classes of secondary capture).
_CONVERTED = frozenset({"DF", "SD", "SI", "DV", "DRW"})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RISKY_MODALITIES = frozenset({"US", "XA", "RF", "XC", "ES", "OT", "DOC"})

REMOVED, METHOD = "PatientIdentityRemoved = YES", "a DeidentificationMethod"
BURNED_IN, BURN_RISK = "BurnedInAnnotation", "text in the pixels, by kind of image"
FACES, OLD_AGE, PRIVATE = "RecognizableVisualFeatures", "PatientAge over 89", "private attributes"


@dataclass(frozen=True, kw_only=True)
class HeaderFindings:
    """What the headers hold, as counts of files.

    given, read, not_dicom, unreadable: files; of a ZIP or folder the first DICOM member is read. attributes: rows
    {attribute, tag, action, option, judged, files}, the worst first. failed, warned: files by their worst finding.
    private_files, private_creators, private_groups: files with private attributes, how many wrote them, and where.
    dates: files with a date that may be real, by what LongitudinalTemporalInformationModified says of it. said: files
    by what they say was done to them.
    """

    given: int
    read: int
    not_dicom: int
    unreadable: int
    failed: int = 0
    warned: int = 0
    attributes: Sequence[Mapping[str, Any]] = ()
    private_files: int = 0
    private_creators: int = 0
    private_groups: Sequence[str] = ()
    dates: Mapping[str, int] = field(default_factory=dict)
    said: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _File:
    """One header: the worst that was seen of each attribute; what it says of dates; private creators and groups."""

    levels: dict[tuple[str, str, str, str], Level] = field(default_factory=dict)
    has_real_date: bool = False
    creators: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    one_word_name: int | None = None  # a hash, to tell whether all files have the same
    said: tuple[str, ...] = ()
    dates: str = ""

    def see(self, level: Level, keyword: str, tag: str = "", action: str = "", option: str = "") -> None:
        row = (keyword, tag, action, option)
        self.levels[row] = min(level, self.levels.get(row, "kept"), key=_WORST.index)

    @property
    def worst(self) -> Level:
        return min(self.levels.values(), key=_WORST.index, default="kept")


def header_findings(files: Sequence[str], *, most: int | None = None) -> HeaderFindings:
    """Read the header of each distinct file; no pixel is decoded. most: read so many of them, spread evenly.

    Each of `files` is a file, ZIP, folder or pattern as `images.files.members` takes it.
    """
    distinct = list(dict.fromkeys(files))
    taken = distinct
    if most is not None and len(distinct) > most:
        taken = [distinct[position * len(distinct) // most] for position in range(most)]
    tally = _Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        for path in taken:
            try:
                header = first_header(path)
                if header is None:
                    tally.counts["not_dicom"] += 1
                else:
                    tally.add(_of_header(header))
            except Exception:  # damaged bytes raise nearly anything
                tally.counts["unreadable"] += 1
    return tally.findings(len(distinct))


def headers_entry(findings: HeaderFindings) -> AuditEntry:
    """`privacy.headers`: how many files have a finding of the worst kind that any file has."""
    if not findings.read:
        return not_applicable(
            CHECK,
            f"none of {findings.given} image files is DICOM ({findings.not_dicom} of other formats, "
            f"{findings.unreadable} cannot be read): there are no headers",
        )
    status: Literal["fail", "warn", "pass"] = "fail" if findings.failed else "warn" if findings.warned else "pass"
    counted = findings.failed or findings.warned
    return AuditEntry(
        check=CHECK,
        status=status,
        value=float(counted),
        evidence=". ".join(_evidence(findings, status)),
        what_to_do={
            "fail": "do not share these images, nor pictures of them, before what names a person is taken out; tell "
            "whoever gave them (PS3.15 Annex E says what each attribute should hold)",
            "warn": "check what is listed: ask whoever de-identified the images which options of PS3.15 they used, and "
            "look at some of the images that may have text in them",
            "pass": "nothing",
        }[status],
        details=findings.attributes,
    )


def _evidence(findings: HeaderFindings, status: str) -> Iterator[str]:
    read = findings.read
    what = {
        "fail": "with what names a person or leads to one",
        "warn": "with what only an option of the profile allows, or what may be left over",
        "pass": "with more than the profile leaves or allows",
    }[status]
    yield (
        f"{findings.failed or findings.warned or 'none'} of {read} headers {what} "
        f"(basic profile of PS3.15 Annex E, edition {EDITION})"
    )
    for level in _WORST[:2]:
        rows = [row for row in findings.attributes if row["judged"] == level and row["attribute"] != PRIVATE]
        named = ", ".join(f"{row['attribute']} in {row['files']} of {read} files" for row in rows[:_NAMED])
        if rows:
            more = f", and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
            yield f"{level}: {named}{more}"
    if findings.private_groups:
        groups = ", ".join(findings.private_groups[:_NAMED])
        yield (
            f"private attributes in {findings.private_files} of {read} files, of {findings.private_creators} creators, "
            f"groups {groups}{' ...' if len(findings.private_groups) > _NAMED else ''}"
        )
    if findings.dates:
        yield "dates that may be real: " + ", ".join(f"{n} {how}" for how, n in findings.dates.items())
    yield ", ".join(f"{n} of {read} say {what}" for what, n in findings.said.items())
    left = findings.given - findings.read - findings.not_dicom - findings.unreadable
    counts = (
        (findings.not_dicom, "are not DICOM"),
        (findings.unreadable, "cannot be read"),
        (left, "were not looked at"),
    )
    if told := [f"{n} files {how}" for n, how in counts if n]:
        yield ", ".join(told)
    yield "UIDs are not judged: one file does not show whether they were replaced"


@dataclass
class _Tally:
    """What was counted so far; of a file no more is kept than this, as there may be a million."""

    rows: Counter[tuple[str, ...]] = field(default_factory=Counter)  # (level, attribute, tag, action, option)
    worst: Counter[Level] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    dates: Counter[str] = field(default_factory=Counter)
    creators: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    one_word: set[int] = field(default_factory=set)
    of_one_word: Counter[tuple[bool, Level]] = field(default_factory=Counter)  # (whether removed, worst of the file)

    def add(self, file: _File) -> None:
        self.counts["read"] += 1
        self.rows.update((level, *row) for row, level in file.levels.items())
        self.said.update(file.said)
        self.dates.update([file.dates] * file.has_real_date)
        self.creators |= file.creators
        self.groups |= file.groups
        self.counts["private"] += bool(file.groups)
        if file.one_word_name is None:
            self.worst[file.worst] += 1
        else:
            self.one_word.add(file.one_word_name)
            self.of_one_word[REMOVED in file.said, file.worst] += 1

    def judge_one_word(self) -> None:
        """One word that all files share stands for no name; several, in files that say nothing, may be family names."""
        name = basic_profile()["00100010"]
        several = len(self.one_word) > 1
        for (removed, worst), n in self.of_one_word.items():
            level: Level = ("warn" if removed else "fail") if several else ("kept" if removed else "warn")
            self.rows[level, name.keyword, name.printed_tag, name.action, name.option] += n
            self.worst[min(level, worst, key=_WORST.index)] += n

    def findings(self, given: int) -> HeaderFindings:
        self.judge_one_word()
        rows: list[dict[str, Any]] = [
            dict(zip(("judged", "attribute", "tag", "action", "option"), row, strict=True)) | {"files": n}
            for row, n in self.rows.items()
        ]
        rows.sort(key=lambda row: (_WORST.index(row["judged"]), -row["files"], row["tag"]))
        return HeaderFindings(
            given=given,
            read=self.counts["read"],
            not_dicom=self.counts["not_dicom"],
            unreadable=self.counts["unreadable"],
            failed=self.worst["fail"],
            warned=self.worst["warn"],
            attributes=rows,
            private_files=self.counts["private"],
            private_creators=len(self.creators),
            private_groups=sorted(self.groups),
            dates=dict(self.dates.most_common()),
            said={what: self.said[what] for what in (REMOVED, METHOD)},
        )


def _of_header(header: Dataset) -> _File:
    file = _File()
    options = {
        OPTION_CODES.get(text_of(item, "CodeValue")) for item in header.get("DeidentificationMethodCodeSequence") or ()
    }
    removed = text_of(header, "PatientIdentityRemoved") == "YES"
    method = bool(text_of(header, "DeidentificationMethod") or options)
    file.said = (REMOVED,) * removed + (METHOD,) * method
    modified = text_of(header, "LongitudinalTemporalInformationModified")
    file.dates = {
        "MODIFIED": "marked as modified",
        "REMOVED": "although marked as removed",
        "UNMODIFIED": "marked as not modified",
    }.get(modified, "with no word on it")
    allowed = (options - {None}) | ({DATES} if modified == "MODIFIED" else set())
    for place, tag in elements(header):
        if tag >> 16 & 1:
            _judge_private(file, place, tag, SAFE_PRIVATE in allowed)
        elif (attribute := attribute_of(tag)) is not None and is_filled(place, tag):
            level = _level(file, attribute, place, tag, removed=removed, is_allowed=attribute.option in allowed)
            if level is not None:
                file.see(level, attribute.keyword, attribute.printed_tag, attribute.action, attribute.option)
    _judge_pixels(file, header, CLEAN_PIXELS in allowed)
    return file


def _level(
    file: _File, attribute: Attribute, place: Dataset, tag: int, *, removed: bool, is_allowed: bool
) -> Level | None:
    """How bad it is that an attribute is filled; None = nothing to say, as of a dummy value."""
    if attribute.action == "U" or attribute.option == UIDS:
        return None
    kind, text = representation(place, tag), text_of(place, tag)
    if attribute.keyword == "PatientBirthDate":
        return "fail" if is_real_date(text) else None
    if kind in ("LO", "SH", "PN", "LT", "ST", "UT", "UC") and is_dummy(text):
        return None
    if attribute.direct:
        return "fail"
    if kind == "PN" or attribute.keyword == "PatientID":
        form = name_form(text)
        if form == "person":
            return "fail"
        if attribute.keyword == "PatientName" and form == "word":
            file.one_word_name = hash(text)
            return None
    elif attribute.option == DATES:
        is_real = kind in ("DA", "DT") and is_real_date(text)
        file.has_real_date |= is_real
        return "warn" if is_real and not is_allowed else "kept"
    elif attribute.option == CHARACTERISTICS:
        if attribute.keyword == "PatientAge" and (age_years(text) or 0) > _OVER_89:
            file.see("warn", OLD_AGE, attribute.printed_tag, attribute.action)
        return "kept"
    if attribute.option:
        return "kept" if is_allowed else "warn"
    return "kept" if attribute.may_be_dummy and removed else "warn"


def _judge_private(file: _File, place: Dataset, tag: int, is_allowed: bool) -> None:
    """Private attributes by group, PS3.5 7.8.1: elements 0010-00FF say whose the others are."""
    group, element = tag >> 16, tag & 0xFFFF
    if element <= 0xFF or not is_filled(place, tag):
        return
    creator = text_of(place, group << 16 | element >> 8)
    if is_safe_private(tag, creator):
        return
    file.creators.add(creator)
    file.groups.add(f"{group:04X}")
    file.see("kept" if is_allowed else "warn", PRIVATE, f"({group:04X},xxxx)", "X", SAFE_PRIVATE)


def _judge_pixels(file: _File, header: Dataset, is_clean: bool) -> None:
    """By tags alone: whether names may stand in the pixels, or a face be seen."""
    burned_in = text_of(header, "BurnedInAnnotation")
    if burned_in == "YES":
        file.see("fail", BURNED_IN, "(0028,0301)", option=CLEAN_PIXELS)
    elif burned_in != "NO" and not is_clean:
        is_risky = (
            text_of(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE)
            or "SECONDARY" in text_of(header, "ImageType").split("\\")
            or text_of(header, "ConversionType") in _CONVERTED
            or text_of(header, "Modality") in _RISKY_MODALITIES
        )
        if is_risky:
            file.see("warn", BURN_RISK, option=CLEAN_PIXELS)
    if text_of(header, "RecognizableVisualFeatures") == "YES":
        file.see("warn", FACES, "(0028,0302)", option="clean recognizable visual features")

"""What the Basic Application Level Confidentiality Profile says of each attribute: PS3.15 Annex E, Table E.1-1.

`ps3_15_basic_profile.csv` is that table, of edition 2026c: tag, keyword and the basic profile's action, which is X
(remove), Z (empty, or a dummy value), D (a dummy value), U (another UID), or a choice of them that depends on the
attribute's type. Two columns are ours: `option`, by which of the profile's options (E.3) a value may be kept, and
`direct`, for what names or leads to a person and which no option keeps. A handful of its keywords are younger than
pydicom's dictionary.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

EDITION = "2026c"
TABLE_FILE = Path(__file__).with_name("ps3_15_basic_profile.csv")

UIDS = "retain UIDs"
DATES = "retain longitudinal temporal information"
CHARACTERISTICS = "retain patient characteristics"
SAFE_PRIVATE = "retain safe private"
CLEAN_PIXELS = "clean pixel data"
# PS3.16 CID 7050: how DeidentificationMethodCodeSequence names the options that were used.
OPTION_CODES: Mapping[str, str] = {
    "113101": CLEAN_PIXELS,
    "113103": "clean graphics",
    "113104": "clean structured content",
    "113105": "clean descriptors",
    "113106": DATES,
    "113107": DATES,
    "113108": CHARACTERISTICS,
    "113109": "retain device identity",
    "113110": UIDS,
    "113111": SAFE_PRIVATE,
    "113112": "retain institution identity",
}
# {creator: (group, last two digits of the elements)}: some of PS3.15 Table E.3.10-1, which are physics and no identity,
# and the block in which the RSNA's Clinical Trial Processor writes the collection.
_SAFE_PRIVATE: Mapping[str, tuple[int, frozenset[int]]] = {
    "CTP": (0x0013, frozenset({0x10, 0x11, 0x12, 0x13})),
    "GEMS_PARM_01": (0x0043, frozenset({0x39})),
    "Philips Imaging DD 001": (0x2001, frozenset({0x03, 0x04})),
    "Philips MR Imaging DD 001": (0x2005, frozenset({0xB0, 0xB1, 0xB2})),
    "Philips PET Private Group": (0x7053, frozenset({0x00, 0x09})),
    "SIEMENS MR HEADER": (0x0019, frozenset({0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x27, 0x28})),
}

# Written in place of a name or an id by those who took it out.
_DUMMY = re.compile(
    r"(ANON\w*|DE.?IDENTIFIED|DUMMY|FULL.?NAME|N/?A|NONE|NULL|NO.?NAME|PATIENT|PHANTOM|PSEUDO\w*|REDACTED|REMOVED|"
    r"SUBJECT|SYNTHETIC|TEST|UNKNOWN|X+)",
    re.IGNORECASE,
)
_DATE = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")  # with dots as in ACR-NEMA
_LAST_DUMMY_YEAR = 1900  # 19000101 is what is written where a date has to be
_WORDS = re.compile(r"[^\W_]+")

NameForm = Literal["none", "dummy", "token", "word", "person"]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A row of the table. tag: as eight digits, of which `x` stands for any."""

    tag: str
    keyword: str
    action: str
    option: str
    direct: bool

    @property
    def printed_tag(self) -> str:
        """The tag as the standard prints it."""
        return f"({self.tag[:4].upper()},{self.tag[4:].upper()})".replace("X", "x")

    @property
    def may_be_dummy(self) -> bool:
        """Whether the profile lets another value stand in the place of the real one."""
        return "Z" in self.action or "D" in self.action


@lru_cache(maxsize=1)
def basic_profile() -> Mapping[str, Attribute]:
    """The attributes of the table by tag; private ones, which it treats as one row, are not among them."""
    with TABLE_FILE.open(encoding="utf-8", newline="") as file:
        rows = [
            Attribute(**{**row, "direct": row["direct"] == "direct"})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]
    return {row.tag: row for row in rows}


@lru_cache(maxsize=10_000)
def attribute_of(tag: int) -> Attribute | None:
    """What the table says of a tag, also of the repeating groups 50xx and 60xx; None = nothing."""
    table, text = basic_profile(), f"{tag:08x}"
    if (tag >> 16) % 2:
        return None
    if text.startswith("50"):
        return table["50xxxxxx"]
    return table.get(text) or (table.get(f"60xx{text[4:]}") if text.startswith("60") else None)


def is_safe_private(tag: int, creator: str) -> bool:
    """Whether a private attribute is on the short list of those that say nothing of a person."""
    group, elements = _SAFE_PRIVATE.get(creator.strip(), (0, frozenset()))
    return tag >> 16 == group and tag & 0xFF in elements


def name_form(text: str) -> NameForm:
    """What a name looks like, as nothing but its form can be judged.

    none: without letter and digit. dummy: of words such as ANONYMOUS. token: one with a digit, as pseudonyms have.
    word: one word of letters. person: several parts with letters, as in `Family^Given` or `Given Family`.
    """
    words = _WORDS.findall(text)
    if not words:
        return "none"
    if all(_DUMMY.fullmatch(word) for word in words) or _DUMMY.fullmatch(text.strip(" ^=")):
        return "dummy"
    # PS3.5 6.2.1.2: components of a name are parted by carets.
    if sum(any(letter.isalpha() for letter in part) for part in re.split(r"[\^,]", text)) > 1:
        return "person"
    if any(letter.isdigit() for letter in text):
        return "token"
    return "person" if len(words) > 1 else "word"


def is_dummy(text: str) -> bool:
    """Whether a value says that something was taken out, or nothing at all."""
    return name_form(text) in ("none", "dummy")


def is_real_date(text: str) -> bool:
    """Whether one of the values of a DA or DT is a day on which something can have been."""
    return any(_is_real_day(value) for value in text.split("\\"))


def _is_real_day(text: str) -> bool:
    found = _DATE.match(text.strip())
    if found is None or int(found[1]) <= _LAST_DUMMY_YEAR:
        return False
    try:
        return date(*(int(part) for part in found.groups())) <= date.today()
    except ValueError:
        return False


def age_years(text: str) -> float | None:
    """The years of an AS value; None where it has another form."""
    found = re.fullmatch(r"(\d{1,3})Y?", text.strip())
    return float(found[1]) if found else None

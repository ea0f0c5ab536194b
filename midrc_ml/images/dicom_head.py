"""A few elements from the start of a DICOM file, without pydicom's cost for those that nobody asked for.

Only what leaves no doubt is read here: little endian, elements in order, plain text. Everything else raises
`OddError`, and is pydicom's to read.
"""

from struct import Struct
from struct import error as struct_error

# Keyword of PS3.6: (tag, its value representation); in the order of the file.
ELEMENTS = {
    "SOPClassUID": (0x00080016, b"UI"),
    "SOPInstanceUID": (0x00080018, b"UI"),
    "Modality": (0x00080060, b"CS"),
    "Manufacturer": (0x00080070, b"LO"),
    "StudyDescription": (0x00081030, b"LO"),
    "SeriesDescription": (0x0008103E, b"LO"),
    "ManufacturerModelName": (0x00081090, b"LO"),
    "PatientID": (0x00100020, b"LO"),
    "BodyPartExamined": (0x00180015, b"CS"),
    "ViewPosition": (0x00185101, b"CS"),
    "StudyInstanceUID": (0x0020000D, b"UI"),
    "SeriesInstanceUID": (0x0020000E, b"UI"),
    "InstanceNumber": (0x00200013, b"IS"),
    "Rows": (0x00280010, b"US"),
    "Columns": (0x00280011, b"US"),
}
_WANTED = dict(ELEMENTS.values())
_LAST = max(_WANTED)
# Every image has these.
_ALWAYS = {ELEMENTS[name][0] for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")}
_SYNTAX = 0x00020010
_DATA_START = 132  # behind the preamble and `DICM`, PS3.10 7.1
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
IMPLICIT = "1.2.840.10008.1.2"
# Big endian, and those whose data set is deflated.
_NOT_HERE = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
# PS3.5 table 7.1-1: a length of 2 bytes, or 2 reserved ones and a length of 4.
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_explicit = Struct("<HH2sH").unpack_from
_implicit = Struct("<HHL").unpack_from
_length = Struct("<L").unpack_from
_number = Struct("<H").unpack_from


class OddError(Exception):
    """Not to be read here: left to pydicom."""


class CutError(Exception):
    """The start of the file that was given ends within the header: give more of it."""


def read_head(head: bytes, *, complete: bool) -> tuple[str, dict[str, str | float]]:
    """The transfer syntax, and the values of `ELEMENTS` that are there and not empty, by keyword.

    head: the start of a file with a preamble; complete: whether it is the whole file. Texts are stripped, those of
    several values joined by a backslash as in the file.

    Raises:
        CutError: more of the file is needed.
        OddError: it has to be left to pydicom.
    """
    try:
        syntax, found, end = raw_elements(head, _LAST, _WANTED)
    except struct_error as error:
        # Fewer bytes left than an element's header takes.
        raise (OddError if complete else CutError) from error
    if end > len(head) or (end == len(head) and not complete):
        raise OddError if complete else CutError
    if not found.keys() >= _ALWAYS:
        raise OddError  # no image, or elements that are out of order
    values: dict[str, str | float] = {}
    for keyword, (tag, representation) in ELEMENTS.items():
        if raw := found.get(tag):
            values[keyword] = _rows_or_columns(raw) if representation == b"US" else _text(raw)
    return syntax, {keyword: value for keyword, value in values.items() if value != ""}


def raw_elements(head: bytes, last: int, wanted: dict[int, bytes]) -> tuple[str, dict[int, bytes], int]:
    """The transfer syntax, the values of `wanted` as they are in the file, and where the first element after `last` is.

    Raises:
        OddError: it has to be left to pydicom.
        struct.error: `head` ends within an element.
    """
    meta, start = _elements(head, _DATA_START, 0x0002FFFF, implicit=False, wanted={_SYNTAX: b"UI"})
    syntax = _text(meta.get(_SYNTAX, b""))
    if not syntax.startswith("1.2.840.10008.1.2") or syntax in _NOT_HERE:
        raise OddError
    implicit = syntax == IMPLICIT
    if implicit and head[start + 4 : start + 6].isalpha():
        raise OddError  # explicit against what the syntax says
    found, end = _elements(head, start, last, implicit=implicit, wanted=wanted)
    return syntax, found, end


def joined(text: str) -> str:
    """A text without the padding of its values."""
    return "\\".join(value.strip("\0 \t\r\n") for value in text.split("\\"))


def _elements(
    head: bytes, position: int, last: int, *, implicit: bool, wanted: dict[int, bytes]
) -> tuple[dict[int, bytes], int]:
    """The raw values of `wanted` up to the tag `last`, and the position of the first element after it."""
    found: dict[int, bytes] = {}
    before = -1
    while position < len(head):
        if implicit:
            group, element, length = _implicit(head, position)
            representation = b""
        else:
            group, element, representation, length = _explicit(head, position)
        tag = group << 16 | element
        if tag > last:
            break
        if tag <= before:
            raise OddError
        before = tag
        position += 8
        if representation in _LONG:
            (length,) = _length(head, position)
            position += 4
        elif not implicit and representation not in _SHORT:
            raise OddError
        if tag in wanted:
            if length == _UNDEFINED or (not implicit and representation != wanted[tag]):
                raise OddError
            found[tag] = head[position : position + length]
        if length == _UNDEFINED and (implicit or representation in _LONG):
            if representation == b"UN":
                raise OddError  # its items are implicit, PS3.5 6.2.2
            position = _after_items(head, position, implicit=implicit)
        else:
            position += length
    return found, position


def _after_items(head: bytes, position: int, *, implicit: bool) -> int:
    """The position behind a value of undefined length, a sequence or fragments of an icon: PS3.5 7.5.2."""
    while True:
        group, element, length = _implicit(head, position)
        position += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise OddError
        if length != _UNDEFINED:
            position += length
            continue
        _, position = _elements(head, position, _ITEM_END - 1, implicit=implicit, wanted={})
        if _implicit(head, position) != (_ITEM_END >> 16, _ITEM_END & 0xFFFF, 0):
            raise OddError
        position += 8


def _text(raw: bytes) -> str:
    text = raw.strip(b"\0 ").decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise OddError  # damaged, or in a character set that the file names
    return joined(text)


def _rows_or_columns(raw: bytes) -> int:
    if len(raw) != 2:
        raise OddError
    return int(_number(raw)[0])

"""Words and absolute paths in bytes, text or not, fast enough for models of hundreds of megabytes."""

import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

SHORTEST = 6  # of a word that is looked at
_IN_WORDS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-"
_ENDS = b"._-"
_TO_BLANKS = bytes(byte if byte in _IN_WORDS else 0x20 for byte in range(256))
_IS_IN_WORDS = np.isin(np.arange(256), list(_IN_WORDS))
_RUN = re.compile(rb"[0-9A-Za-z._-]+")

# Each begins with a plain sign, which the engine finds quickly; what stands before it is looked at afterwards. Not
# behind a letter, digit, `<`, or another slash or dot: no URL, closing tag, fraction, date, MIME type, or `../x`.
_UNIX = re.compile(rb"/(?<![\w\x80-\xff/.<~+%&-]/)[A-Za-z_.~][\w.@+~-]*(?:/[\w.@+~-]+)+")
_FILE_URL = re.compile(rb"file:///?\w[\w./:%+-]+")
_DRIVE = rb":(?<=[A-Za-z]:)(?<![0-9A-Za-z][A-Za-z]:)"
_WINDOWS = re.compile(_DRIVE + rb"(?:\\{1,2}[\w.$~ -]+|/(?!/)[\w.$~ -]+){2,}")
_SERVER = re.compile(rb"\\\\(?<!\\\\\\)[\w.$-]+\\[\w.$-]+")
# In JSON a backslash is written twice, and a single one begins `\n`.
_WINDOWS_IN_JSON = re.compile(_DRIVE + rb"(?:(?:\\\\[\w.$~ -]+)+|(?:/(?!/)[\w.$~ -]+){2,})")
_SERVER_IN_JSON = re.compile(rb"\\{4}(?<!\\{5})[\w.$-]+\\\\[\w.$-]+")

PNG = b"\x89PNG\r\n\x1a\n"


def words_in(content: bytes, *, is_text: bool) -> set[bytes]:
    """The different words of letters, digits, dots, dashes and underscores that an identifier could be.

    Where the bytes are no text, also without their first or last letter: the byte that says how long a text is, or
    what follows it, may look like one.
    """
    if is_text:
        runs = set(content.translate(_TO_BLANKS).split())
        return {run.strip(_ENDS) for run in runs if len(run) >= SHORTEST}
    found = set(_long_runs(content))
    found |= {run[first:last] for run in list(found) for first, last in ((1, None), (0, -1), (1, -1))}
    return {run.strip(_ENDS) for run in found}


def _long_runs(content: bytes) -> Iterator[bytes]:
    """Words of at least `SHORTEST` signs; of random bytes nearly none is so long."""
    of_1 = _IS_IN_WORDS[np.frombuffer(content, dtype=np.uint8)]
    of_2 = of_1[:-1] & of_1[1:]
    of_4 = of_2[:-2] & of_2[2:]
    of_6 = of_4[:-2] & of_2[4:]
    end = 0
    for start in np.flatnonzero(of_6).tolist():
        if start >= end:
            run = _RUN.match(content, start)
            assert run is not None
            end = run.end()
            yield run.group()


def paths_in(content: bytes, *, is_json: bool) -> set[bytes]:
    """The different absolute paths of Unix and Windows, of two names or more, and `file:` URLs."""
    patterns = [_UNIX, _WINDOWS_IN_JSON if is_json else _WINDOWS] if b"/" in content or b"\\" in content else []
    if b"\\\\" in content:
        patterns.append(_SERVER_IN_JSON if is_json else _SERVER)
    if b"file://" in content:
        patterns.append(_FILE_URL)
    return {found.group() for pattern in patterns for found in pattern.finditer(content)}


def is_text(start: bytes) -> bool:
    """Whether a file that begins so is text in UTF-8."""
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and b"\0" not in start  # a letter that is cut in two
    return b"\0" not in start


def texts_of_png(content: bytes) -> bytes:
    """What a PNG says beside its pixels (PNG 11.3.3), a line each.

    Raises:
        struct.error, zlib.error, IndexError, ValueError: a damaged one.
    """
    texts: list[bytes] = []
    position = len(PNG)
    while position + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        value = content[position + 8 : position + 8 + length]
        if kind == b"zTXt":
            name, packed = value.split(b"\0", 1)
            value = name + b" " + zlib.decompress(packed[1:])
        elif kind == b"iTXt" and value.split(b"\0", 1)[1][:1] == b"\1":
            value = zlib.decompress(value[value.index(b"\0") + 3 :].split(b"\0", 2)[2])
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            texts.append(value.replace(b"\0", b" "))
        position += 12 + length
    return b"\n".join(texts)

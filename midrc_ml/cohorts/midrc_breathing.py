"""Which breathing support is ventilation: `procedure.breathing_support_type` is free text."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from midrc_ml.cohorts.midrc_lists import per_distinct
from midrc_ml.errors import InputError

INVASIVE, NONINVASIVE = "invasive", "noninvasive"
# Texts that may say that there was none, or no longer: "Not intubated", "off ventilator".
_NEGATION = re.compile(r"\b(?:no|not|never|without|denies|denied|declined|refused|off|none|extubated|extubation)\b")


class BreathingWords:
    """words: {`invasive`, `noninvasive`: words}, looked for as whole words in any text; None knows no word.

    Raises:
        InputError: another form.
    """

    def __init__(self, words: Mapping[str, Sequence[str]] | None) -> None:
        if words is not None and (not isinstance(words, Mapping) or not set(words) <= {INVASIVE, NONINVASIVE}):
            raise InputError(
                f"cohort.breathing_support is {words!r}; it must hold lists of words: invasive, noninvasive"
            )
        lists = {name: (words or {}).get(name) or () for name in (INVASIVE, NONINVASIVE)}
        for name, given in lists.items():
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise InputError(f"cohort.breathing_support.{name} is {given!r}; it must be a list of words")
        self._patterns = {name: _pattern([str(word) for word in given]) for name, given in lists.items()}

    def kinds(self, texts: pd.Series) -> pd.Series:
        """`invasive` or `noninvasive` for each text; missing where it is blank, negated, says both, or neither."""
        return per_distinct(texts, self._kind)

    def _kind(self, text: str) -> str | None:
        if _NEGATION.search(_plain(text)):
            return None
        # What is taken out as non-invasive cannot count again: "non-invasive mechanical ventilation".
        rest, is_noninvasive = self._patterns[NONINVASIVE].subn(" ", _plain(text))
        is_invasive = self._patterns[INVASIVE].search(rest) is not None
        if is_invasive == bool(is_noninvasive):
            return None
        return INVASIVE if is_invasive else NONINVASIVE


def _plain(text: str) -> str:
    words = " ".join(re.sub(r"[^\w]|_", " ", text.casefold()).split())
    return re.sub(r"\bnon ", "non", words)


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Any of the words, longer ones first; nothing where there is no word."""
    ordered = sorted({_plain(word) for word in words} - {""}, key=lambda word: (-len(word), word))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, ordered))})\b" if ordered else r"(?!)")

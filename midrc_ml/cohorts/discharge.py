"""How a hospital stay ended, in the words of the site that sent it.

`visit.discharge_type` is free text, and each site has its own words: configs/discharge lists them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from midrc_ml.cohorts.midrc_lists import per_distinct
from midrc_ml.errors import InputError

DIED, ALIVE, UNCLEAR, OPEN = "died", "alive", "unclear", "open"
_OUTCOMES = (DIED, ALIVE, UNCLEAR, OPEN)
DEFAULT = "default"

Vocabulary = Mapping[str, Mapping[str, Sequence[str]]]


def plain(word: str) -> str:
    """A word as it is compared: case and the number of blanks make no difference."""
    return " ".join(word.split()).casefold()


class DischargeWords:
    """Vocabularies by site. vocabulary: {site id or `default`: {died, alive, unclear, open: words}}; None knows none.

    A site's own list goes before `default`, for the words that it has.

    Raises:
        InputError: another form, or a word that stands in two lists of one site.
    """

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._outcome: dict[str, dict[str, str]] = {}
        for site, lists in (vocabulary or {}).items():
            where = f"cohort.discharge.{site}"
            if not isinstance(lists, Mapping) or not set(lists) <= set(_OUTCOMES):
                raise InputError(f"{where} is {lists!r}; it must hold lists of words under {', '.join(_OUTCOMES)}")
            outcomes = self._outcome.setdefault(str(site), {})
            for outcome, words in lists.items():
                for word in _texts(words, f"{where}.{outcome}"):
                    if outcomes.setdefault(plain(word), outcome) != outcome:
                        raise InputError(f"{where} lists {word!r} as {outcomes[plain(word)]} and as {outcome}")

    def outcomes(self, words: pd.Series, sites: pd.Series) -> pd.Series:
        """`died`, `alive`, `unclear` or `open` for each word of a site; missing where it is blank or in no list."""
        # One lookup for each distinct pair: a site id holds no unit separator.
        pairs = sites.fillna("").astype("str") + "\x1f" + words
        return per_distinct(pairs, lambda pair: self._of(*pair.split("\x1f", 1)))

    def _of(self, site: str, word: str) -> str | None:
        own, default = self._outcome.get(site, {}), self._outcome.get(DEFAULT, {})
        return own.get(plain(word)) or default.get(plain(word))


def _texts(words: Any, where: str) -> list[str]:
    if words is None:
        return []
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise InputError(f"{where} is {words!r}; it must be a list of words")
    return [str(word) for word in words]

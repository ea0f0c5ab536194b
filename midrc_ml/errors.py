"""Errors that a person can act on.

A message says what is wrong, where, the value got, the rule, and the next step, in one sentence.
"""

from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave is wrong; shown as one sentence without a traceback."""


class TableError(InputError):
    """Rows or columns of a table break its rules; every problem is reported at once."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "" if count == 1 else f"{count} problems in the tables: "
        super().__init__(heading + "; ".join(self.problems))

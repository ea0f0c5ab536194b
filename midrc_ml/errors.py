"""Errors that a person can act on.

A message says what is wrong, where, the value got, the rule, and the next step, in one sentence.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin


class InputError(ValueError):
    """Something that the user gave is wrong; shown as one sentence without a traceback."""


class TableError(InputError):
    """Rows or columns of a table break its rules; every problem is reported at once."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "" if count == 1 else f"{count} problems in the tables: "
        super().__init__(heading + "; ".join(self.problems))


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def check_kinds(settings: Any, where: str) -> None:
    """Refuse a setting of a dataclass that is not of the plain type that its field is annotated with.

    A field of `Sequence[str]` must be a list: a single text would be read as the list of its letters.

    Raises:
        InputError: naming the setting, the value and the type; `where` is the config group.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if get_origin(field.type) is Sequence and get_args(field.type) == (str,):
            _check_texts(value, f"{where}.{field.name}")
            continue
        kinds = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
        plain = [kind for kind in kinds if kind in _KINDS]
        if not plain or (value is None and NoneType in kinds):
            continue
        takes_int = int in plain or float in plain
        fits = type(value) in plain or (type(value) is int and takes_int)
        if not fits:
            rule = " or ".join(_KINDS[kind] for kind in plain)
            raise InputError(f"{where}.{field.name} is {value!r}; it must be {rule}")


def check_least(settings: Any, where: str, **least: float) -> None:
    """Refuse a number below its least value, or one that is not finite; None is left alone.

    Raises:
        InputError: naming the setting, the value and the rule; `where` is the config group.
    """
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and not lowest <= value < math.inf:
            rule = f"at least {lowest}" if value < lowest else "a finite number"
            raise InputError(f"{where}.{name} is {value!r}; it must be {rule}")


def _check_texts(value: Any, name: str) -> None:
    if isinstance(value, str):
        raise InputError(f"{name} is {value!r}; give a list: [{value}]")
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{name} is {value!r}; it must be a list of texts")

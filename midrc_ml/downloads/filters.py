"""What to fetch by a query: conditions of the command line, or a file, as a filter of guppy.

Source: https://github.com/uc-cdis/guppy/blob/master/doc/queries.md
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from midrc_ml.errors import InputError

_CONDITION = re.compile(r"(\w+)\s*(>=|<=|!=|=)\s*(.+)")
_PROJECT = re.compile(r"[A-Za-z0-9]+-[\w-]+")
_EXAMPLE = "--where study_modality=DX or --where 'age_at_imaging>=18'"


def filter_of(projects: Sequence[str], conditions: Sequence[str]) -> dict[str, Any]:
    """The filter of `--projects` and `--where`: conditions on one field with `=` are alternatives, all others hold.

    Raises:
        InputError: a condition that is not FIELD=VALUE, FIELD!=VALUE, FIELD>=NUMBER or FIELD<=NUMBER, or none at all.
    """
    equal: dict[str, list[str]] = {"project_id": list(projects)} if projects else {}
    clauses: list[dict[str, Any]] = []
    for condition in conditions:
        match = _CONDITION.fullmatch(condition.strip())
        if match is None or match[3][0] in "<>=!":
            raise InputError(f"--where is {condition!r}; it must be FIELD=VALUE, or with != >= <=: {_EXAMPLE}")
        field, sign, value = match.groups()
        if sign == "=":
            equal.setdefault(field, []).append(value)
        elif sign == "!=":
            clauses.append({"!=": {field: value}})
        else:
            clauses.append({sign: {field: _number(value, condition)}})
    together = [{"IN": {field: values}} for field, values in equal.items()] + clauses
    if not together:  # guppy takes an empty AND for the whole portal
        raise InputError(f"the query has no condition; give --projects or {_EXAMPLE}")
    return {"AND": together}


def read_filter(path: Path) -> dict[str, Any]:
    """A filter of guppy from a JSON file.

    Raises:
        InputError: no such file, not a JSON object, or one that restricts nothing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"--filter {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--filter {path} is not JSON ({error})") from error
    if not isinstance(content, dict) or not content:
        raise InputError(
            f'--filter {path} must hold one object, as {{"AND": [{{"IN": {{"project_id": ["Open-R1"]}}}}]}}'
        )
    if _has_empty_list(content):
        raise InputError(f"--filter {path} has an empty list, which restricts nothing or lets nothing through; fill it")
    return content


def project_names(texts: Sequence[str]) -> list[str]:
    """The projects of `--projects A,B --projects C`, each once.

    Raises:
        InputError: one that is not PROGRAM-CODE, or an option without a name.
    """
    names = names_of(texts, "--projects")
    for name in names:
        if not _PROJECT.fullmatch(name):
            raise InputError(f"--projects has {name!r}; a project is named as Open-A1 or TCIA-RICORD")
    return names


def names_of(texts: Sequence[str], option: str) -> list[str]:
    """The names of `A,B` and `C`, each once, in their order; none only where the option was not given.

    Raises:
        InputError: the option was given without a name, as by an empty variable of the shell: it would restrict
        nothing.
    """
    named = [[name.strip() for name in text.split(",") if name.strip()] for text in texts]
    if not all(named):
        raise InputError(f"{option} is given but holds no name; give one, or leave the option out")
    return list(dict.fromkeys(name for names in named for name in names))


def _has_empty_list(content: Any) -> bool:
    if isinstance(content, dict):
        content = list(content.values())
    elif not isinstance(content, list):
        return False
    return not content or any(_has_empty_list(each) for each in content)


def _number(value: str, condition: str) -> float:
    try:
        return int(value)
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"--where is {condition!r}; after >= and <= there must be a number")
    return number

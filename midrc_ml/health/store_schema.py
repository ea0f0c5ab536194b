"""Whether the tables of an MLflow store are those that the installed MLflow expects, without importing it."""

import importlib.util
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

_NEEDED = ("experiments", "runs", "metrics", "latest_metrics", "params", "tags")
_REVISION = re.compile(r"^revision\b[^=\n]*=\s*[\"'](\w+)", re.MULTILINE)
_BEFORE = re.compile(r"^down_revision\b[^=\n]*=\s*[\"'](\w+)", re.MULTILINE)
_CREATED = re.compile(r"op\.create_table\(\s*[\"'](\w+)")
_ADDED = re.compile(r"op\.add_column\(\s*[\"'](\w+)[\"'],\s*sa\.Column\(\s*[\"'](\w+)")


@dataclass(frozen=True)
class Migration:
    """One step of MLflow's schema. tables, columns: what it adds."""

    revision: str
    before: str | None
    tables: frozenset[str]
    columns: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Schema:
    """state: `current`, `empty`, `older`, `newer`, `half-migrated`, `damaged` or `unknown`; why, in words."""

    state: str
    why: str


def migrations() -> dict[str, Migration]:
    """The steps of the installed MLflow by revision; empty where they are not found."""
    found = importlib.util.find_spec("mlflow")  # does not run it
    places = list(found.submodule_search_locations or []) if found else []
    steps = {}
    for place in places:
        for path in Path(place, "store", "db_migrations", "versions").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            revision = _REVISION.search(text)
            if revision:
                before = _BEFORE.search(text)
                up = text.partition("def downgrade")[0]
                steps[revision.group(1)] = Migration(
                    revision=revision.group(1),
                    before=before.group(1) if before else None,
                    tables=frozenset(_CREATED.findall(up)),
                    columns=frozenset(_ADDED.findall(up)),
                )
    return steps


def schema_of(store: sqlite3.Connection, steps: dict[str, Migration]) -> Schema:
    """What state the tables are in.

    Raises:
        sqlite3.Error: the file cannot be read as a database.
    """
    tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables - {"alembic_version"}:
        return Schema("empty", "it has no tables yet; the next run makes them")
    versions = (
        [row[0] for row in store.execute("SELECT version_num FROM alembic_version")]
        if ("alembic_version" in tables)
        else []
    )
    if not versions:
        why = "it has tables but no version: the process that made them was ended, or two made them at once"
        return Schema("half-migrated", why)
    missing = [name for name in _NEEDED if name not in tables]
    (version, *more) = versions
    if not steps:
        return Schema("unknown", f"version {version}; MLflow is not installed, which would know it")
    if version not in steps:
        return Schema("newer", f"version {version} is not known to the installed MLflow: a newer one made it")
    later = _after(version, steps)
    if more or any(_is_there(store, tables, step) for step in later):
        why = (
            f"its version is {version}, yet tables of later steps are there: "
            "two processes made them at once, or one was ended meanwhile"
        )
        return Schema("half-migrated", why)
    if missing:
        return Schema("damaged", f"it has no table {', '.join(missing)}")
    if later:
        return Schema("older", f"version {version}, {len(later)} steps behind the installed MLflow")
    return Schema("current", f"version {version}, as the installed MLflow wants it")


def _after(version: str, steps: dict[str, Migration]) -> list[Migration]:
    """The steps that come after this one, in their order."""
    next_of = {step.before: step for step in steps.values()}
    found: list[Migration] = []
    while version in next_of and len(found) < len(steps):
        step = next_of[version]
        found.append(step)
        version = step.revision
    return found


def _is_there(store: sqlite3.Connection, tables: set[str], step: Migration) -> bool:
    if step.tables & tables:
        return True
    return any(column in _columns(store, table) for table, column in step.columns if table in tables)


def _columns(store: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in store.execute("SELECT name FROM pragma_table_info(?)", (table,))}

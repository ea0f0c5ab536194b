"""The audit as a table: what was checked, how it came out, why, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from midrc_ml.reporting.tables import Table, number

_WORST_FIRST = ("fail", "warn", "pass", "not_applicable")
# Of these the numbers behind the evidence are worth a table of their own.
_WITH_DETAILS = ("label_time", "label_time.windows", "shortcut.source", "shortcut.site", "shortcut.conditional",
                 "privacy.headers")  # fmt: skip
_MOST_ROWS = 40


def audit_table(audit: Sequence[Mapping[str, Any]]) -> Table:
    """audit: rows of `audit.json`; the worst come first."""
    ordered = sorted(audit, key=lambda entry: _WORST_FIRST.index(entry["status"]))
    lines = [
        (entry["check"], entry["status"].replace("_", " "), _value(entry), entry["evidence"], entry["what_to_do"])
        for entry in ordered
    ]
    return Table("", [("check", "status", "value", "evidence", "what to do"), *lines])


def detail_tables(audit: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The numbers behind some of the checks, a table each."""
    return [
        _details(entry["check"], entry["details"])
        for entry in audit
        if entry["check"] in _WITH_DETAILS and entry.get("details")
    ]


def _details(check: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [tuple(_cell(row.get(name)) for name in columns) for row in rows[:_MOST_ROWS]]
    more = f" (the first {_MOST_ROWS} of {len(rows)} rows; all stand in audit.json)" if len(rows) > _MOST_ROWS else ""
    return Table(f"{check}{more}", [tuple(columns), *lines])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)


def _value(entry: Mapping[str, Any]) -> str:
    value = entry["value"]
    if value is None:
        return "-"
    if entry["low"] is None or entry["high"] is None:
        return f"{value:.0f}" if float(value).is_integer() else number(value)
    return f"{number(value)} [{number(entry['low'])}, {number(entry['high'])}]"

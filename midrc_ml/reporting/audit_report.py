"""`audit.html` and `audit.md`: an audit without a model, the same content for people and for a pull request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from midrc_ml.reporting.audit_table import audit_table, detail_tables

FILES = ("audit.html", "audit.md")


def write_audit_report(
    folder: Path,
    *,
    title: str,
    question: str,
    synthetic: bool,
    verdict: Sequence[str],
    audit: Sequence[Mapping[str, Any]],
) -> list[Path]:
    """Write both; their paths and that of `audit.json`. verdict: sentences. audit: rows of `audit.json`."""
    written = []
    for name in FILES:
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=name.endswith(".html"),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        text = environment.get_template(f"{name}.j2").render(
            title=title,
            question=question,
            synthetic=synthetic,
            verdict=verdict,
            audit_table=audit_table(audit),
            details=detail_tables(audit),
        )
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    path = folder / "audit.json"
    return [*written, *([path] if path.is_file() else [])]

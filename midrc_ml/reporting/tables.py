"""A table as text: a title, a header and rows, for Markdown, HTML and the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """lines: the header first, equally long. best_first: the positions of the rows, if one is better than another."""

    title: str
    lines: Sequence[tuple[str, ...]]
    best_first: Sequence[int] = ()

    def as_text(self, *, indent: str = "  ", most: int | None = None) -> str:
        """Aligned for a terminal, the first column to the left, the others to the right.

        most: rows that are shown; of more the best.
        """
        shown = list(self.lines)
        if most is not None and len(shown) > most + 1:
            shown = [self.lines[0], *(self.lines[1 + place] for place in self.best_first[:most])]
        widths = [max(len(line[column]) for line in shown) for column in range(len(self.lines[0]))]
        text = []
        for line in shown:
            first, *others = (cell.ljust(width) if not column else cell.rjust(width)
                              for column, (cell, width) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
            text.append((indent + "  ".join([first, *others])).rstrip())
        left_out = len(self.lines) - len(shown)
        more = [f"{indent}these are the best; {left_out} more stand in the report"] if left_out else []
        return "\n".join([self.title, *text, *more])

    def as_markdown(self) -> str:
        """For a pull request."""
        header, *rows = [[cell.replace("|", "\\|") for cell in line] for line in self.lines]
        return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))

    def as_html(self) -> Markup:
        """For a page."""
        tags = ["th", *["td"] * (len(self.lines) - 1)]
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(Markup("<{0}>{1}</{0}>").format(Markup(tag), cell) for cell in line)
            )
            for tag, line in zip(tags, self.lines, strict=True)
        )
        return Markup("<table>{}</table>").format(body)


def number(value: float | None, *, signed: bool = False) -> str:
    """Three digits after the point; fewer of large numbers; a dash where there is none."""
    if value is None:
        return "-"
    digits = 3 if abs(value) < 100 else 1
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if signed else text


def p_text(value: float | None) -> str:
    """`0.012`, `<0.001`, or a dash."""
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def limits_text(row: Mapping[str, Any], *, signed: bool = False) -> str:
    """`0.744 to 0.871`; the reason where there is no interval."""
    if row["low"] is None:
        return str(row["reason"] or "-")
    return f"{number(row['low'], signed=signed)} to {number(row['high'], signed=signed)}"

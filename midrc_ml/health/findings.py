"""What a check of this machine found, and how it is told: a verdict first, then every part."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from midrc_ml.health.places import without_names

Status = Literal["ok", "warn", "fail", "not_applicable"]
MARKS: dict[Status, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL", "not_applicable": "-"}
_COLOURS: dict[Status, str] = {"ok": "32", "warn": "33", "fail": "31", "not_applicable": "2"}
_WHAT_WIDTH = 44
_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    status: `ok`; `warn` = works, with a drawback; `fail` = broken; `not_applicable` = not there, and not needed.
    value: what was seen. what_to_do: what puts it right, with the command. facts: the same in numbers, for JSON.
    """

    part: str
    status: Status
    what: str
    value: str
    what_to_do: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def findings_of(part: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What `check` finds; where it breaks itself, that is a finding too, and the other parts go on."""
    try:
        return check()
    except Exception as error:
        words = without_names(str(error)).splitlines()
        return [
            Finding(
                part=part,
                status="fail",
                what="this check",
                value=f"ended with {type(error).__name__}{f': {words[0][:200]}' if words else ''}",
                what_to_do="the other parts are right; please report this line",
            )
        ]


def verdict(findings: Sequence[Finding]) -> list[str]:
    """The first lines: `all well`, or what is to mend, worst first; what has one remedy is told together."""
    to_tell: dict[tuple[Status, str, str], list[Finding]] = {}
    for status in ("fail", "warn"):
        for finding in findings:
            if finding.status == status:
                alone = "" if finding.what_to_do else finding.what + finding.value
                to_tell.setdefault((finding.status, finding.what_to_do, alone), []).append(finding)
    num_broken = sum(status == "fail" for status, _, _ in to_tell)
    num_to_know = len(to_tell) - num_broken
    mend = f"{num_broken} thing{'s' * (num_broken != 1)} to mend" if num_broken else "all well"
    know = f", {num_to_know} to know" if num_to_know else ""
    lines = [mend + know]
    for (status, what_to_do, _), together in to_tell.items():
        first = together[0]
        names = list(dict.fromkeys(finding.what for finding in together))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = f"{first.part}: {', '.join(names[:_NAMED])}{more}: {first.value}"
        lines.append(f"{MARKS[status]:4}  {said}{f' -> {what_to_do}' if what_to_do else ''}")
    return lines


def as_text(findings: Sequence[Finding], *, heading: str, width: int, colour: bool) -> str:
    """The verdict and every part, for a terminal of `width` columns."""
    first, *rest = verdict(findings)
    lines = [heading, "", _coloured(first, "1", colour), *(_wrapped(line, 6, width) for line in rest)]
    if colour:
        for number, line in enumerate(lines):
            for status in ("fail", "warn"):
                if line.startswith(MARKS[status]):
                    lines[number] = _coloured(MARKS[status], _COLOURS[status], True) + line[len(MARKS[status]) :]
    for part in dict.fromkeys(finding.part for finding in findings):
        of_part = [finding for finding in findings if finding.part == part]
        column = min(_WHAT_WIDTH, max(len(finding.what) for finding in of_part))
        lines += ["", _coloured(part, "1", colour)]
        for finding in of_part:
            mark = _coloured(f"{MARKS[finding.status]:4}", _COLOURS[finding.status], colour)
            # Of what is wrong the remedy stands above.
            advice = finding.what_to_do if finding.status in ("ok", "not_applicable") else ""
            said = f"{finding.value}{f' -> {advice}' if advice else ''}"
            body = _wrapped(f"{finding.what:{column}}  {said}", column + 2, max(20, width - 8))
            lines.append(f"  {mark}  " + body.replace("\n", "\n" + " " * 8))
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], *, version: str, seconds: float) -> dict[str, Any]:
    """The same for programs: `{midrc_ml, status, verdict, seconds, findings}`; status is the worst of all."""
    statuses = {finding.status for finding in findings}
    worst = next((status for status in ("fail", "warn") if status in statuses), "ok")
    return {
        "midrc_ml": version,
        "status": worst,
        "verdict": verdict(findings),
        "seconds": round(seconds, 2),
        "findings": [asdict(finding) for finding in findings],
    }


def _wrapped(text: str, indent: int, width: int) -> str:
    # Not inside of words: a command or a path that is broken cannot be copied.
    return "\n".join(
        textwrap.wrap(
            text,
            max(40, width),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
    )


def _coloured(text: str, code: str, colour: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if colour else text

"""Which cells of a table of counts have to be hidden, and small counts in sentences.

A count of 1 to `LEAST` - 1 people is not shared: CMS, cell size suppression policy, which names 1-10 and also forbids
shares from which such a count follows. 0 is shared, as that policy allows. What is hidden must not follow from what is
shared: hidden cells are at least two, and together no small count either, so that "the rest" is none.
"""

import re
from collections.abc import Mapping
from typing import Any

LEAST = 11
# What a count in a sentence may be of. Rows and files are those of people nearly always, and are treated alike.
_NOUNS = (
    "patients?|people|persons?|cases?|studies|study|rows?|files?|series|images?|films?|exams?|examinations?|stays?|"
    "visits?|events?|readings?|positives?|negatives?|deaths?|records?|scans?|labels?|others?|women|men"
)
_NUMBER = r"(?<![\w.,/-])(\d+)(?![\d.,/-]*\d)"
_COUNT_OF = re.compile(rf"{_NUMBER} of (\d+)\b")
_COUNT = re.compile(rf"{_NUMBER}(?= (?:(?:of )?(?:the |these |further |other |selected )*)?(?:{_NOUNS})\b)")


def is_small(count: Any, least: int = LEAST) -> bool:
    """Whether a count is one that is not shared; None and what is no whole number is none."""
    return isinstance(count, int) and not isinstance(count, bool) and 0 < count < least


def hidden_sizes(sizes: Mapping[str, int], least: int = LEAST) -> set[str]:
    """The groups of a partition whose sizes are hidden: the small ones, and as many of the next smallest as it takes.

    All that are hidden are two or more, together `least` or more, and more than one each; else everything is hidden.
    """
    hidden = {name for name, size in sizes.items() if is_small(size, least)}
    others = sorted(set(sizes) - hidden, key=lambda name: (sizes[name] == 0, sizes[name], name))
    while hidden and others:
        together = sum(sizes[name] for name in hidden)
        if len(hidden) > 1 and together >= least and together > len(hidden):
            break
        hidden.add(others.pop(0))
    return hidden


def hidden_labels(
    sizes: Mapping[str, int], labels: Mapping[str, Mapping[str, int]], hidden: set[str], least: int = LEAST
) -> set[str]:
    """The groups of a partition whose labels are not counted: also those of a hidden size, and the next smallest.

    labels: {group: {class: number}}, where the numbers need not add up to the size: what is left is a class as well.
    For each class, the groups that are hidden have together none or `least` or more of it, and of all others.
    """
    counts = {name: _with_rest(sizes[name], of_group) for name, of_group in labels.items()}
    chosen = set(hidden) | {name for name, of_group in counts.items() if _is_told(sizes[name], of_group, least)}
    others = sorted(
        set(sizes) - chosen, key=lambda name: (min((n for n in counts[name].values() if n), default=0), name)
    )
    while chosen and others:
        size = sum(sizes[name] for name in chosen)
        classes = {kind for name in chosen for kind in counts[name]}
        together = {kind: sum(counts[name].get(kind, 0) for name in chosen) for kind in classes}
        if len(chosen) > 1 and not _is_told(size, together, least):
            break
        chosen.add(others.pop(0))
    return chosen


def is_told(size: int, labels: Mapping[str, int], least: int = LEAST) -> bool:
    """Whether these labels of a group of this size hold a small count, or leave one over."""
    return _is_told(size, _with_rest(size, labels), least)


def _with_rest(size: int, labels: Mapping[str, int]) -> dict[str, int]:
    rest = size - sum(labels.values())
    return {**labels, "": rest} if rest > 0 else dict(labels)


def _is_told(size: int, counts: Mapping[str, int], least: int) -> bool:
    return any(is_small(count, least) or is_small(size - count, least) for count in counts.values())


def without_small_counts(text: str, least: int = LEAST) -> str:
    """A sentence in which small counts of people, and of what stands for people, are not told."""

    def of_all(found: re.Match[str]) -> str:
        count, total = int(found[1]), int(found[2])
        if is_small(total, least):
            return f"some of fewer than {least}"
        if is_small(count, least) or is_small(total - count, least):
            return f"some of {total}"
        return found[0]

    def alone(found: re.Match[str]) -> str:
        return f"fewer than {least}" if is_small(int(found[1]), least) else found[0]

    return _COUNT.sub(alone, _COUNT_OF.sub(of_all, text))

"""A copy of `cohort_flow.json` that may be shared.

Steps follow one another: what a step excludes is the difference of what goes in and out. So a step that excludes a
small number is joined with the next one (the last with the one before it), and of what a step excludes small reasons
are pooled with the next smallest. Sites that are small anywhere are pooled, in the steps and in the labels alike. Per
step, the counts by site and of cases are told from the last step backwards, each where it and its difference to the
next that is told are no small counts. Of the other tables each list of rows, or mapping of counts, that holds a small
count is left out whole: what is left of it would tell the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from midrc_ml.audits.privacy.suppression_cells import (
    LEAST,
    hidden_labels,
    hidden_sizes,
    is_small,
    is_told,
    without_small_counts,
)

Row = dict[str, Any]
OTHER_REASONS, OTHER_SITES, OTHER_GROUPS = "other reasons", "other sites", "other groups"
NOT_SHARED = f"not shared: it holds a count of fewer than {LEAST}, or lets one be recomputed"
_OWN_KEYS = ("origin", "unit", "notes", "steps", "labels_by_site", "labels_by", "constant_sites", "split_sha256")
# Whole numbers that count no people.
_NO_COUNTS = ("family", "seed", "num_readers", "version")


def shareable_flow(flow: Mapping[str, Any], *, least: int = LEAST) -> Row:
    """The flow without small counts, or what they follow from; `not_shared` names what was left out."""
    left_out: list[str] = []
    steps = _joined(flow["steps"], least)
    sizes = [step[name] for step in steps for name in ("n_in", "n_out") if name in step]
    if any(is_small(size, least) for size in sizes):
        return {"origin": flow["origin"], "unit": flow["unit"], "not_shared": ["everything: a step has few left"]}
    labels = _label_tables(flow)
    pool = _pooled_sites(steps, labels.get("site", []), least)
    shared = {name: _worded(flow[name], least) for name in ("origin", "unit", "notes") if name in flow}
    shared["steps"] = _shared_steps(steps, labels.get("site", []), pool, least, left_out)
    last = [step["n_out"] for step in steps if "n_out" in step][-1:]
    for column, rows in labels.items():
        is_apart = any(is_small(abs(n_out - sum(row["n"] for row in rows)), least) for n_out in last)
        table = None if is_apart else _shared_labels(rows, column, pool if column == "site" else None, least)
        if table is None:
            left_out.append(f"labels_by.{column}")
        elif "labels_by_site" in flow and column == "site":
            shared["labels_by_site"] = table
        if table is not None and column in (flow.get("labels_by") or {}):
            shared.setdefault("labels_by", {})[column] = table
    for name, value in flow.items():
        if name == "missing":
            # How many are not reported is the size of a group, and would tell that of another one it was pooled with.
            value = [row for row in value if not _is_pooled(str(row["column"]), flow, shared)]
            left_out += [name] * (len(value) < len(flow[name]))
        if name not in _OWN_KEYS:
            shared[name] = _walked(value, name, least, left_out)
    for name in ("constant_sites", "split_sha256"):
        if name in flow:
            shared[name] = _worded(flow[name], least)
    has_tables = isinstance(shared.get("tables"), Mapping)
    if has_tables and any(step.get("excluded") is None and "not_applicable" not in step for step in shared["steps"]):
        shared["tables"] = NOT_SHARED  # its number of studies is what went into the first step
        left_out.append("tables")
    return {**shared, "not_shared": left_out}


def small_counts(value: Any, least: int = LEAST, name: str = "") -> list[str]:
    """The names of what still is a count of 1 to `least` - 1 in a table that is meant for sharing."""
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in small_counts(item, least, str(key))]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [found for item in value for found in small_counts(item, least, name)]
    return [name] if _is_count(name, value, least) else []


def _is_count(name: str, value: Any, least: int) -> bool:
    if name.startswith("effective_") and isinstance(value, float):
        return 0 < value < least
    return name not in _NO_COUNTS and is_small(value, least)


def _joined(steps: Sequence[Mapping[str, Any]], least: int) -> list[Row]:
    """The steps, those that exclude few joined with the next; steps that could not be taken stay where they are."""
    joined: list[Row] = []
    for step in steps:
        before = joined[-1] if joined else None
        if before is not None and _can_join(before, step) and is_small(before["n_in"] - before["n_out"], least):
            joined[-1] = _both(before, step)
        else:
            joined.append(dict(step))
    position = len(joined) - 1
    while position > 0:
        step, before = joined[position], joined[position - 1]
        if _can_join(before, step) and is_small(step["n_in"] - step["n_out"], least):
            joined[position - 1 : position + 1] = [_both(before, step)]
        position -= 1
    for step in joined:
        if "n_in" in step and is_small(step["n_in"] - step["n_out"], least):
            step |= {"n_in": None, "excluded": None, "reason": f"fewer than {least} are excluded"}
    return joined


def _can_join(before: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
    return "n_out" in before and "n_in" in step and before["n_out"] == step["n_in"] and before["unit"] == step["unit"]


def _both(before: Mapping[str, Any], step: Mapping[str, Any]) -> Row:
    reasons: dict[str, Row] = {}
    for row in (*before["excluded"], *step["excluded"]):
        known = reasons.setdefault(row["reason"], {"reason": row["reason"], "n": 0, "by_site": Counter()})
        known["n"] += row["n"]
        known["by_site"].update(row["by_site"])
    names = f"{before['step']}; {step['step']}"
    return {**step, "step": names, "n_in": before["n_in"], "excluded": list(reasons.values())}


def _is_pooled(column: str, flow: Mapping[str, Any], shared: Mapping[str, Any]) -> bool:
    """Whether the groups of a column are not all in the shared table of its labels."""
    before, after = (flow_.get("labels_by", {}).get(column, []) for flow_ in (flow, shared))
    return [row[column] for row in before] != [row[column] for row in after]


def _label_tables(flow: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    tables = {"site": flow["labels_by_site"]} if flow.get("labels_by_site") else {}
    return {**tables, **(flow.get("labels_by") or {})}


def _pooled_sites(steps: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]], least: int) -> set[str]:
    """Sites that are small in one of the steps or among the labels, and the next smallest, until they are none."""
    points = [Counter(step["by_site_out"]) for step in steps if step.get("by_site_out") is not None]
    points += [Counter({str(row["site"]): row[name] for row in labels}) for name in ("n", "n_cases")]
    sites = {site for point in points for site in point}
    pool = {site for point in points for site, n in point.items() if is_small(n, least)}
    others = sorted(sites - pool, key=lambda site: (max(point[site] for point in points), site))
    while pool and others:
        if len(pool) > 1 and not any(is_small(sum(point[site] for site in pool), least) for point in points):
            break
        pool.add(others.pop(0))
    return pool


def _by_site(counts: Mapping[str, int], pool: set[str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for site, n in counts.items():
        found[OTHER_SITES if site in pool else site] += n
    return dict(sorted(found.items()))


def _shared_steps(
    steps: Sequence[Mapping[str, Any]],
    labels: Sequence[Mapping[str, Any]],
    pool: set[str],
    least: int,
    left_out: list[str],
) -> list[Row]:
    shared: list[Row] = []
    next_sites: Mapping[str, int] | None = None
    next_cases = sum(row["n_cases"] for row in labels) if labels else None
    later: Row = {}  # the step behind, of those that were taken
    for step in reversed(steps):
        if "n_out" not in step:
            shared.append({name: _worded(value, least) for name, value in step.items()})
            continue
        sites = _by_site(step["by_site_out"], pool)
        tells_sites = _are_far(sites, next_sites, least)
        cases = step["n_cases_out"]
        tells_cases = _are_far({"": cases}, None if next_cases is None else {"": next_cases}, least)
        if not tells_sites:
            _hide_sites(later)  # what it excludes by site would tell them
        excluded = step["excluded"] if step["excluded"] is None else _shared_reasons(step["excluded"], pool, least)
        made = {
            **step,
            "n_cases_out": cases if tells_cases else None,
            "by_site_out": sites if tells_sites else None,
            "excluded": excluded,
        }
        before = _before(sites, excluded) if tells_sites and excluded is not None else None
        if before is None or not _are_far(before, sites, least):
            _hide_sites(made)
        if not (tells_sites and tells_cases):
            left_out.append(f"counts by site or of cases behind step: {step['step']}")
        shared.append(made)
        next_sites = sites if tells_sites else next_sites
        next_cases = cases if tells_cases else next_cases
        later = made
    return shared[::-1]


def _before(sites: Mapping[str, int], excluded: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The counts by site in front of a step."""
    before = Counter(sites)
    for row in excluded:
        before.update(row["by_site"])
    return dict(before)


def _hide_sites(step: Row) -> None:
    """Take out what a step excludes by site."""
    for row in step.get("excluded") or ():
        row["by_site"] = None


def _are_far(counts: Mapping[str, int], others: Mapping[str, int] | None, least: int) -> bool:
    """Whether no count is small, nor any difference to what else is told."""
    if any(is_small(n, least) for n in counts.values()):
        return False
    names = set(counts) | set(others or {})
    return others is None or not any(is_small(abs(counts.get(name, 0) - others.get(name, 0)), least) for name in names)


def _shared_reasons(rows: Sequence[Mapping[str, Any]], pool: set[str], least: int) -> list[Row]:
    """The reasons, small ones pooled; by site where no cell is small."""
    names = [str(row["reason"]) for row in rows]
    hidden = hidden_sizes({name: row["n"] for name, row in zip(names, rows, strict=True)}, least)
    merged: dict[str, Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    for name, row in zip(names, rows, strict=True):
        shown = OTHER_REASONS if name in hidden else without_small_counts(name, least)
        totals[shown] += row["n"]
        merged[shown].update(_by_site(row["by_site"], pool))
    is_clean = not any(is_small(n, least) for counts in merged.values() for n in counts.values())
    return [
        {"reason": name, "n": n, "by_site": dict(sorted(merged[name].items())) if is_clean else None}
        for name, n in totals.items()
    ]


def _shared_labels(
    rows: Sequence[Mapping[str, Any]], column: str, pool: set[str] | None, least: int
) -> list[Row] | None:
    """A table of `label_counts`: small groups made one, no number of labels where it would tell; None = none of it."""
    sizes = {str(row[column]): min(row["n"], row["n_cases"]) for row in rows}
    hidden = hidden_sizes(sizes, least) if pool is None else pool & set(sizes)
    name = OTHER_SITES if column == "site" else OTHER_GROUPS
    kept = [dict(row) for row in rows if str(row[column]) not in hidden]
    if hidden:
        kept.append({column: name, **_summed([row for row in rows if str(row[column]) in hidden], column)})
    if any(is_small(row["n"], least) or is_small(row["n_cases"], least) for row in kept):
        return None
    if hidden and column != "site":
        kept[-1]["n_cases"] = None  # one case may be in several of these groups
    groups = {str(row[column]): row["n"] for row in kept}
    labels = {str(row[column]): {key: n for key, n in row.items() if _is_label(key, column)} for row in kept}
    if all(not of_group for of_group in labels.values()):
        return kept
    of_all: Counter[str] = Counter()
    for of_group in labels.values():
        of_all.update(of_group)
    told = set(groups) if is_told(sum(groups.values()), of_all, least) else hidden_labels(groups, labels, set(), least)
    return [
        row | dict.fromkeys(labels[str(row[column])]) if str(row[column]) in told else row for row in kept
    ]  # fmt: skip


def _is_label(key: str, column: str) -> bool:
    return key.startswith("n_") and key not in ("n_cases", column)


def _summed(rows: Sequence[Mapping[str, Any]], column: str) -> Row:
    """The counts of several groups together; a median of theirs is not known."""
    found: Row = {}
    for row in rows:
        for key, value in row.items():
            if key != column:
                found[key] = None if key == "median" else found.get(key, 0) + value
    return found


def _walked(value: Any, name: str, least: int, left_out: list[str]) -> Any:
    """Another table of the flow, without the parts of it that hold a small count."""
    if isinstance(value, Mapping):
        flat = {key: item for key, item in value.items() if not isinstance(item, Mapping | list | tuple)}
        if any(_is_count(str(key), item, least) for key, item in flat.items()) or _tells_by_share(value, least):
            left_out.append(name)
            return NOT_SHARED
        return {key: _walked(item, f"{name}.{key}", least, left_out) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        if small_counts(value, least) or any(_tells_by_share(row, least) for row in value):
            left_out.append(name)
            return NOT_SHARED
        return [_walked(item, name, least, left_out) for item in value]
    return _worded(value, least)


def _tells_by_share(row: Any, least: int) -> bool:
    """Whether a share and what it is of are a small count: {n, share}, or {n_patients, categories: [{share}]}."""
    if not isinstance(row, Mapping):
        return False
    n, share = row.get("n"), row.get("share")
    if isinstance(n, int) and isinstance(share, float) and share > 0 and is_small(round(n / share) - n, least):
        return True
    size = row.get("n_patients")
    return isinstance(size, int) and any(
        is_small(count, least) or is_small(size - count, least) for count in _counts_of_shares(row, size)
    )


def _counts_of_shares(row: Mapping[str, Any], size: int) -> Iterator[int]:
    for item in row.get("categories") or ():
        yield round(item["share"] * size)


def _worded(value: Any, least: int) -> Any:
    """A text or a list of texts that tell no small count."""
    if isinstance(value, str):
        return without_small_counts(value, least)
    return [_worded(item, least) for item in value] if isinstance(value, list | tuple) else value

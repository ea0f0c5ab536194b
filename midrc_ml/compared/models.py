"""Which runs are one model: those whose configurations differ in the seed alone; and what each model is called."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midrc_ml.compared.sources import NOT_CONFIGURATION, Source
from midrc_ml.errors import InputError

_DIFFERENCES = 3  # settings in a name
_LENGTH = 60
_ITEMS, _VALUE_LENGTH = 3, 24
_FIRST = ("model", "algorithm", "training", "images", "clinical")


@dataclass(frozen=True)
class Model:
    """A model and the positions of its seeds among the sources."""

    name: str
    members: tuple[int, ...]


def without_copies(sources: Sequence[Source]) -> tuple[list[Source], list[str]]:
    """The sources, one of each run, and notes on what was left out.

    Raises:
        InputError: two folders that were named are copies of one run.
    """
    kept: dict[str, Source] = {}
    notes = []
    for place, source in enumerate(sorted(sources, key=lambda source: source.place.chosen)):
        key = source.run_key or f"{place}"
        if key not in kept:
            kept[key] = source
        elif source.place.chosen:
            notes.append(f"{source.shown} is a copy of {kept[key].shown}; left out")
        else:
            raise InputError(f"{source.place.told} and {kept[key].place.told} are copies of one run; name it once")
    chosen = {id(source) for source in kept.values()}
    return [source for source in sources if id(source) in chosen], notes


def models_of(sources: Sequence[Source], *, each_seed: bool) -> tuple[list[Model], list[str]]:
    """The models in the order of their first source, with notes.

    each_seed: every run is a model of its own.

    Raises:
        InputError: a run is there twice with the same seed and code, or there are fewer than two models.
    """
    groups: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        groups.setdefault(_key(source, place, each_seed), []).append(place)
    notes: list[str] = []
    parted: list[list[int]] = []
    for members in groups.values():
        parted += _parted(sources, members, notes)
    if len(parted) < 2:
        raise InputError(
            f"these {len(sources)} runs are seeds of one configuration, and so one model: there is nothing to compare "
            f"it with; --each-seed compares them with one another"
            if len(sources) > 1
            else "one model is given, and nothing to compare it with; give two or more"
        )
    names = _names(sources, parted)
    return [Model(name, tuple(members)) for name, members in zip(names, parted, strict=True)], notes


def reference_first(models: Sequence[Model], sources: Sequence[Source], reference: str | None) -> list[Model]:
    """The models with the one in front that `reference` means: its name, or a word that named one of its runs.

    Raises:
        InputError: it means none of them, or several.
    """
    if reference is None:
        return list(models)
    by_name = [model for model in models if model.name == reference]
    by_run = [model for model in models if any(_is_meant(sources[place], reference) for place in model.members)]
    found = by_name or by_run
    if len(found) != 1:
        what = "none" if not found else f"{len(found)}"
        raise InputError(
            f"--reference {reference} means {what} of the models; they are {', '.join(model.name for model in models)}"
        )
    return [*found, *(model for model in models if model is not found[0])]


def _is_meant(source: Source, reference: str) -> bool:
    words = (source.place.asked, source.shown, str(source.place.path), source.place.path.name)
    is_id = len(reference) > 3 and source.run_id is not None and source.run_id.startswith(reference)
    return (reference in words and not (source.place.chosen and reference == source.place.asked)) or is_id


def _key(source: Source, place: int, each_seed: bool) -> str:
    if each_seed or (source.place.name is None and source.configuration is None):
        return f"source {place}"
    if source.place.name is not None:
        return f"name {source.place.name}"
    return f"configuration {source.configuration} on split {source.split_sha256}"


def _parted(sources: Sequence[Source], members: list[int], notes: list[str]) -> list[list[int]]:
    """One model, or one for each state of the code where the same seed was run with several."""
    if sources[members[0]].place.name is not None or len(members) == 1:
        return [members]
    by_commit: dict[str | None, list[int]] = {}
    for place in members:
        by_commit.setdefault(sources[place].commit, []).append(place)
    seeds = Counter(sources[place].seed for place in members)
    groups = [members] if max(seeds.values()) == 1 else list(by_commit.values())
    if len(groups) == 1 and len(by_commit) > 1:
        notes.append(f"the seeds of {sources[members[0]].title} were run at {len(by_commit)} states of the code")
    return [_one_of_each_seed(sources, group, notes) for group in groups]


def _one_of_each_seed(sources: Sequence[Source], members: list[int], notes: list[str]) -> list[int]:
    latest: dict[int | None, int] = {}
    for place in members:
        known = latest.get(sources[place].seed)
        if known is not None:
            first, second = sources[known], sources[place]
            if not (first.place.chosen or second.place.chosen):
                raise InputError(
                    f"{first.place.told} and {second.place.told} have the same configuration, seed and code; name "
                    f"one of them, or keep all runs apart with --each-seed"
                )
            left = first if second.place.chosen <= first.place.chosen else second
            notes.append(f"{left.shown} has the same configuration and seed as another run; left out")
            if left is second:
                continue
        latest[sources[place].seed] = place
    return sorted(latest.values())


def _names(sources: Sequence[Source], groups: Sequence[Sequence[int]]) -> list[str]:
    """A name for each model: its own, with the settings in which it differs from those of the same name."""
    firsts = [sources[members[0]] for members in groups]
    titles = [source.place.name or source.title for source in firsts]
    configs = [{key: value for key, value in one.config.items() if key not in NOT_CONFIGURATION} for one in firsts]
    names = list(titles)
    for title in dict.fromkeys(titles):
        alike = [place for place, name in enumerate(titles) if name == title]
        told = _most_telling([configs[place] for place in alike]) if len(alike) > 1 else []
        several_seeds = len({firsts[place].seed for place in alike}) > 1
        each_one = several_seeds and all(len(groups[place]) == 1 for place in alike)
        for place in alike:
            seed = [f"seed {firsts[place].seed}"] if each_one else []
            names[place] = " ".join([title, *_settings(configs[place], told), *seed])[:_LENGTH]
    count = Counter(names)
    for place, source in enumerate(firsts):
        if count[names[place]] > 1:
            names[place] = f"{names[place]} ({source.place.path.name})"
    count = Counter(names)
    return [f"{name} #{place + 1}" if count[name] > 1 else name for place, name in enumerate(names)]


def _most_telling(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The paths of some settings in which the configurations differ."""
    group = {name: place for place, name in enumerate(_FIRST)}
    return sorted(_unlike(configs), key=lambda path: (group.get(path[0], len(group)), path))[:_DIFFERENCES]


def _settings(config: Mapping[str, Any], paths: Sequence[tuple[str, ...]]) -> list[str]:
    """The settings at these paths, as `lr=0.001`."""
    said = []
    for path in paths:
        value: Any = config
        for key in path:
            value = value.get(key, {})
        said.append(f"{path[-1]}={_value_text(value)}")
    return said


def _unlike(configs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The paths of the settings in which they differ; of what is made by another function, or of nothing, the whole."""
    for key in sorted({key for config in configs for key in config}):
        values = [config.get(key, {}) for config in configs]
        if all(repr(value) == repr(values[0]) for value in values):
            continue
        groups = [value for value in values if isinstance(value, Mapping) and value]
        if len(groups) == len(values) and len({str(value.get("_target_")) for value in groups}) == 1:
            yield from ((key, *below) for below in _unlike(groups))
        else:
            yield (key,)


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        made = str(value.get("_target_") or "").rpartition(".")[2]
        value = made or ([key for key in value if key != "_target_"] or "none")
    if isinstance(value, list):
        more = [f"+{len(value) - _ITEMS}"] if len(value) > _ITEMS else []
        value = ",".join([*map(str, value[:_ITEMS]), *more])
    return str(value).replace(" ", "")[:_VALUE_LENGTH]

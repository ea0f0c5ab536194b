"""What training minimises: the mean over studies, over groups, or the loss of the worst group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError, check_kinds, check_least

if TYPE_CHECKING:  # made when the config is read: a bad setting should be told before torch is imported
    import torch

Total = Callable[["torch.Tensor"], "torch.Tensor"]
_CHOICES = (*GROUP_COLUMNS, "label")
_NOT_REPORTED = "Not Reported"
_MOST_GROUPS = 100  # a continuous label, or an id, would make one of each study


class Session(Protocol):
    """An algorithm at work on the studies of one training part."""

    groups: Mapping[str, int]

    def order(self, generator: "torch.Generator") -> "torch.Tensor":
        """The studies of an epoch, by row, as many as there are."""

    def loss(self, losses: "torch.Tensor", rows: "torch.Tensor", total: "Total") -> "torch.Tensor":
        """From the loss of each study of a batch what is minimised, times the number of studies.

        Of several ranks each has some of the batch, and gives its part of the sum. total: sums over ranks.
        """

    def state(self) -> dict[str, "torch.Tensor"]:
        """What a resumed run has to know."""

    def load(self, state: Mapping[str, "torch.Tensor"]) -> None:
        """Go on from a `state`."""


class Algorithm(Protocol):
    """A choice of the group `algorithm`."""

    def begin(self, studies: pd.DataFrame, device: "torch.device") -> Session:
        """Start on these studies (columns `GROUP_COLUMNS` and label)."""


@dataclass(frozen=True, kw_only=True)
class Erm:
    """Empirical risk minimisation: every study counts alike."""

    def begin(self, studies: pd.DataFrame, device: "torch.device") -> Session:
        """Start on these studies."""
        return _Plain(len(studies))


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Every group is drawn equally often, its studies with replacement. by: the columns that make a group."""

    by: Sequence[str] = field(default_factory=lambda: ["label"])

    def __post_init__(self) -> None:
        _check_columns(self)

    def begin(self, studies: pd.DataFrame, device: "torch.device") -> Session:
        """Start on these studies.

        Raises:
            InputError: nearly as many groups as studies.
        """
        return _ByGroup(_groups(studies, self.by))


@dataclass(frozen=True, kw_only=True)
class GroupDro:
    """Group distributionally robust optimisation: groups with a high loss gain weight.

    Groups are drawn equally often. step_size: of the exponentiated gradient step of the groups' weights.
    Source: Sagawa et al., ICLR 2020, arXiv 1911.08731, algorithm 1, with a batch of several groups a step.
    """

    by: Sequence[str] = field(default_factory=lambda: ["sex", "label"])
    step_size: float = 0.01

    def __post_init__(self) -> None:
        _check_columns(self)
        check_least(self, "algorithm", step_size=0)

    def begin(self, studies: pd.DataFrame, device: "torch.device") -> Session:
        """Start on these studies.

        Raises:
            InputError: a single group, or nearly as many groups as studies.
        """
        groups = _groups(studies, self.by)
        if groups.nunique() < 2:
            raise InputError(
                f"algorithm.by is {list(self.by)}, but all training studies are of one group ({groups.iloc[0]}); "
                f"give columns that differ, or algorithm=erm"
            )
        return _Robust(groups, self.step_size, device)


class _Plain:
    def __init__(self, count: int) -> None:
        self.groups: Mapping[str, int] = {}
        self._count = count

    def order(self, generator: "torch.Generator") -> "torch.Tensor":
        import torch

        return torch.randperm(self._count, generator=generator)

    def loss(self, losses: "torch.Tensor", rows: "torch.Tensor", total: "Total") -> "torch.Tensor":
        return losses.sum()

    def state(self) -> dict[str, "torch.Tensor"]:
        return {}

    def load(self, state: Mapping[str, "torch.Tensor"]) -> None:
        """Nothing to know."""


class _ByGroup(_Plain):
    def __init__(self, groups: pd.Series) -> None:
        import torch

        super().__init__(len(groups))
        codes, names = pd.factorize(groups, sort=True)
        sizes = pd.Series(codes).value_counts().sort_index()
        self.groups = {str(name): int(size) for name, size in zip(names, sizes, strict=True)}
        self._of_row = torch.from_numpy(codes.astype("int64"))
        self._weights = 1.0 / torch.from_numpy(sizes.to_numpy().astype("float64"))[self._of_row]

    def order(self, generator: "torch.Generator") -> "torch.Tensor":
        import torch

        return torch.multinomial(self._weights, self._count, replacement=True, generator=generator)


class _Robust(_ByGroup):
    def __init__(self, groups: pd.Series, step_size: float, device: "torch.device") -> None:
        import torch

        super().__init__(groups)
        self._step_size = step_size
        self._of_row = self._of_row.to(device)
        self._share = torch.full((len(self.groups),), 1 / len(self.groups), device=device)

    def loss(self, losses: "torch.Tensor", rows: "torch.Tensor", total: "Total") -> "torch.Tensor":
        import torch

        group = self._of_row[rows.to(self._of_row.device)]
        sums = torch.zeros_like(self._share).index_add(0, group, losses)
        counts = torch.zeros_like(self._share).index_add(0, group, torch.ones_like(losses))
        counts = total(counts)
        each = counts.clamp_min(1)  # where the batch has none of a group, its mean is 0 and its weight stays
        means = total(sums) / each
        # Less the highest, which divides out: so that no step is too large for an exponential.
        raised = self._share * torch.exp(self._step_size * (means - means.max()))
        self._share = raised / raised.sum()
        return (self._share * sums / each).sum() * counts.sum()

    def state(self) -> dict[str, "torch.Tensor"]:
        return {"share": self._share}

    def load(self, state: Mapping[str, "torch.Tensor"]) -> None:
        self._share = state["share"].to(self._share.device)


def check_groups(algorithm: Algorithm, kind: str, *, class_weight: str) -> None:
    """Refuse groups by label where a label is no group, or where classes are weighed already.

    Raises:
        InputError: naming what to give instead.
    """
    if "label" not in getattr(algorithm, "by", ()):
        return
    if kind == "regression":
        raise InputError(
            "algorithm.by holds label, but the label of this task is a quantity, and each value would be a group; give "
            "columns such as algorithm.by=[sex], or algorithm=erm"
        )
    if class_weight == "balanced":
        raise InputError(
            "training.class_weight is balanced and algorithm.by holds label: a rare class would count twice; give "
            "training.class_weight=none, or algorithm=erm"
        )


def _groups(studies: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """The group of each study: its answers joined by ` / `; what was not reported is a group of its own."""
    answers = [
        studies[name].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value), na_action="ignore")
        for name in by
    ]
    groups = pd.concat(answers, axis=1).astype("object").fillna(_NOT_REPORTED).agg(" / ".join, axis=1)
    if groups.nunique() > _MOST_GROUPS:
        raise InputError(
            f"algorithm.by is {list(by)}, which makes {groups.nunique()} groups of the training studies; "
            f"give columns that make at most {_MOST_GROUPS}"
        )
    return groups


def _check_columns(algorithm: Any) -> None:
    check_kinds(algorithm, "algorithm")
    unknown = [name for name in algorithm.by if name not in _CHOICES]
    if unknown or not algorithm.by:
        raise InputError(f"algorithm.by is {list(algorithm.by)}; it must be a list of some of {', '.join(_CHOICES)}")

"""Networks that read a clinical table."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # a bad setting should be told before torch takes seconds to import
    from torch import nn

HIDDEN = (64, 32)


def mlp(*, num_outputs: int, num_features: int, hidden: Sequence[int] = HIDDEN, dropout: float = 0.1) -> "nn.Module":
    """Fully connected layers: table float32 (batch, feature) of `datasets.clinical_table.Encoder` -> logits.

    hidden: sizes of the layers between; [] makes it a logistic (linear, Cox ...) regression. There are no batch
    statistics, so that a study is scored alike whatever else is in its batch.

    Raises:
        InputError: a setting that makes no network.
    """
    check_table_layers(hidden, dropout)
    from torch import nn

    layers = table_layers(num_features, hidden, dropout)
    return nn.Sequential(*layers, nn.Linear(hidden[-1] if hidden else num_features, num_outputs))


def check_table_layers(hidden: Sequence[int], dropout: float) -> None:
    """Refuse sizes or a dropout of which no layers can be made.

    Raises:
        InputError: naming the setting.
    """
    is_list = isinstance(hidden, Sequence) and not isinstance(hidden, str)
    if not is_list or not all(type(size) is int and size >= 1 for size in hidden):
        raise InputError(
            f"model.hidden is {hidden!r}; it must be a list of whole numbers of at least 1, [] for none between"
        )
    check_share("dropout", dropout)


def check_share(name: str, value: float) -> None:
    """Refuse what is no probability below 1.

    Raises:
        InputError: naming the setting.
    """
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise InputError(f"model.{name} is {value!r}; it must be a number of at least 0 and below 1")


def table_layers(num_features: int, hidden: Sequence[int], dropout: float) -> "nn.Sequential":
    """The hidden layers alone: (batch, num_features) -> (batch, hidden[-1])."""
    from torch import nn

    sizes = [num_features, *hidden]
    return nn.Sequential(
        *(
            layer
            for before, after in pairwise(sizes)
            for layer in (nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
        )
    )

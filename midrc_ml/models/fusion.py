"""Networks that read an image and a clinical table."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from midrc_ml.errors import InputError
from midrc_ml.models.clinical import HIDDEN, check_share, check_table_layers, table_layers

if TYPE_CHECKING:  # a bad setting should be told before torch takes seconds to import
    from torch import nn


def fusion(
    *,
    num_outputs: int,
    num_features: int,
    image: Callable[..., "nn.Module"],
    image_features: int = 64,
    hidden: Sequence[int] = HIDDEN,
    dropout: float = 0.1,
    table_dropout: float = 0.2,
) -> "nn.Module":
    """Late fusion: (images, table float32 (batch, feature)) -> logits of what the two branches say together.

    image: an image network, made with num_outputs=image_features. hidden, dropout: of the table's layers. Both ends
    are joined by one linear layer. table_dropout: the share of studies whose whole table is withheld in training, so
    that a study without one can be scored too.

    Raises:
        InputError: a setting that makes no network.
    """
    check_table_layers(hidden, dropout)
    check_share("table_dropout", table_dropout)
    if type(image_features) is not int or image_features < 1:
        raise InputError(f"model.image_features is {image_features!r}; it must be a whole number of at least 1")
    if not callable(image):
        raise InputError(
            f"model.image is {image!r}; it must be an image network with _partial_: true, as in configs/model"
        )
    branch = image(num_outputs=image_features)
    from torch import nn

    from midrc_ml.models.late_fusion import LateFusion

    size = hidden[-1] if hidden else num_features
    return LateFusion(
        image=branch,
        table=table_layers(num_features, hidden, dropout),
        head=nn.Linear(image_features + size, num_outputs),
        table_size=size,
        table_dropout=table_dropout,
    )

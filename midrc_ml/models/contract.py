"""What a run asks of a network: to be made for a number of outputs, and to give them for what the run reads."""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # a bad setting should be told before torch takes seconds to import
    from torch import nn


def network_of(model: Callable[..., Any], *, num_outputs: int, shapes: Sequence[Sequence[int]]) -> "nn.Module":
    """The network of `model` for these inputs.

    model: called with num_outputs, and with num_features where the run reads a clinical table. shapes: of the inputs
    of one study, in the order in which the network is called with them: an image (channel, row, column) or (channel,
    slice, row, column), a table (feature,), or an image and a table.

    Raises:
        InputError: it reads a clinical table and there is none, or the other way round.
    """
    features = [shape[0] for shape in shapes if len(shape) == 1]
    check_table(model, is_given=bool(features))
    network: nn.Module = model(num_outputs=num_outputs, **({"num_features": features[0]} if features else {}))
    return network


def check_table(model: Callable[..., Any], *, is_given: bool) -> None:
    """Refuse a model that reads a clinical table where none is given, or the other way round."""
    if is_given != ("num_features" in inspect.signature(model).parameters):
        raise InputError(
            "model: it reads no clinical table, but clinical=... gives one; give model=fusion, or mlp, or clinical=none"
            if is_given
            else "model: it reads a clinical table, and clinical=none gives none; give clinical=demographics or another"
        )


def check_dimensions(model: Callable[..., Any], shape: Sequence[int], *, setting: str = "model") -> None:
    """Refuse a network for films where volumes are read, or the other way round, before an image is decoded.

    Told by `spatial_dims`, as MONAI's networks call it; of others the first batch tells. shape: of one image, (channel,
    row, column) or (channel, slice, row, column). setting: the model's place in the config.

    Raises:
        InputError: spatial_dims of the model, or of one that it is made of, is another.
    """
    for name, parameter in inspect.signature(model).parameters.items():
        value = parameter.default
        if name == "spatial_dims" and type(value) is int and value != len(shape) - 1:
            raise InputError(
                f"{setting}: its spatial_dims is {value}, and the images are of {len(shape) - 1} dimensions "
                f"({' x '.join(map(str, shape[1:]))}); give {setting}.spatial_dims={len(shape) - 1}, another model, or "
                f"other images=..."
            )
        if callable(value) and value is not parameter.empty:
            check_dimensions(value, shape, setting=f"{setting}.{name}")


def check_contract(network: "nn.Module", *, num_outputs: int, shapes: Sequence[Sequence[int]]) -> None:
    """Refuse a network that does not turn a batch of inputs into `num_outputs` logits each.

    Raises:
        InputError: it cannot take the inputs, or gives something else.
    """
    import torch

    network.eval()
    given = [(2, *shape) for shape in shapes]
    words = " and ".join(_words(shape) for shape in shapes)
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            output = network(*(torch.zeros(shape, device=device) for shape in given))
    except torch.OutOfMemoryError:  # also a RuntimeError, but not the network's fault
        raise
    # What torch and model libraries raise for a shape; a TypeError is of another number of inputs.
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"model: it cannot take {words} ({said}); give a model of such inputs, or other images=... and "
            f"clinical=..., none where it reads none"
        ) from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
    if shape != (2, num_outputs):
        gives = f"a {type(output).__name__}" if shape is None else f"an output of shape {shape}"
        raise InputError(
            f"model: for {' and '.join(map(str, given))} it gives {gives}; a model must give (2, {num_outputs}) logits"
        )


def _words(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"a table {(2, *shape)}, which is of {shape[0]} features"
    channels = f"{shape[0]} channel{'s' if shape[0] > 1 else ''}"
    sides = " x ".join(map(str, shape[1:]))
    return f"images {(2, *shape)}, which are of {channels} and {sides} {'voxels' if len(shape) > 3 else 'pixels'}"

"""Networks that read one image."""

from typing import TYPE_CHECKING

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # a bad setting should be told before torch and monai take seconds to import
    from torch import nn


def densenet121(*, num_outputs: int, in_channels: int = 1, dropout: float = 0.0) -> "nn.Module":
    """DenseNet-121 of MONAI, without pretrained weights.

    Source: Huang et al., CVPR 2017, arXiv 1608.06993; monai.networks.nets.DenseNet121.

    Raises:
        InputError: a setting that makes no network.
    """
    if type(in_channels) is not int or in_channels < 1:
        raise InputError(f"model.in_channels is {in_channels!r}; it must be a whole number of at least 1")
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise InputError(f"model.dropout is {dropout!r}; it must be a number of at least 0 and below 1")
    from monai.networks.nets import DenseNet121

    return DenseNet121(spatial_dims=2, in_channels=in_channels, out_channels=num_outputs, dropout_prob=dropout)


def check_contract(network: "nn.Module", *, num_outputs: int, size: int) -> None:
    """Refuse a network that does not turn a batch of images into `num_outputs` logits each.

    Raises:
        InputError: it cannot take the images, or gives something else.
    """
    import torch

    network.eval()
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            output = network(torch.zeros(2, 1, size, size, device=device))
    except torch.OutOfMemoryError:  # also a RuntimeError, but not the network's fault
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # what torch and model libraries raise for a shape
        raise InputError(
            f"model: it cannot take images (2, 1, {size}, {size}), which are of 1 channel and {size} x {size} pixels "
            f"({' '.join(str(error).split())}); give a model of such images, or another images.size"
        ) from error
    if tuple(output.shape) != (2, num_outputs):
        raise InputError(
            f"model: for images (2, 1, {size}, {size}) it gives an output of shape {tuple(output.shape)}; "
            f"a model must give (2, {num_outputs}) logits"
        )

"""Networks that read one image."""

from typing import TYPE_CHECKING

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # a bad setting should be told before torch and monai take seconds to import
    from torch import nn


def densenet121(*, num_outputs: int, spatial_dims: int = 2, in_channels: int = 1, dropout: float = 0.0) -> "nn.Module":
    """DenseNet-121 of MONAI for films (spatial_dims=2) or volumes (3), without pretrained weights.

    Source: Huang et al., CVPR 2017, arXiv 1608.06993; monai.networks.nets.DenseNet121.

    Raises:
        InputError: a setting that makes no network.
    """
    if type(in_channels) is not int or in_channels < 1:
        raise InputError(f"model.in_channels is {in_channels!r}; it must be a whole number of at least 1")
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise InputError(f"model.dropout is {dropout!r}; it must be a number of at least 0 and below 1")
    if spatial_dims not in (2, 3):
        raise InputError(f"model.spatial_dims is {spatial_dims!r}; it must be 2 (films) or 3 (volumes)")
    import torch
    from monai.networks.nets import DenseNet121

    network: nn.Module = DenseNet121(
        spatial_dims=spatial_dims, in_channels=in_channels, out_channels=num_outputs, dropout_prob=dropout
    )
    if spatial_dims == 3 and torch.are_deterministic_algorithms_enabled():
        # The gradient of torch's own has no deterministic form on a GPU.
        from midrc_ml.models.pooling import Halved

        for module in network.modules():
            for name, child in module.named_children():
                if isinstance(child, torch.nn.AvgPool3d):
                    setattr(module, name, Halved(child))
    return network

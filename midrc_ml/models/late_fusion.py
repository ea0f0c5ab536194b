"""The module behind `models.fusion`; apart from it, because it needs torch when it is imported."""

import torch
from torch import nn


class LateFusion(nn.Module):
    """Two branches and a layer that joins them.

    A table of zeros is one of which nothing is known (`datasets.clinical_table.Encoder`); a learned vector stands for
    it. While training, whole tables are withheld at random in the same way.
    """

    def __init__(
        self, *, image: nn.Module, table: nn.Module, head: nn.Module, table_size: int, table_dropout: float
    ) -> None:
        """image, table: the branches; table_size: what the table's gives. head: of both, (batch, sum of sizes)."""
        super().__init__()
        self.image = image
        self.table = table
        self.head = head
        self.no_table = nn.Parameter(torch.zeros(table_size))
        self.table_dropout = table_dropout

    def forward(self, images: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Logits (batch, num_outputs)."""
        known = (table != 0).any(dim=1, keepdim=True)
        if self.training and self.table_dropout > 0:
            known = known & (torch.rand(len(table), 1, device=table.device) >= self.table_dropout)
        of_image = self.image(images)
        of_table = self.table(table)
        of_table = torch.where(known, of_table, self.no_table.to(of_table.dtype))
        return torch.as_tensor(self.head(torch.cat([of_image, of_table.to(of_image.dtype)], dim=1)))

"""A batch of windows copied out of contiguous rows, block by block and not row by row."""

from __future__ import annotations

import torch


def blocks(rows: torch.Tensor, first: torch.Tensor, steps: int) -> torch.Tensor:
    """`steps` rows from each of `first` [batch] on; all of them must lie within `rows` [rows, features].

    A window is one run of memory, so each is one copy. Shape [batch, steps, features].
    """
    count, features = rows.shape
    overlapping = rows.as_strided((count - steps + 1, steps * features), (features, 1))
    return overlapping.index_select(0, first).view(len(first), steps, features)


def clear_padding(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Zeroes, in place, the steps of `values` [batch, steps, ...] from each window's length on."""
    steps = values.shape[1]
    short = (lengths < steps).nonzero()[:, 0]
    if len(short):
        padding = torch.arange(steps, device=values.device) >= lengths[short, None]
        values[short] = values[short].masked_fill(padding.view(*padding.shape, *[1] * (values.dim() - 2)), 0)
    return values

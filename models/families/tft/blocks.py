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


def padding(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Which of batch x steps rows lie behind their window's length, counted through. Shape [rows]."""
    short = (lengths < steps).nonzero()[:, 0]
    if not len(short):
        return short
    behind = torch.arange(steps, device=lengths.device) >= lengths[short, None]
    which, step = behind.nonzero(as_tuple=True)
    return short[which] * steps + step


def cleared(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Zeroes, in place, these rows of `values` [batch, steps, features] and gives it back."""
    if len(rows):
        values.flatten(0, 1).index_fill_(0, rows, 0)
    return values

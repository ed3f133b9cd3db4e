"""The order in which samples are visited: a function of seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_SEEDS = 1 << 63


def mixed_seed(*numbers: int) -> int:
    """Return a seed from several numbers; neighbours give unlike seeds."""
    seed = 0x94D049BB133111EB
    for number in numbers:
        seed = ((seed ^ number) * 0x9E3779B97F4A7C15 + 0xBF58476D1CE4E5B9) % _SEEDS
        seed ^= seed >> 29
    return seed


@dataclass(frozen=True)
class SamplingOrder:
    """`count` samples in one permutation per epoch, one epoch after the other, `size` a step.

    A batch may begin in one epoch and end in the next, so every batch is full and every epoch holds every
    sample once. The number of workers that share a batch decides nothing here: each takes those of its series.
    """

    count: int
    seed: int
    size: int

    def epoch(self, number: int) -> torch.Tensor:
        """Return the samples of an epoch, in order. Shape [count]."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, number))
        return torch.randperm(self.count, generator=generator)

    def epoch_position(self, step: int) -> tuple[int, int]:
        """Return the epoch in which step number `step`, from 0, begins, and its samples before that."""
        return divmod(step * self.size, self.count)

    def batches(self, step: int = 0) -> Iterator[torch.Tensor]:
        """Yield the batches from step number `step` on, without end. Shape [size]."""
        epoch, position = self.epoch_position(step)
        remaining = self.epoch(epoch)[position:]
        while True:
            while len(remaining) < self.size:
                epoch += 1
                remaining = torch.cat([remaining, self.epoch(epoch)])
            yield remaining[: self.size]
            remaining = remaining[self.size :]

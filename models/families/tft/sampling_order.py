"""In which order windows are visited: a function of seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_SEEDS = 1 << 63


def mixed_seed(*numbers: int) -> int:
    """A seed from several numbers; neighbours give unlike seeds."""
    found = 0x94D049BB133111EB
    for number in numbers:
        found = ((found ^ number) * 0x9E3779B97F4A7C15 + 0xBF58476D1CE4E5B9) % _SEEDS
        found ^= found >> 29
    return found


@dataclass(frozen=True)
class SamplingOrder:
    """`count` windows in one permutation per epoch, one epoch after the other, `size` a step.

    A batch may begin in one epoch and end in the next, so every batch is full and every epoch holds every
    window once. How many workers share a batch decides nothing here: each takes the windows of its series.
    """

    count: int
    seed: int
    size: int

    def epoch(self, number: int) -> torch.Tensor:
        """The windows of an epoch, in order. Shape [count]."""
        return torch.randperm(
            self.count, generator=torch.Generator().manual_seed(mixed_seed(self.seed, number))
        )

    def epoch_position(self, step: int) -> tuple[int, int]:
        """The epoch in which step number `step`, from 0, begins, and how many of its windows came before."""
        return divmod(step * self.size, self.count)

    def batches(self, step: int = 0) -> Iterator[torch.Tensor]:
        """The batches from step number `step` on, without end. Shape [size]."""
        epoch, taken = self.epoch_position(step)
        left = self.epoch(epoch)[taken:]
        while True:
            while len(left) < self.size:
                epoch += 1
                left = torch.cat([left, self.epoch(epoch)])
            yield left[: self.size]
            left = left[self.size :]

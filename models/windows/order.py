"""In which order windows are visited: a function of seed, epoch and number of workers, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_SEEDS = 1 << 63


@dataclass(frozen=True)
class Order:
    """`count` windows in one permutation per epoch, one epoch after the other, dealt out in turn.

    A step takes `batch_size` windows for each of `world_size` workers; a batch may begin in one epoch and
    end in the next, so every batch is full and every epoch holds every window once, whatever the number of
    workers. Workers with batch b see, together, the batches of one worker with batch b * world_size.
    """

    count: int
    seed: int
    batch_size: int
    world_size: int = 1

    def epoch(self, number: int) -> torch.Tensor:
        """The windows of an epoch, in order. Shape [count]."""
        mixed = (self.seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % _SEEDS
        return torch.randperm(self.count, generator=torch.Generator().manual_seed(mixed))

    def state(self, step: int) -> tuple[int, int]:
        """The epoch in which step number `step`, from 0, begins, and how many of its windows came before."""
        return divmod(step * self.batch_size * self.world_size, self.count)

    def batches(self, rank: int = 0, step: int = 0) -> Iterator[torch.Tensor]:
        """This worker's batches from step number `step` on, without end. Shape [batch_size]."""
        epoch, taken = self.state(step)
        left = self.epoch(epoch)[taken:]
        size = self.batch_size * self.world_size
        while True:
            while len(left) < size:
                epoch += 1
                left = torch.cat([left, self.epoch(epoch)])
            yield left[:size][rank :: self.world_size]
            left = left[size:]

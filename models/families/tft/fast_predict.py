"""The network of one request as a frozen trace: the same operations and bits without Python between them."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from models.families.tft.network import Batch, TftNetwork

_WARM_UP = 3  # calls after which torch has settled on how to run a trace


class FastPredictor:
    """Predicts the quantiles of one series that has a whole encoder of history."""

    def __init__(self, network: TftNetwork, encoder_length: int, h: int) -> None:
        """Trace the network, in a few tenths of a second; its weights must not change afterwards."""
        self._encoder_length = encoder_length
        example = _example(network, encoder_length, h)
        self._names = sorted(example)
        with torch.random.fork_rng(), torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes are meant to become constants
            network(example)  # folds the weights, so that they are constants too
            inputs = self._ordered(example)
            traced = torch.jit.trace(_Positional(network, self._names).eval(), inputs, check_trace=False)  # type: ignore[no-untyped-call]
            self._frozen = torch.jit.freeze(traced)
            for _ in range(_WARM_UP):
                self._frozen(*inputs)

    def fits(self, batch: Batch) -> bool:
        """Return True for one series whose history fills the encoder."""
        lengths = batch["encoder_lengths"]
        return len(lengths) == 1 and int(lengths[0]) == self._encoder_length

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Shape [1, h, quantiles]."""
        quantiles: torch.Tensor = self._frozen(*self._ordered(batch))
        return quantiles

    def _ordered(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return tuple(batch[name] for name in self._names)


class _Positional(nn.Module):
    """The network with positional inputs, as a trace needs them."""

    def __init__(self, network: TftNetwork, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        quantiles: torch.Tensor = self.network(dict(zip(self.names, inputs, strict=True)))
        return quantiles


def _example(network: TftNetwork, encoder_length: int, h: int) -> Batch:
    """Return a batch of zeros for one series, in the shapes and types of a request."""
    sizes = network.sizes
    batch = {"encoder_lengths": torch.tensor([encoder_length])}
    for kind, counts, dtype in (
        ("cont", sizes.reals, torch.float32),
        ("cat", sizes.codes_by_role, torch.int32),
    ):
        static = torch.int64 if kind == "cat" else dtype
        batch[f"static_{kind}"] = torch.zeros(1, counts[0], dtype=static)
        batch[f"encoder_{kind}"] = torch.zeros(1, encoder_length, counts[1] + counts[2], dtype=dtype)
        batch[f"decoder_{kind}"] = torch.zeros(1, h, counts[1] + counts[2], dtype=dtype)
    return batch

"""Training: a fixed number of gradient steps over windows in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from models.tft.encoding import Encoding, Scales
from models.tft.forecaster import TftForecaster
from models.tft.grid import encode
from models.tft.network import QuantileNetwork, quantile_loss
from models.tft.preflight import preflight, shortest_past
from models.tft.windows import Windows
from models.windows.order import Order
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task
from quantis.types.jobs import TftParams

Progress = Callable[[int, float], None]
Precision = Literal["float32", "bfloat16"]

_CLIP = 1.0
_REPORTS = 20


class Worker(Protocol):
    """One of `world_size` processes that train the same network."""

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, on its device, averaging gradients over the workers (DistributedDataParallel)."""
        ...


@dataclass(frozen=True)
class Alone:
    rank: int = 0
    world_size: int = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        return module


def fit(
    snapshot: Snapshot,
    task: Task,
    params: TftParams,
    worker: Worker | None = None,
    progress: Progress | None = None,
    precision: Precision = "float32",
) -> TftForecaster:
    """Train on the snapshot's histories for `params.steps` steps; every worker returns the same model.

    Each worker visits its own share of the windows, `params.batch_size` a step. `progress` hears the step
    and the mean loss since it was last told. `precision` "bfloat16" computes the matrix products in half the
    bits and keeps weights and loss in float32. The same seed gives the same weights on CPU with the same
    number of threads. InvalidInput when no history is long enough for a window.
    """
    worker = worker or Alone()
    encoding = Encoding.learn(snapshot, task)
    scales = Scales.learn(snapshot, encoding)
    windows = Windows.of(encode(snapshot, task, encoding, scales), params.encoder_length, task.h)
    candidates = windows.training_windows(shortest_past(params))
    if not len(candidates):
        raise InvalidInput(preflight(snapshot, task, params).sentence)
    order = Order(len(candidates), params.seed, params.batch_size, worker.world_size)
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        network = QuantileNetwork(params, encoding, task.quantiles)
        module = worker.wrap(network)
        torch.manual_seed(params.seed + 1 + worker.rank)  # dropout differs between workers
        batches = (candidates[places] for places in order.batches(worker.rank))
        _train(module, windows, batches, task, params, progress, precision)
    return TftForecaster(task, params, encoding, scales, network.cpu().eval())


def _train(
    module: nn.Module,
    windows: Windows,
    batches: Iterator[torch.Tensor],
    task: Task,
    params: TftParams,
    progress: Progress | None,
    precision: Precision,
) -> None:
    device = next(module.parameters()).device
    windows = windows.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=params.learning_rate, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, max(2, params.steps))
    every = max(1, params.steps // _REPORTS)
    total = torch.zeros((), device=device)
    module.train()
    for step in range(1, params.steps + 1):
        batch, target = windows.batch(next(batches).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            forecast = module(batch)
        loss = quantile_loss(task.quantiles, forecast.float(), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), _CLIP, foreach=True)
        optimizer.step()
        schedule.step()
        total += loss.detach()
        if progress and (step % every == 0 or step == params.steps):
            progress(step, float(total) / (every if step % every == 0 else step % every))
            total.zero_()

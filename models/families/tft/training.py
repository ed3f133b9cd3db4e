"""Training: a fixed number of gradient steps over windows in an order that the seed decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import torch
from torch import nn

from models.families.tft.checkpoint import TrainingState
from models.families.tft.forecaster import TftForecaster, TrainingLineage
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import QuantileNetwork, pinball
from models.families.tft.preflight import min_context_length, preflight
from models.families.tft.sampling_order import SamplingOrder, mixed_seed
from models.families.tft.shard import TrainingShard
from models.families.tft.shared_encoder import HistoryIndex
from models.families.tft.warm_start import last_timestamp
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task
from quantis.types.job_specs import TftParams

ProgressCallback = Callable[[int, float], None]

_CLIP = 1.0
_REPORTS = 20
_WARM_UP = 0.3  # of the steps
SHORT_SHARE = 0.8  # of the steps, with a short encoder
_RATE, _MAX_RATE = 0.25, 1e-2  # the learning rate of one unit, and the highest


class TrainingWorker(Protocol):
    """A process among the `world_size` that train the same network."""

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module on its device, averaging gradients over the workers (DistributedDataParallel)."""
        ...

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of every worker's values."""
        ...


@dataclass(frozen=True)
class SingleWorker:
    """A training worker without others."""

    rank: int = 0
    world_size: int = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values


@dataclass(frozen=True)
class Checkpointer:
    """Saves the state of training every `every` steps, and reads the latest to go on after a kill."""

    latest: Callable[[], TrainingState | None]
    save: Callable[[TrainingState], object]
    every: int


def fit(
    snapshot: Snapshot,
    task: Task,
    params: TftParams,
    worker: TrainingWorker | None = None,
    *,
    progress: ProgressCallback | None = None,
    checkpointer: Checkpointer | None = None,
    parent: TftForecaster | None = None,
    parent_name: str = "",
) -> TftForecaster:
    """Train on the snapshot's histories for `params.steps` steps; every worker returns the same model.

    A step takes `params.batch_size` windows per worker, those of each worker's own series. The same seed gives
    the same weights on CPU with the same number of threads, whether training was interrupted or not.

    Parameters
    ----------
    progress
        Called with the number of steps done and the mean loss since the last call.
    parent, parent_name
        A model whose weights, inputs and scales go on, and its version.

    Raises
    ------
    InvalidInput
        When no history is long enough for a window.
    """
    worker = worker or SingleWorker()
    if parent:
        encoding, scales = parent.encoding, parent.scales.extended(snapshot, parent.encoding)
    else:
        encoding = InputEncoding.from_snapshot(snapshot, task)
        scales = SeriesScales.from_snapshot(snapshot, encoding)
    histories = HistoryIndex.from_snapshot(snapshot)
    if not histories.window_starts(min_context_length(params), task.h).any():
        raise InvalidInput(preflight(snapshot, task, params).summary)
    shard = TrainingShard.from_snapshot(
        snapshot,
        task,
        params,
        encoding=encoding,
        scales=scales,
        histories=histories,
        worker=(worker.rank, worker.world_size),
    )
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        network = QuantileNetwork(params, encoding, task.quantiles)
        if parent:
            network.load_state_dict(parent.network.state_dict())
        training = _Training(
            worker.wrap(network),
            shard,
            task,
            params,
            worker=worker,
            progress=progress,
            checkpointer=checkpointer,
        )
        training.run()
    lineage = TrainingLineage(trained_until=last_timestamp(snapshot), parent=parent_name)
    return TftForecaster(task, params, encoding, scales, network.cpu().eval(), lineage=lineage)


class _Training:
    def __init__(
        self,
        module: nn.Module,
        shard: TrainingShard,
        task: Task,
        params: TftParams,
        *,
        worker: TrainingWorker,
        progress: ProgressCallback | None,
        checkpointer: Checkpointer | None,
    ) -> None:
        self.module, self.task, self.params, self.worker = module.train(), task, params, worker
        self.progress, self.checkpointer = progress, checkpointer
        self.device = next(module.parameters()).device
        self.phases = training_phases(shard.to(self.device), task.h, params, worker.world_size)
        self.rate = params.learning_rate or min(_MAX_RATE, _RATE / params.hidden_size)
        self.optimizer = torch.optim.Adam(module.parameters(), lr=self.rate, fused=True)
        self.every = max(1, params.steps // _REPORTS)
        self.loss = torch.zeros((), device=self.device)  # since the last report
        self.visited = ""

    def run(self) -> None:
        state = self.checkpointer.latest() if self.checkpointer else None
        if state is not None:
            state.restore(self.module, self.optimizer)
            self.loss += state.loss
            self.visited = state.visited
        resumed_at = state.step if state else 0
        for phase in self.phases:
            first = max(resumed_at, phase.steps.start)
            batches = phase.order.batches(first - phase.steps.start)
            for step, indices in zip(range(first, phase.steps.stop), batches, strict=False):
                torch.manual_seed(mixed_seed(self.params.seed, step, self.worker.rank))  # dropout
                self.loss += self._step(step, phase.shard, indices)
                self.visited = sha256(self.visited.encode() + indices.numpy().tobytes()).hexdigest()
                self._report(step + 1)

    def _step(self, step: int, shard: TrainingShard, indices: torch.Tensor) -> torch.Tensor:
        """Take one gradient step; return its mean loss over all workers. Shape []."""
        batch, target = shard.batch(indices)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bfloat16"):
            forecast = self.module(batch, shard.sharing)
        loss = pinball(self.task.quantiles, forecast.float(), target)
        observed = torch.isfinite(target).sum()
        totals = self.worker.total(
            torch.stack([loss.detach(), observed.to(loss.dtype)])
        )  # loss, observed targets
        self.optimizer.zero_grad()
        # Workers average their gradients: the factor makes that the mean over the observed targets of all of them.
        (loss * (self.worker.world_size / totals[1].clamp_min(1))).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), _CLIP, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = one_cycle(step, self.params.steps) * self.rate
        self.optimizer.step()
        return totals[0] / totals[1].clamp_min(1)

    def _report(self, steps: int) -> None:
        """Call back with the loss, and save the state, where `steps` done are a multiple of theirs, or all."""
        is_last = steps == self.params.steps
        steps_since = steps % self.every or self.every
        reports = is_last or steps_since == self.every
        loss = float(self.loss) if reports else 0.0
        if reports:
            self.loss.zero_()
        if self.checkpointer and self.worker.rank == 0 and (is_last or steps % self.checkpointer.every == 0):
            state = TrainingState.from_training(
                steps, float(self.loss), self.visited, self.module, self.optimizer
            )
            self.checkpointer.save(state)
        if self.progress and reports:
            self.progress(steps, loss / steps_since)


@dataclass(frozen=True)
class TrainingPhase:
    """Consecutive steps, the samples that they visit, and the order of these."""

    steps: range
    shard: TrainingShard
    order: SamplingOrder


def training_phases(shard: TrainingShard, h: int, params: TftParams, workers: int) -> list[TrainingPhase]:
    """Return the phases of a training: a short encoder first, the whole one last.

    A short encoder is most of what decides a forecast, at a fraction of the work. Where the encoder is short
    itself, there is one phase.
    """
    short = short_encoder_length(h, params)
    whole_from = round(SHORT_SHARE * params.steps) if short < params.encoder_length else 0
    planned = ((range(whole_from), shard.ungroup(short)), (range(whole_from, params.steps), shard))
    phases = []
    for steps, phase_shard in planned:
        if len(steps):
            size = max(1, params.batch_size // phase_shard.sharing.origins) * workers
            phases.append(
                TrainingPhase(steps, phase_shard, SamplingOrder(phase_shard.count, params.seed, size))
            )
    return phases


def short_encoder_length(h: int, params: TftParams) -> int:
    """Return the encoder of the first steps: the whole one, where a short one is not much shorter."""
    short = max(2 * h, params.encoder_length // 4)
    return short if params.short_start and 2 * short <= params.encoder_length else params.encoder_length


def one_cycle(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step from 0: up in a third, down to nothing.

    Source: Smith, Super-convergence, 2018; the curve of torch's OneCycleLR, without its momentum.
    """
    peak = max(1.0, _WARM_UP * steps - 1)
    if step <= peak:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / peak)) / 2
    share = (1 + math.cos(math.pi * (step - peak) / max(1.0, steps - 1 - peak))) / 2
    return 4e-6 + (1 - 4e-6) * share

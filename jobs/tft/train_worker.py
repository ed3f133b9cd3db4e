"""The function that a worker of Ray Train runs to train the Temporal Fusion Transformer.

It imports no more than training needs: every worker that starts, or restarts after a kill, imports it first.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import prepare_model

from cluster.machine import BOUNDS
from models.families.tft.checkpoint import CheckpointFolder
from models.families.tft.forecaster import TftForecaster
from models.families.tft.training import Checkpointer, fit
from models.postprocessing.calibration import without_calibration
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import TimedOut

_STATES = 20  # saved in the course of a training


@dataclass(frozen=True)
class ParentModel:
    """A published model, name:version, and its bundle."""

    name: str
    bundle: Path


@dataclass(frozen=True)
class TrainingProgress:
    """Reports training from a worker to the job's events; TimedOut after `until`, in seconds since 1970."""

    team: str
    job: str
    stage: str
    steps: int
    until: float | None = None

    def __call__(self, step: int, loss: float) -> None:
        if self.until is not None and time.time() > self.until:
            raise TimedOut(f"timed out at step {step} of {self.steps}")
        from cluster.backend import Backend

        backend = Backend.from_settings()
        text = f"tft ({self.stage}): step {step} of {self.steps}, loss {loss:.4f}"
        data = {"step": step, "loss": round(loss, 5)}
        backend.jobs.add_event(self.team, self.job, "progress", text, data=data)
        backend.database.close()


def train(config: dict[str, Any]) -> None:
    """Train with the others of the group; rank 0 leaves the bundle in `folder`."""
    torch.set_num_threads(1)
    if config["memory_limit"] is not None and not torch.cuda.is_available():  # CUDA maps more than it takes
        BOUNDS.set(config["memory_limit"])
    worker = _RayWorker()
    snapshot, folder, params = ray.get(config["snapshot"]), config["folder"], config["params"]
    states = CheckpointFolder(folder / "states")
    forecaster = fit(
        snapshot,
        config["task"],
        params,
        worker=worker,
        progress=config["report_progress"] if worker.rank == 0 else None,
        checkpointer=Checkpointer(states.latest, states.save, max(1, params.steps // _STATES)),
        parent=_forecaster(config["parent"]),
        parent_name=config["parent"].name if config["parent"] else "",
    )
    if worker.rank == 0:
        shutil.rmtree(folder / "bundle", ignore_errors=True)  # of a worker that was killed after it
        write_bundle(folder / "bundle", forecaster, snapshot)
    ray.train.report({"done": 1})


def _forecaster(parent: ParentModel | None) -> TftForecaster | None:
    if parent is None:
        return None
    forecaster = without_calibration(read_bundle(parent.bundle))
    assert isinstance(forecaster, TftForecaster)  # `check_warm_start` has checked it
    return forecaster


class _RayWorker:
    """The training loop's view of Ray Train."""

    @property
    def rank(self) -> int:
        rank: int = ray.train.get_context().get_world_rank()
        return rank

    @property
    def world_size(self) -> int:
        size: int = ray.train.get_context().get_world_size()
        return size

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        wrapped: torch.nn.Module = prepare_model(module)
        return wrapped

    def total(self, values: torch.Tensor) -> torch.Tensor:
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

"""Training the Temporal Fusion Transformer on Ray Train's workers, through kills.

`_worker` is all that a training worker runs. Its state is committed to the job's folder as it goes, so that
workers that Ray starts again, or a job that is submitted again, go on where the last whole state is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer, prepare_model

from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs
from cluster.session import SPENT
from cluster.settings import Settings
from jobs.runtime import Context
from models.bundle import read_bundle, write_bundle
from models.calibration import bare
from models.ensemble import Ensemble
from models.forecaster import Forecaster
from models.tft.checkpoint import Checkpoints, fingerprint
from models.tft.continued import continued
from models.tft.forecaster import TftForecaster
from models.tft.preflight import preflight
from models.tft.training import Journal, fit
from quantis.errors import TimedOut
from quantis.panel import Snapshot, Task
from quantis.types.jobs import TftParams, TrainSpec

Hear = Callable[[int, float], None]
_STATES = 20  # kept in the course of a training
_FAILURES = 3


def train_tft(
    context: Context[Any], snapshot: Snapshot, task: Task, what: str, seconds: float | None = None
) -> Forecaster:
    """Train as the job asks, from the weights of its `warm_start` if it names one.

    Ray Train's error, with the reason in it, where it goes on for longer than `seconds`.
    """
    spec = context.spec
    params, parent = spec.tft, None
    if isinstance(spec, TrainSpec) and spec.warm_start is not None:
        version = context.registry.resolve(spec.warm_start)
        parent = Parent(f"{version.model}:{version.version}", context.registry.download(version))
        _, params = continued(bare(read_bundle(parent.bundle)), parent.name, snapshot, task, params)
        context.tell(f"tft ({what}): goes on from {parent.name}")
    report = preflight(snapshot, task, params)
    if report.without_windows:
        context.tell(f"tft ({what}): {report.sentence}", windows=report.totals)
    until = (
        None if seconds is None else time.time() + seconds
    )  # workers on other machines read the clock, too
    hear = Teller(context.team, context.job_id, what, params.steps, until)
    return on_ray(snapshot, task, params, context.folder / what, hear, parent)


def parent_of(forecaster: Forecaster) -> str | None:
    """The version, name:version, that the transformer in it went on from."""
    inner = bare(forecaster)
    members = [bare(one) for _, one in inner.members] if isinstance(inner, Ensemble) else [inner]
    parents = [one.lineage.parent for one in members if isinstance(one, TftForecaster)]
    return next((parent for parent in parents if parent), None)


@dataclass(frozen=True)
class Parent:
    """A published model, name:version, and its bundle."""

    name: str
    bundle: Path


@dataclass(frozen=True)
class Teller:
    """Tells the job's readers how training goes, from a worker; TimedOut after `until`, in seconds since 1970."""

    team: str
    job: str
    what: str
    steps: int
    until: float | None = None

    def __call__(self, step: int, loss: float) -> None:
        if self.until is not None and time.time() > self.until:
            raise TimedOut(f"timed out at step {step} of {self.steps}")
        database = Database(Settings().sql_url)
        text = f"tft ({self.what}): step {step} of {self.steps}, loss {loss:.4f}"
        data = {"step": step, "loss": round(loss, 5)}
        Jobs(database).tell(self.team, self.job, "progress", text, data=data)
        database.close()


def on_ray(
    snapshot: Snapshot,
    task: Task,
    params: TftParams,
    folder: Path,
    hear: Hear | None = None,
    parent: Parent | None = None,
) -> Forecaster:
    """Train on `params.workers` of Ray Train, with states in `folder`; rank 0 calls `hear` as training goes.

    Call it again with the same arguments to go on. Ray Train's own errors say why it gave up.
    """
    own = folder / fingerprint(snapshot, task, params, parent.name if parent else "")
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "snapshot": ray.put(snapshot), "task": task, "params": params, "folder": own, "hear": hear,
            "parent": parent,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=params.workers, resources_per_worker={"CPU": 0.5}, use_gpu=torch.cuda.is_available()
        ),
        run_config=ray.train.RunConfig(
            name=own.name,
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=_FAILURES),
        ),
    )  # fmt: skip
    with SPENT.reserved(0.5 * params.workers, params.workers if torch.cuda.is_available() else 0):
        trainer.fit()
    return read_bundle(own / "bundle")


def _worker(config: dict[str, Any]) -> None:
    """What one training worker runs."""
    torch.set_num_threads(1)
    place = _RayWorker()
    snapshot, folder, params = ray.get(config["snapshot"]), config["folder"], config["params"]
    states = Checkpoints(folder / "states")
    forecaster = fit(
        snapshot, config["task"], params, worker=place,
        progress=config["hear"] if place.rank == 0 else None,
        journal=Journal(states.latest, states.keep, max(1, params.steps // _STATES)),
        parent=_forecaster(config["parent"]), parent_name=config["parent"].name if config["parent"] else "",
    )  # fmt: skip
    if place.rank == 0:
        shutil.rmtree(folder / "bundle", ignore_errors=True)  # of a worker that was killed after it
        write_bundle(folder / "bundle", forecaster, snapshot)
    ray.train.report({"done": 1})


def _forecaster(parent: Parent | None) -> TftForecaster | None:
    if parent is None:
        return None
    found = bare(read_bundle(parent.bundle))
    assert isinstance(found, TftForecaster)  # `continued` has seen to it
    return found


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

"""Training the Temporal Fusion Transformer on Ray Train's workers (`jobs.tft.train_worker`), through kills.

The state of training is committed to the job's folder as it goes, so that workers that Ray starts again, or a
job that is submitted again, go on where the last whole state is.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

from cluster.ray.session import RESOURCE_USAGE
from cluster.settings import look_at_training_often
from jobs.runtime import Context
from jobs.tft.train_worker import ParentModel, ProgressReporter, train
from models.families.ensemble import Ensemble
from models.families.tft.checkpoint import fingerprint
from models.families.tft.forecaster import TftForecaster
from models.families.tft.preflight import preflight
from models.families.tft.training import ProgressCallback
from models.families.tft.warm_start import check_warm_start
from models.forecaster import Forecaster
from models.postprocessing.calibration import without_calibration
from models.registry.bundle import read_bundle
from quantis.panel import Snapshot, Task
from quantis.types.job_specs import TftParams, TrainSpec

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
        parent = ParentModel(f"{version.model}:{version.version}", context.registry.download(version))
        _, params = check_warm_start(
            without_calibration(read_bundle(parent.bundle)), parent.name, snapshot, task, params
        )
        context.tell(f"tft ({what}): goes on from {parent.name}")
    report = preflight(snapshot, task, params)
    if report.without_windows:
        context.tell(f"tft ({what}): {report.summary}", windows=report.totals)
    until = (
        None if seconds is None else time.time() + seconds
    )  # workers on other machines read the clock, too
    report_progress = ProgressReporter(context.team, context.job_id, what, params.steps, until)
    return train_on_ray(snapshot, task, params, context.folder / what, report_progress, parent)


def parent_version(forecaster: Forecaster) -> str | None:
    """The version, name:version, that the transformer in it went on from."""
    inner = without_calibration(forecaster)
    members = (
        [without_calibration(one) for _, one in inner.members] if isinstance(inner, Ensemble) else [inner]
    )
    parents = [one.lineage.parent for one in members if isinstance(one, TftForecaster)]
    return next((parent for parent in parents if parent), None)


def train_on_ray(
    snapshot: Snapshot,
    task: Task,
    params: TftParams,
    folder: Path,
    report_progress: ProgressCallback | None = None,
    parent: ParentModel | None = None,
) -> Forecaster:
    """Train on `params.workers` of Ray Train, with states in `folder`; rank 0 calls `report_progress` as training goes.

    Call it again with the same arguments to go on. Ray Train's own errors say why it gave up.
    """
    look_at_training_often()
    own = folder / fingerprint(snapshot, task, params, parent.name if parent else "")
    trainer = TorchTrainer(
        train,
        train_loop_config={
            "snapshot": ray.put(snapshot), "task": task, "params": params, "folder": own,
            "report_progress": report_progress,
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
    with RESOURCE_USAGE.reserved(0.5 * params.workers, params.workers if torch.cuda.is_available() else 0):
        trainer.fit()
    return read_bundle(own / "bundle")

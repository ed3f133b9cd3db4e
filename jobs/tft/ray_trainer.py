"""Training the Temporal Fusion Transformer on Ray Train's workers (`jobs.tft.train_worker`), through kills.

Training states are committed to the job's folder, so that workers that Ray restarts, or a job that is submitted
again, continue from the last complete state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.train
from ray.train.torch import TorchTrainer

from cluster.machine import BOUNDS
from cluster.ray.session import RESOURCE_USAGE, declared_memory
from cluster.settings import poll_training_often
from jobs.reporter import JobReporter
from jobs.tft.train_worker import ParentModel, TrainingProgress, train
from models.families.ensemble import Ensemble
from models.families.tft.checkpoint import fingerprint
from models.families.tft.forecaster import TftForecaster
from models.families.tft.preflight import preflight
from models.families.tft.training import ProgressCallback
from models.families.tft.warm_start import check_warm_start
from models.forecaster import Forecaster
from models.postprocessing.calibration import without_calibration
from models.registry.bundle import read_bundle
from models.registry.mlflow_registry import Registry
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task
from quantis.types.job_specs import TftParams

_FAILURES = 3
CPUS_PER_WORKER = 0.5


@dataclass(frozen=True)
class TftTrainer:
    """Trains the transformer of one job, from the weights of a parent model if there is one.

    `load_parent` downloads the parent when it is first needed; None without a warm start.
    """

    params: TftParams
    folder: Path
    reporter: JobReporter
    load_parent: Callable[[], ParentModel] | None = None

    def train(self, snapshot: Snapshot, task: Task, stage: str, seconds: float | None = None) -> Forecaster:
        """Train for a stage of the job, such as its backtest.

        Raises Ray Train's error, with the reason in it, if it takes longer than `seconds`.
        """
        params, parent = self.params, None
        if self.load_parent is not None:
            parent = self.load_parent()
            forecaster = without_calibration(read_bundle(parent.bundle))
            _, params = check_warm_start(forecaster, parent.name, snapshot, task, params)
            self.reporter.event(f"tft ({stage}): goes on from {parent.name}")
        fitted = fit_to_gpus(params)
        if fitted != params:
            self.reporter.event(f"tft ({stage}): {fitted.workers} workers, as many as the cluster has GPUs")
        params = fitted
        report = preflight(snapshot, task, params)
        if report.without_windows:
            self.reporter.event(f"tft ({stage}): {report.summary}", windows=report.totals)
        # an absolute time, since the workers run on other machines
        until = None if seconds is None else time.time() + seconds
        progress = TrainingProgress(self.reporter.team, self.reporter.job_id, stage, params.steps, until)
        return train_on_ray(snapshot, task, params, self.folder / stage, progress, parent=parent)


def count_gpus(params: TftParams) -> int:
    """Return the number of workers that have a GPU of the cluster; the driver's own machine does not matter.

    InvalidInput when GPUs are asked for and no node has one.
    """
    if params.use_gpu is False:
        return 0
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if params.use_gpu and not gpus:
        raise InvalidInput(
            "use_gpu is true, and no node of the cluster has a GPU; add a node with one, or leave use_gpu out"
        )
    return min(gpus, params.workers)


def fit_to_gpus(params: TftParams) -> TftParams:
    """Return the parameters with no more workers than GPUs, where there are GPUs, and as many windows a step."""
    gpus = count_gpus(params)
    if gpus in (0, params.workers):
        return params
    windows = min(8192, -(-params.batch_size * params.workers // gpus))
    return params.model_copy(update={"workers": gpus, "batch_size": windows})


def scaling_config(params: TftParams) -> ray.train.ScalingConfig:
    """Return what the workers declare to Ray: CPUs, memory, and a GPU each where the cluster has enough of them."""
    return ray.train.ScalingConfig(
        num_workers=params.workers,
        resources_per_worker={"CPU": CPUS_PER_WORKER, "memory": declared_memory(CPUS_PER_WORKER)},
        use_gpu=0 < params.workers <= count_gpus(params),
    )


def load_parent(registry: Registry, reference: str) -> ParentModel:
    """Download the model version that a reference, name:version or name@alias, means."""
    version = registry.resolve(reference)
    return ParentModel(f"{version.model}:{version.version}", registry.download(version))


def parent_version(forecaster: Forecaster) -> str | None:
    """Return the parent, name:version, of the transformer in a forecaster; None without one."""
    inner = without_calibration(forecaster)
    members = [inner]
    if isinstance(inner, Ensemble):
        members = [without_calibration(member) for _, member in inner.members]
    parents = [member.lineage.parent for member in members if isinstance(member, TftForecaster)]
    return next((parent for parent in parents if parent), None)


def train_on_ray(
    snapshot: Snapshot,
    task: Task,
    params: TftParams,
    folder: Path,
    report_progress: ProgressCallback | None = None,
    *,
    parent: ParentModel | None = None,
) -> Forecaster:
    """Train on `params.workers` of Ray Train, with states in `folder`; rank 0 calls `report_progress` as training goes.

    A second call with the same arguments resumes. Raises Ray Train's own errors.
    """
    poll_training_often()
    scaling = scaling_config(params)
    run_folder = folder / fingerprint(snapshot, task, params, parent.name if parent else "")
    trainer = TorchTrainer(
        train,
        train_loop_config={
            "snapshot": ray.put(snapshot),
            "task": task,
            "params": params,
            "folder": run_folder,
            "report_progress": report_progress,
            "parent": parent,
            "memory_limit": BOUNDS.limit,
        },
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name=run_folder.name,
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=_FAILURES),
        ),
    )
    with RESOURCE_USAGE.reserved(CPUS_PER_WORKER * params.workers, params.workers if scaling.use_gpu else 0):
        trainer.fit()
    return read_bundle(run_folder / "bundle")

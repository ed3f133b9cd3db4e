"""Data of an evaluation: the snapshots, the actual values and the rolling origins of a job."""

from __future__ import annotations

from collections.abc import Mapping

from features.store.snapshots import cutoffs
from jobs.dataset_view import DatasetView
from jobs.evaluation.candidates import EvaluationSetup, count_windows
from models.postprocessing.reconciliation import Hierarchy, HierarchySnapshots
from quantis.panel import Snapshot, SnapshotProvider, Task
from quantis.types.job_specs import EvaluationSpec


def build_setup(
    view: DatasetView,
    spec: EvaluationSpec,
    task: Task,
    families: Mapping[str, str],
    hierarchy: Hierarchy | None = None,
) -> tuple[EvaluationSetup, Snapshot]:
    """Return the setup that a job's candidates are evaluated on, and the latest snapshot."""
    current = view.snapshots(task)
    last = view.last_cutoff(task)
    latest = current(last)
    vintage = spec.backtest_mode != "plain"
    provider: SnapshotProvider = view.vintage_snapshots(task) if vintage else current
    origins = cutoffs(last, task, count_windows(spec, task, latest.history), spec.step_size or task.h)
    history = latest.history
    if hierarchy is not None:
        provider = HierarchySnapshots(provider, hierarchy)
        history = hierarchy.add_nodes(latest).history
    setup = EvaluationSetup(task, provider, history, tuple(origins), spec.refit, hierarchy, families)
    return setup, latest

"""Forecasts of many series: blocks of them as tasks, an entry for each series whatever happens to its block."""

from __future__ import annotations

from cluster.ray.session import Executor
from models.arrays import split_series
from models.forecaster import Forecaster
from models.prediction import fallback
from models.prediction.fallback import ForecastEntry
from quantis.panel import Snapshot, Task

SERIES_PER_BLOCK = 250


def forecast(
    forecaster: Forecaster,
    snapshot: Snapshot,
    task: Task,
    executor: Executor,
    *,
    size: int = SERIES_PER_BLOCK,
    steps: int | None = None,
) -> list[ForecastEntry]:
    """Return an entry per series in the snapshot's order, with its method and reason (`models.prediction.fallback`).

    A block whose task dies is forecast here without the model.
    """
    parts = split_series(snapshot, size)
    if len(parts) == 1:
        return fallback.forecast(forecaster, snapshot, task, steps=steps)
    results = executor.map(_forecast_block, (forecaster, task, steps), parts)
    entries: list[ForecastEntry] = []
    for part, result in zip(parts, results, strict=True):
        if isinstance(result, Exception):
            result = fallback.forecast(None, part, task, steps=steps)
        entries += result
    return entries


def _forecast_block(shared: tuple[Forecaster, Task, int | None], part: Snapshot) -> list[ForecastEntry]:
    forecaster, task, steps = shared
    return fallback.forecast(forecaster, part, task, steps=steps)

"""Forecasts of many series: blocks of them as tasks, an entry for each series whatever happens to its block."""

from __future__ import annotations

from cluster.session import Executor
from models import ladder
from models.forecaster import Forecaster
from models.ladder import Entry
from models.series import blocks
from quantis.panel import Snapshot, Task

SERIES_PER_BLOCK = 250


def forecast(
    forecaster: Forecaster,
    snapshot: Snapshot,
    task: Task,
    executor: Executor,
    size: int = SERIES_PER_BLOCK,
    steps: int | None = None,
) -> list[Entry]:
    """One entry per series in the snapshot's order, each with its rung and reason; see `models.ladder`.

    A block whose task dies is forecast here without the model.
    """
    parts = blocks(snapshot, size)
    if len(parts) == 1:
        return ladder.forecast(forecaster, snapshot, task, steps=steps)
    answers = executor.map(_block, (forecaster, task, steps), parts)
    found: list[Entry] = []
    for part, answer in zip(parts, answers, strict=True):
        if isinstance(answer, Exception):
            answer = ladder.forecast(None, part, task, steps=steps)
        found += answer
    return found


def _block(shared: tuple[Forecaster, Task, int | None], part: Snapshot) -> list[Entry]:
    forecaster, task, steps = shared
    return ladder.forecast(forecaster, part, task, steps=steps)

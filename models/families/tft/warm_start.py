"""Warm start: the conditions under which training may go on from a model's weights."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow.compute as pc

from models.families.tft.forecaster import TftForecaster
from models.forecaster import Forecaster
from quantis.errors import Conflict
from quantis.panel import DS, Snapshot, Task
from quantis.types.job_specs import TftParams


def last_timestamp(snapshot: Snapshot) -> datetime | None:
    """Return the last `ds` of a snapshot's histories, in UTC."""
    last = pc.max(snapshot.history[DS]).as_py()
    return None if last is None else last.astimezone(UTC)


def check_warm_start(
    parent: Forecaster, name: str, snapshot: Snapshot, task: Task, params: TftParams
) -> tuple[TftForecaster, TftParams]:
    """Return the parent, and the parameters with its sizes: a network goes on as wide as it is.

    Raises
    ------
    Conflict
        When the parent is of another family, has other inputs or quantiles, or was trained on data after the
        snapshot, which would be a leak.
    """
    if not isinstance(parent, TftForecaster):
        raise Conflict(f"{name} is of family {parent.family!r}; a warm start needs a tft, or leave it out")
    for label, parent_value, value in (
        ("quantiles", parent.task.quantiles, task.quantiles),
        ("roles", parent.task.roles, task.roles),
        ("frequency", parent.task.freq, task.freq),
        ("horizon", parent.task.h, task.h),
    ):
        if parent_value != value:
            raise Conflict(
                f"{name} has {label} {parent_value}, this job has {value}; make them agree, or train anew"
            )
    trained_until, last = parent.lineage.trained_until or parent.task.as_of, last_timestamp(snapshot)
    if last is None:
        raise Conflict(f"{name} cannot go on from a snapshot without history")
    if trained_until > last:
        raise Conflict(
            f"{name} has seen data until {trained_until:%Y-%m-%d %H:%M}, a training until {last:%Y-%m-%d %H:%M} "
            "must not go on from it: what it would be judged on is known to it; bring newer data, or judge on "
            "fewer windows"
        )
    sizes = ("hidden_size", "attention_heads", "encoder_length")
    return parent, params.model_copy(update={size: getattr(parent.params, size) for size in sizes})

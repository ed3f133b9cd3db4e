"""Small snapshots with known structure: a daily and weekly rhythm, a schedule, a static category."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch

from quantis.frequency import Frequency
from quantis.panel import Snapshot, Task, timestamps
from quantis.types.datasets import Roles

START = np.datetime64("2013-03-01T00:00", "us")
ROLES = Roles(futr_exog=("scheduled",), hist_exog=("temp",), stat_exog=("carrier",), categorical=("carrier",))


def _task(h: int = 24, **changes: object) -> Task:
    values = {
        "dataset": "toy", "version": 1, "content_hash": "0" * 64, "as_of": datetime(2014, 1, 1, tzinfo=UTC),
        "freq": "h", "h": h, "roles": ROLES, "season_lengths": (24, 168), "time_zone": "America/New_York",
        "holidays": "US",
    }  # fmt: skip
    return Task.model_validate(values | changes)


def _values(rows: int, level: float, noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    hours = np.arange(rows)
    day = 1 + np.sin(2 * np.pi * hours / 24)
    week = np.where(hours // 24 % 7 >= 5, 0.5, 1.0)
    scheduled = np.round(level * day * week + noise.normal(0, 0.1 * level, rows)).clip(0)
    return scheduled, (scheduled * 0.9 + noise.normal(0, 0.05 * level, rows)).clip(0)


def _snapshot(task: Task, lengths: dict[str, int], seed: int = 0) -> tuple[Snapshot, pa.Table]:
    """A snapshot whose histories all end at the same hour, and the actuals that followed."""
    noise = np.random.default_rng(seed)
    longest, freq = max(lengths.values()), Frequency.parse("h")
    grid = freq.grid(START, freq.shift(np.array([START]), longest + task.h - 1)[0])
    history, future, actuals = [], [], []
    for index, unique_id in enumerate(sorted(lengths)):
        scheduled, y = _values(longest + task.h, 10.0 * (index + 1), noise)
        temp = 15 + noise.normal(0, 3, len(y))
        past, ahead = slice(longest - lengths[unique_id], longest), slice(longest, longest + task.h)
        history.append(_rows(unique_id, grid[past], y=y[past], temp=temp[past], scheduled=scheduled[past]))
        future.append(_rows(unique_id, grid[ahead], scheduled=scheduled[ahead]))
        actuals.append(_rows(unique_id, grid[ahead], y=y[ahead]))
    ids = sorted(lengths)
    static = pa.table({"unique_id": ids, "carrier": [f"c{i % 3}" for i in range(len(ids))]})
    snapshot = Snapshot(pa.concat_tables(history), pa.concat_tables(future), static)
    return snapshot, pa.concat_tables(actuals)


def _rows(unique_id: str, ds: np.ndarray, **columns: np.ndarray) -> pa.Table:
    keys = {"unique_id": pa.array([unique_id] * len(ds), pa.string()), "ds": timestamps(ds)}
    return pa.table(keys | {name: pa.array(values, pa.float64()) for name, values in columns.items()})


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks train faster on one thread, and the same sums come out everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_task() -> Callable[..., Task]:
    return _task


@pytest.fixture(scope="session")
def make_snapshot() -> Callable[..., tuple[Snapshot, pa.Table]]:
    return _snapshot

"""The sets of the accuracy benchmarks, as snapshots: how each is split stands in the data's own README.

A series' histories end where its own test begins; where there are several origins they follow each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.store.snapshots import cutoffs, snapshot_at
from jobs.evaluation import candidates
from quantis.frequency import Frequency
from quantis.panel import DS, ID, TIMESTAMP, Panel, Snapshot, Task, Y
from quantis.types.datasets import Roles
from quantis.types.job_specs import EvaluationSpec


@dataclass(frozen=True)
class Trial:
    """A data set: its task, and for each of its test origins the snapshot and the actuals that followed."""

    name: str
    task: Task
    panel: Panel
    tests: tuple[np.datetime64, ...]

    def snapshot(self, cutoff: np.datetime64) -> Snapshot:
        return snapshot_at(self.panel, cutoff, self.task)

    def before(self, spans: int) -> Trial:
        """Return the same set, `spans` test spans earlier."""
        steps = spans * len(self.tests) * self.task.h
        return replace(self, tests=tuple(self.task.frequency.shift(np.array(self.tests), -steps)))

    def before_test(self, now: Snapshot) -> candidates.EvaluationSetup:
        """Return the rolling origins that a training job would take from `now`, on which families are evaluated."""
        windows = candidates.count_windows(
            EvaluationSpec(dataset=self.name, h=self.task.h), self.task, now.history
        )
        origins = cutoffs(self.tests[0], self.task, windows, self.task.h)
        return candidates.EvaluationSetup(self.task, self.snapshot, now.history, tuple(origins))

    @property
    def actuals(self) -> pa.Table:
        return self.panel.target.select([ID, DS, Y])


def folder() -> Path:
    path = os.environ.get("QUANTIS_BENCH_DATA")
    if not path:
        raise SystemExit("QUANTIS_BENCH_DATA is unset: name the folder of the benchmark data")
    return Path(path)


def _trial(
    name: str, frame: pd.DataFrame, freq: str, h: int, origins: int = 1, futr: Sequence[str] = (),
    hist: Sequence[str] = (), static: Sequence[str] = (), categorical: Sequence[str] = (),
    seasons: tuple[int, ...] | None = None,
) -> Trial:  # fmt: skip
    numbers = [c for c in (*futr, *hist, *static) if c not in categorical]
    frame = frame.astype(dict.fromkeys((ID, *categorical), str) | dict.fromkeys(numbers, float)).sort_values(
        [ID, DS]
    )
    last = frame[DS].max()
    frame[DS] += last - frame.groupby(ID)[DS].transform("max")
    table = pa.table(
        {
            c: pa.array(
                frame[c], TIMESTAMP if c == DS else pa.string() if c in (ID, *categorical) else pa.float64()
            )
            for c in (ID, DS, Y, *hist, *futr, *static)
        }
    )
    task = Task(
        dataset=name, version=1, content_hash="0" * 64, as_of=datetime.now(UTC), freq=freq, h=h,
        roles=Roles(
            futr_exog=tuple(futr), hist_exog=tuple(hist), stat_exog=tuple(static), categorical=tuple(categorical)
        ),
        season_lengths=seasons or Frequency.parse(freq).season_lengths,
    )  # fmt: skip
    first = (
        table.group_by(ID, use_threads=False).aggregate([(c, "first") for c in static]) if static else None
    )
    statics = pa.table({ID: pc.unique(table[ID])})
    if first is not None:
        statics = pa.table({ID: first[ID], **{c: first[f"{c}_first"] for c in static}}).sort_by(ID)
    panel = Panel(table.select([ID, DS, Y, *hist]), table.select([ID, DS, *futr]), statics)
    end = np.datetime64(last, "us")
    back = h * np.arange(origins, 0, -1)
    tests = task.frequency.shift(np.full(origins, end, "datetime64[us]"), -back)
    return Trial(name, task, panel, tuple(tests))


def rossmann() -> Trial:
    frame = pd.read_parquet(folder() / "rossmann_a.parquet")
    static = ["store_type", "assortment", "competition_distance", "promo2"]
    return _trial(
        "rossmann_a", frame, "D", 42, futr=["open", "promo", "state_holiday", "school_holiday"],
        hist=["customers"], static=static, categorical=["state_holiday", "store_type", "assortment"],
    )  # fmt: skip


def m4_hourly() -> Trial:
    parts = [pd.read_parquet(folder() / f"m4_hourly_{part}.parquet") for part in ("train", "test")]
    return _trial("m4_hourly", pd.concat([part.astype({ID: str}) for part in parts]), "h", 48)


def gefcom() -> Trial:
    frame = pd.read_parquet(folder() / "gefcom2012_load_z01_10.parquet")
    return _trial("gefcom", frame, "h", 24, origins=28, futr=["temp_mean"])


_EVENTS = [
    "easter_day", "good_friday", "new_year", "christmas", "labor_day", "independence_day",
    "revolution_day_memorial", "regional_games", "fifa_u_17_world_cup", "football_gold_cup", "beer_capital",
    "music_fest",
]  # fmt: skip


def stallion() -> Trial:
    frame = pd.read_parquet(folder() / "stallion.parquet")
    return _trial(
        "stallion", frame, "MS", 6,
        futr=["price_regular", "price_actual", "discount", "discount_in_percent", *_EVENTS],
        hist=["industry_volume", "soda_volume", "avg_max_temp"],
        static=["agency", "sku", "avg_population_2017", "avg_yearly_household_income_2017"],
        categorical=["agency", "sku"],
    )  # fmt: skip


def epf() -> Trial:
    frame = pd.read_parquet(folder() / "epf_price_exog.parquet")
    return _trial("epf", frame, "h", 24, origins=7, futr=["Exogenous1", "Exogenous2"])


def tourism() -> Trial:
    frame = pd.read_parquet(folder() / "tourism_hier.parquet")
    columns = ["state", "region", "purpose"]
    return _trial("tourism", frame, "QS", 8, static=columns, categorical=columns)


SETS: dict[str, Callable[[], Trial]] = {
    "rossmann_a": rossmann,
    "m4_hourly": m4_hourly,
    "gefcom": gefcom,
    "stallion": stallion,
    "epf": epf,
    "tourism": tourism,
}
"""Sets on which accuracy is compared."""


def _series_of_file(file: str, freq: str, h: int, origins: int = 1) -> Callable[[], Trial]:
    def load() -> Trial:
        frame = pd.read_parquet(folder() / f"{file}.parquet", columns=[ID, DS, Y])
        return _trial(file, frame, freq, h, origins)

    return load


MORE: dict[str, Callable[[], Trial]] = {
    "pedestrians": _series_of_file("pedestrian_utc", "h", 24, origins=14),
    "etth1": _series_of_file("etth1", "h", 24, origins=14),
    "retail": _series_of_file("aus_retail", "MS", 12),
}
"""Others, on which nothing is compared."""

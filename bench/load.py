"""The held-out accuracy of the TFT benchmarks: a year of the hourly load of ten zones, then four weeks.

GEFCom 2012's zones with the temperature known in advance; q-risk is the pinball loss of all quantiles, twice,
over the sum of the loads, on a window of 24 hours from each midnight of the four weeks and each zone. Settings are
chosen on the year's last eight weeks, after a training on those before (`bench.tft_settings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.oracle.panel import TimeSeriesLayout
from bench.request import PAST, QUANTILES, H
from models.arrays import floats
from models.families.tft.forecaster import TftForecaster
from quantis.panel import DS, ID, Snapshot, Task, Y
from quantis.types.arrays import Floats
from quantis.types.datasets import Roles

ROLES = Roles(futr_exog=("temp",), stat_exog=("zone",), categorical=("zone",))
LAYOUT = TimeSeriesLayout(
    "t", "y", "id", PAST, PAST, H, H, ("zone",), (), ("hour", "weekday"), ("temp",), unknown_reals=("y",),
    add_encoder_length=False,
)  # fmt: skip


@dataclass(frozen=True)
class Weeks:
    """Hours from `first` to before `end` that are forecast after a training on all before."""

    first: int
    end: int

    @property
    def origins(self) -> range:
        return range(self.first, self.end, H)


HELD_OUT = Weeks(52 * 168, 56 * 168)
BEFORE = Weeks(44 * 168, 52 * 168)


def load(folder: Path) -> pd.DataFrame:
    """id, zone, t (hours from 0), ds, y, temp, hour, weekday; the year and the held-out weeks."""
    frame = pd.read_parquet(folder / "gefcom2012_load_z01_10.parquet")
    frame["id"] = frame["unique_id"].astype(str)
    temperature = next(c for c in frame.columns if c.startswith("temp"))
    frame["temp"] = frame[temperature].astype(float)
    parts = []
    for name, rows in frame.sort_values(["id", "ds"]).groupby("id", sort=True):
        last = rows.dropna(subset=["y"]).tail(HELD_OUT.end)
        parts.append(last.assign(zone=str(name), t=np.arange(HELD_OUT.end)))
    found = pd.concat(parts, ignore_index=True)
    found["hour"], found["weekday"] = found["ds"].dt.hour.astype(str), found["ds"].dt.dayofweek.astype(str)
    return found[["id", "zone", "t", "ds", "y", "temp", "hour", "weekday"]]


def task() -> Task:
    return Task(
        dataset="load", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H, roles=ROLES,
        quantiles=QUANTILES,
    )  # fmt: skip


def snapshot(frame: pd.DataFrame, origin: int) -> Snapshot:
    """What is known before hour `origin`."""

    def table(rows: pd.DataFrame, columns: list[str]) -> pa.Table:
        times = pa.array(rows["ds"].to_numpy().astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
        return pa.table({ID: rows["id"].tolist(), DS: times} | {c: rows[c].to_numpy() for c in columns})

    history = frame[frame["t"] < origin]
    future = frame[(frame["t"] >= origin) & (frame["t"] < origin + H)]
    ids = sorted(frame["id"].unique())
    return Snapshot(table(history, [Y, "temp"]), table(future, ["temp"]), pa.table({ID: ids, "zone": ids}))


def actuals(frame: pd.DataFrame, weeks: Weeks = HELD_OUT) -> Floats:
    """Shape [origins, zones x h]."""
    return np.stack([
        frame[(frame["t"] >= o) & (frame["t"] < o + H)]["y"].to_numpy(np.float64) for o in weeks.origins
    ])  # fmt: skip


def forecasts(model: TftForecaster, frame: pd.DataFrame, weeks: Weeks = HELD_OUT) -> Floats:
    """Shape [origins, zones x h, quantiles]."""
    found = []
    for origin in weeks.origins:
        recent = frame[frame["t"] >= origin - model.context_length]
        answer = model.predict(snapshot(recent, origin))
        found.append(np.column_stack([floats(answer[f"q{q:g}"]) for q in QUANTILES]))
    return np.stack(found)


def q_risk(found: Floats, y: Floats) -> float:
    """`found` [..., quantiles] against `y` [...]."""
    levels = np.array(QUANTILES)
    errors = y[..., None] - found
    return float(2 * np.maximum(levels * errors, (levels - 1) * errors).mean(-1).sum() / np.abs(y).sum())

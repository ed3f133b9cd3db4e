"""`python -m bench.features`: the design frame's columns against coreforecast, polars and pandas.

Rows per CPU-second: 3 lags, 4 rolling statistics and 3 calendar fields of hourly series of 10,000 steps.
The values are compared with pandas before anything is timed. Peers run on one thread; polars is left
out where it is not installed (`make bench` does). Peak memory is what one design of as many rows adds
to a fresh process that holds the input, over the bytes of the columns that it computes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from coreforecast.grouped_array import GroupedArray

from bench.harness import arguments, installed, interleaved, report
from features.design.design_frame import FeatureSpec, design
from features.rolling.dispatch import COMPILED_FROM, warm_up
from features.rolling.terms import Rolling
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps

H, LAGS, WINDOWS = 24, (24, 48, 168), (24, 168)
SERIES_LENGTH = 10_000


def panel(rows: int) -> Snapshot:
    """Hourly series of 10,000 steps each; random numbers, since only the speed is asked for."""
    count = rows // SERIES_LENGTH
    y = np.random.default_rng(0).gamma(2.0, 10.0, (count, SERIES_LENGTH))
    names = pa.array([f"s{number:06}" for number in range(count)])
    times = np.datetime64("2020-01-01", "us") + np.arange(SERIES_LENGTH) * np.timedelta64(1, "h")
    history = pa.table(
        {
            ID: names.take(pa.array(np.repeat(np.arange(count), SERIES_LENGTH))),
            DS: timestamps(np.tile(times, count)),
            Y: y.ravel(),
        }
    )
    return Snapshot(history, history.select([ID, DS]).slice(0, 0), pa.table({ID: names}))


def specification() -> tuple[Task, FeatureSpec]:
    """3 lags, 4 rolling statistics and 3 calendar fields of an hourly panel."""
    task = Task(dataset="bench", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H)
    spec = FeatureSpec(
        h=H, lags=LAGS, rolling=tuple(Rolling(window=window, statistics=("mean", "std")) for window in WINDOWS),
        calendar=("hour", "weekday", "month"),
    )  # fmt: skip
    return task, spec


def ours(snapshot: Snapshot) -> Callable[[], pa.Table]:
    task, spec = specification()
    return lambda: design(snapshot, task, spec)


def systems(snapshot: Snapshot) -> dict[str, Callable[[], Any]]:
    frame = snapshot.history.to_pandas()
    found = {
        "quantis": ours(snapshot),
        "coreforecast": lambda: _coreforecast(grouped, frame),
        "pandas": lambda: _pandas(frame),
    }
    grouped = GroupedArray(
        frame[Y].to_numpy(), np.arange(0, len(frame) + 1, SERIES_LENGTH, dtype=np.int32), num_threads=1
    )
    if installed("polars"):
        found["polars"] = _polars(snapshot)
    return found


def _coreforecast(grouped: GroupedArray, frame: pd.DataFrame) -> pd.DataFrame:
    found = {f"y_lag{lag}": grouped._lag(lag) for lag in LAGS}
    for window in WINDOWS:
        found[f"y_mean{window}"] = grouped._rolling_mean(H, window, window)
        found[f"y_std{window}"] = grouped._rolling_std(H, window, window)
    return pd.DataFrame(found | _calendar(frame[DS]))


def _pandas(frame: pd.DataFrame) -> pd.DataFrame:
    y = frame.groupby(ID, observed=True, sort=False)[Y]
    shifted = y.shift(H)
    found = {f"y_lag{lag}": y.shift(lag) for lag in LAGS}
    for window in WINDOWS:
        rolling = shifted.groupby(frame[ID], observed=True, sort=False).rolling(window)
        found[f"y_mean{window}"] = rolling.mean().droplevel(0)
        found[f"y_std{window}"] = rolling.std().droplevel(0)
    return pd.DataFrame(found | _calendar(frame[DS]))


def _polars(snapshot: Snapshot) -> Callable[[], Any]:
    """The fastest of the ways tried: expressions in groups whose keys are known to be sorted."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl

    frame = pl.from_arrow(snapshot.history).with_columns(pl.col(ID).set_sorted())
    y, ds = pl.col(Y), pl.col(DS).dt
    columns = [y.shift(lag).alias(f"y_lag{lag}") for lag in LAGS]
    for window in WINDOWS:
        columns.append(y.shift(H).rolling_mean(window).alias(f"y_mean{window}"))
        columns.append(y.shift(H).rolling_std(window).alias(f"y_std{window}"))
    columns += [ds.hour().alias("cal_hour"), ds.weekday().alias("cal_weekday"), ds.month().alias("cal_month")]
    return lambda: frame.group_by(ID, maintain_order=True).agg(*columns).explode(pl.exclude(ID))


def _calendar(ds: pd.Series) -> dict[str, np.ndarray]:
    index = pd.DatetimeIndex(ds)
    return {"cal_hour": index.hour, "cal_weekday": index.weekday, "cal_month": index.month}


def worst_difference(snapshot: Snapshot) -> float:
    """The largest relative difference between ours and pandas over all features."""
    runs = systems(snapshot)
    mine, theirs = runs["quantis"]().to_pandas(), runs["pandas"]()
    worst = 0.0
    for name in theirs.columns:
        a, b = mine[name].to_numpy(float), theirs[name].to_numpy(float)
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return np.inf
        apart = np.abs(a - b) / np.maximum(1.0, np.abs(b))
        worst = max(worst, float(np.nanmax(apart)))
    return worst


def own_memory(rows: int) -> float:
    """Peak memory that a design adds over the bytes of its columns; for a process of its own."""
    run = ours(panel(rows))
    warm_up()  # machine code is no memory of the data
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    frame = run()
    return (_resident("VmHWM") - before) / sum(frame[name].nbytes for name in frame.column_names[3:])


def cold_start() -> dict[str, float]:
    """Seconds to import and load the compiled pass from disk, in a process of its own."""
    started = time.perf_counter()
    warm_up()
    return {"load_compiled_s": time.perf_counter() - started}


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _apart(call: str) -> Any:
    code = f"import json; from bench import features; print(json.dumps(features.{call}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    options = arguments(__doc__)
    rows = 1_000_000 if options.quick else 10_000_000
    difference = max(worst_difference(panel(size)) for size in (100_000, COMPILED_FROM))
    if not difference <= 1e-6:
        raise SystemExit(f"the features differ from pandas' by {difference}; nothing is timed")
    seconds = interleaved(systems(panel(rows)), rounds=3)
    rates = {name: round(rows / value) for name, value in seconds.items()}
    mine = rates.pop("quantis")
    report(
        "features",
        {"rows_per_cpu_second": mine, "peak_memory_over_output": round(_apart(f"own_memory({rows})"), 3)}
        | {name: round(value, 2) for name, value in _apart("cold_start()").items()}, rates,
        {f"vs_{name}": mine / rate for name, rate in rates.items()},
        {"largest_difference_from_pandas": difference}, options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()

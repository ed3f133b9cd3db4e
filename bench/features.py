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
    """Return hourly series of 10,000 steps each; random numbers, since only the speed is measured."""
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
    """Return 3 lags, 4 rolling statistics and 3 calendar fields of an hourly panel."""
    task = Task(dataset="bench", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H)
    rolling = tuple(Rolling(window=window, statistics=("mean", "std")) for window in WINDOWS)
    spec = FeatureSpec(h=H, lags=LAGS, rolling=rolling, calendar=("hour", "weekday", "month"))
    return task, spec


def quantis_design(snapshot: Snapshot) -> Callable[[], pa.Table]:
    task, spec = specification()
    return lambda: design(snapshot, task, spec)


def systems(snapshot: Snapshot) -> dict[str, Callable[[], Any]]:
    """Return the call to time of each system."""
    frame = snapshot.history.to_pandas()
    grouped = GroupedArray(
        frame[Y].to_numpy(), np.arange(0, len(frame) + 1, SERIES_LENGTH, dtype=np.int32), num_threads=1
    )
    systems: dict[str, Callable[[], Any]] = {
        "quantis": quantis_design(snapshot),
        "coreforecast": lambda: _coreforecast(grouped, frame),
        "pandas": lambda: _pandas(frame),
    }
    if installed("polars"):
        systems["polars"] = _polars(snapshot)
    return systems


def _coreforecast(grouped: GroupedArray, frame: pd.DataFrame) -> pd.DataFrame:
    columns = {f"y_lag{lag}": grouped._lag(lag) for lag in LAGS}
    for window in WINDOWS:
        columns[f"y_mean{window}"] = grouped._rolling_mean(H, window, window)
        columns[f"y_std{window}"] = grouped._rolling_std(H, window, window)
    return pd.DataFrame(columns | _calendar(frame[DS]))


def _pandas(frame: pd.DataFrame) -> pd.DataFrame:
    y = frame.groupby(ID, observed=True, sort=False)[Y]
    shifted = y.shift(H)
    columns = {f"y_lag{lag}": y.shift(lag) for lag in LAGS}
    for window in WINDOWS:
        rolling = shifted.groupby(frame[ID], observed=True, sort=False).rolling(window)
        columns[f"y_mean{window}"] = rolling.mean().droplevel(0)
        columns[f"y_std{window}"] = rolling.std().droplevel(0)
    return pd.DataFrame(columns | _calendar(frame[DS]))


def _polars(snapshot: Snapshot) -> Callable[[], Any]:
    """Return the fastest of the ways tried: expressions in groups whose keys are known to be sorted."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl
    from polars import selectors

    frame = pl.DataFrame(snapshot.history).with_columns(pl.col(ID).set_sorted())
    y, ds = pl.col(Y), pl.col(DS).dt
    columns = [y.shift(lag).alias(f"y_lag{lag}") for lag in LAGS]
    for window in WINDOWS:
        columns.append(y.shift(H).rolling_mean(window).alias(f"y_mean{window}"))
        columns.append(y.shift(H).rolling_std(window).alias(f"y_std{window}"))
    columns += [ds.hour().alias("cal_hour"), ds.weekday().alias("cal_weekday"), ds.month().alias("cal_month")]
    return lambda: frame.group_by(ID, maintain_order=True).agg(*columns).explode(selectors.exclude(ID))


def _calendar(ds: pd.Series) -> dict[str, np.ndarray]:
    index = pd.DatetimeIndex(ds)
    return {"cal_hour": index.hour, "cal_weekday": index.weekday, "cal_month": index.month}


def worst_difference(snapshot: Snapshot) -> float:
    """Return the largest relative difference between Quantis and pandas over all features."""
    runs = systems(snapshot)
    frame, expected = runs["quantis"]().to_pandas(), runs["pandas"]()
    worst = 0.0
    for name in expected.columns:
        a, b = frame[name].to_numpy(float), expected[name].to_numpy(float)
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return float("inf")
        difference = np.abs(a - b) / np.maximum(1.0, np.abs(b))
        worst = max(worst, float(np.nanmax(difference)))
    return worst


def peak_memory(rows: int) -> float:
    """Return the peak memory that a design adds over the bytes of its columns; for a process of its own."""
    run = quantis_design(panel(rows))
    warm_up()  # machine code is no memory of the data
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    frame = run()
    output = sum(int(frame[name].nbytes) for name in frame.column_names[3:])
    return (_resident("VmHWM") - before) / output


def cold_start() -> dict[str, float]:
    """Return the seconds to import and load the compiled pass from disk; for a process of its own."""
    started = time.perf_counter()
    warm_up()
    return {"load_compiled_s": time.perf_counter() - started}


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _in_new_process(call: str) -> Any:
    code = f"import json; from bench import features; print(json.dumps(features.{call}))"
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


def main() -> None:
    options = arguments(__doc__)
    rows = 1_000_000 if options.quick else 10_000_000
    difference = max(worst_difference(panel(size)) for size in (100_000, COMPILED_FROM))
    if not difference <= 1e-6:
        raise SystemExit(f"the features differ from pandas' by {difference}; nothing is timed")
    seconds = interleaved(systems(panel(rows)), rounds=3)
    rates = {name: round(rows / value) for name, value in seconds.items()}
    quantis_rate = rates.pop("quantis")
    memory = _in_new_process(f"peak_memory({rows})")
    start = {name: round(value, 2) for name, value in _in_new_process("cold_start()").items()}
    report(
        "features",
        {"rows_per_cpu_second": quantis_rate, "peak_memory_over_output": round(memory, 3)} | start,
        rates,
        {f"vs_{name}": quantis_rate / rate for name, rate in rates.items()},
        {"largest_difference_from_pandas": difference},
        options.json,
    )


if __name__ == "__main__":
    main()

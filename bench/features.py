"""`python -m bench.features`: the design frame's lags and rolling statistics against coreforecast and pandas.

Rows per CPU-second, one thread: 3 lags, 4 rolling statistics and 3 calendar fields of hourly series.
The values are compared with pandas before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from coreforecast.grouped_array import GroupedArray

from bench.harness import arguments, interleaved, report
from features.pipeline import FeatureSpec, Rolling, design
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


def systems(snapshot: Snapshot) -> dict[str, Callable[[], pd.DataFrame]]:
    task = Task(dataset="bench", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H)
    spec = FeatureSpec(
        h=H, lags=LAGS, rolling=tuple(Rolling(window=window, statistics=("mean", "std")) for window in WINDOWS),
        calendar=("hour", "weekday", "month"),
    )  # fmt: skip
    frame = snapshot.history.to_pandas()
    grouped = GroupedArray(
        frame[Y].to_numpy(), np.arange(0, len(frame) + 1, SERIES_LENGTH, dtype=np.int32), num_threads=1
    )

    def ours() -> pd.DataFrame:
        return design(snapshot, task, spec)

    def coreforecast() -> pd.DataFrame:
        found = {f"y_lag{lag}": grouped._lag(lag) for lag in LAGS}
        for window in WINDOWS:
            found[f"y_mean{window}"] = grouped._rolling_mean(H, window, window)
            found[f"y_std{window}"] = grouped._rolling_std(H, window, window)
        return pd.DataFrame(found | _calendar(frame[DS]))

    def pandas() -> pd.DataFrame:
        y = frame.groupby(ID, observed=True, sort=False)[Y]
        shifted = y.shift(H)
        found = {f"y_lag{lag}": y.shift(lag) for lag in LAGS}
        for window in WINDOWS:
            rolling = shifted.groupby(frame[ID], observed=True, sort=False).rolling(window)
            found[f"y_mean{window}"] = rolling.mean().droplevel(0)
            found[f"y_std{window}"] = rolling.std().droplevel(0)
        return pd.DataFrame(found | _calendar(frame[DS]))

    return {"quantis": ours, "coreforecast": coreforecast, "pandas": pandas}


def _calendar(ds: pd.Series) -> dict[str, np.ndarray]:
    index = pd.DatetimeIndex(ds)
    return {"cal_hour": index.hour, "cal_weekday": index.weekday, "cal_month": index.month}


def worst_difference(snapshot: Snapshot) -> float:
    """The largest relative difference between ours and pandas over all features."""
    runs = systems(snapshot)
    mine, theirs = runs["quantis"]().to_pandas(), runs["pandas"]()
    worst = 0.0
    for name in (column for column in theirs.columns if column.startswith("y_")):
        a, b = mine[name].to_numpy(float), theirs[name].to_numpy(float)
        both = np.isfinite(a) & np.isfinite(b)
        worst = max(worst, float(np.max(np.abs(a[both] - b[both]) / np.maximum(1.0, np.abs(b[both])))))
    return worst


def main() -> None:
    options = arguments(__doc__)
    rows = 1_000_000 if options.quick else 10_000_000
    difference = worst_difference(panel(100_000))
    if difference > 1e-6:
        raise SystemExit(f"the features differ from pandas' by {difference}; nothing is timed")
    seconds = interleaved(systems(panel(rows)), rounds=3)
    rates = {name: round(rows / value) for name, value in seconds.items()}
    ours = rates.pop("quantis")
    report(
        "features", {"rows_per_cpu_second": ours}, rates,
        {f"vs_{name}": ours / rate for name, rate in rates.items()},
        {"largest_difference_from_pandas": difference}, options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()

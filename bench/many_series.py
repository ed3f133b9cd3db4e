"""`python -m bench.many_series`: many short series, preset fast, as Ray tasks over blocks, against statsforecast alone.

10,000 daily series of 200 points, 14 steps ahead, seven quantiles (`--quick`: 500 series). The cheap
statistical family of the preset, Theta, forecasts every series through Ray, with an entry per series that
says which method answered and why; statsforecast alone forecasts them with the same model on as many
processes. A hundredth of the series are broken on purpose: empty, constant, or with three points. The
sides alternate by rounds, and the ratio is the median of the rounds'. What Ray takes to start, and the
first call of both, are apart. Then boosting, the preset's other family, is fitted on all of them and
forecasts them the same way.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import ray

from bench.harness import arguments, report
from cluster.ray.session import RayExecutor
from jobs import batch_forecast
from models.arrays import keep_series
from models.families.boosting.model import Boosting
from models.families.theta import Theta
from models.forecaster import Forecaster
from models.prediction.fallback import ForecastEntry
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps

LENGTH, H, SEASON = 200, 14, 7
LEVELS = [50, 80, 95]
START = np.datetime64("2024-01-01", "us")
BROKEN = 100  # one series of so many


def panel(count: int) -> tuple[Task, Snapshot]:
    """Levels, weekly rhythms and walks drawn at random; every hundredth series is broken in one of three ways."""
    rng = np.random.default_rng(0)
    week = np.sin(np.arange(LENGTH) / SEASON * 2 * np.pi)
    y = rng.gamma(3, 20, (count, 1)) * (1 + 0.3 * week) + rng.normal(0, 1, (count, LENGTH)).cumsum(axis=1)
    for index in range(0, count, BROKEN):
        y[index] = np.nan if index % 300 == 0 else 5.0
        if index % 300 == 200:
            y[index, : LENGTH - 3] = np.nan
    names = pa.array([f"s{number:05}" for number in range(count)])
    days = START + np.arange(LENGTH + H) * np.timedelta64(1, "D")

    def keys(times: Any) -> dict[str, Any]:
        rows = np.repeat(np.arange(count), len(times))
        return {ID: names.take(pa.array(rows)), DS: timestamps(np.tile(times, count))}

    history = pa.table(keys(days[:LENGTH]) | {Y: pa.array(y.ravel(), from_pandas=True)})
    task = Task(
        dataset="bench",
        version=1,
        content_hash="",
        as_of=datetime.now(UTC),
        freq="D",
        h=H,
        season_lengths=(SEASON,),
    )
    return task, Snapshot(history, pa.table(keys(days[LENGTH:])), pa.table({ID: names}))


def intact_frame(snapshot: Snapshot) -> pd.DataFrame:
    """Return the intact series as a frame, since statsforecast fails on the broken ones."""
    names = snapshot.static[ID].to_pylist()
    intact = keep_series(snapshot, [name for index, name in enumerate(names) if index % BROKEN])
    frame = intact.history.to_pandas()
    frame[DS] = frame[DS].dt.tz_localize(None)
    return frame


def through_ray(forecaster: Forecaster, snapshot: Snapshot, task: Task) -> list[ForecastEntry]:
    return batch_forecast.forecast(forecaster, snapshot, task, RayExecutor(cpus=1))


def peer_forecast(frame: pd.DataFrame, cores: int) -> pd.DataFrame:
    from statsforecast import StatsForecast
    from statsforecast.models import Theta as Model

    return StatsForecast([Model(season_length=SEASON)], freq="D", n_jobs=cores).forecast(
        df=frame, h=H, level=LEVELS
    )


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def _ray(cores: int) -> None:
    """Ray's workers would run at niceness 15; the peer's processes do not, which tells on a shared machine."""
    ray.init(
        address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )  # fmt: skip


def main() -> None:
    options = arguments(__doc__)
    count, cores = 500 if options.quick else 10_000, os.cpu_count() or 1
    task, snapshot = panel(count)
    frame, theta = intact_frame(snapshot), Theta(task)
    startup, _ = seconds(lambda: _ray(cores))
    few = keep_series(snapshot, snapshot.static[ID].to_pylist()[: 2 * cores])
    first, _ = seconds(lambda: batch_forecast.forecast(theta, few, task, RayExecutor(cpus=1), size=2))
    peer_forecast(frame.head(4 * LENGTH), 1)
    own_seconds, peer_seconds = [], []
    entries: list[ForecastEntry] = []
    for _ in range(3):
        elapsed, entries = seconds(lambda: through_ray(theta, snapshot, task))
        own_seconds.append(elapsed)
        peer_seconds.append(seconds(lambda: peer_forecast(frame, cores))[0])
    fitted, boosting = seconds(lambda: Boosting.fit(snapshot, task))
    boosted, boosting_entries = seconds(lambda: through_ray(boosting, snapshot, task))
    ray.shutdown()
    assert [entry.unique_id for entry in entries] == snapshot.static[ID].to_pylist()
    rates = (
        [count / elapsed for elapsed in own_seconds],
        [frame[ID].nunique() / elapsed for elapsed in peer_seconds],
    )
    report(
        "many_series",
        {
            "theta_series_per_second": round(median(rates[0]), 1),
            "boosting_series_per_second": round(count / (fitted + boosted), 1),
            "boosting_fit_s": round(fitted, 1),
            "boosting_forecast_s": round(boosted, 1),
            "ray_startup_s": round(startup, 1),
            "first_tasks_s": round(first, 1),
        },
        {"statsforecast_theta": round(median(rates[1]), 1)},
        {"vs_statsforecast": median(rate / peer_rate for rate, peer_rate in zip(*rates, strict=True))},
        {
            "series": count,
            "rounds": [round(elapsed, 1) for elapsed in own_seconds],
            "peer_rounds": [round(elapsed, 1) for elapsed in peer_seconds],
            "theta_methods": Counter(str(entry.method) for entry in entries),
            "boosting_methods": Counter(str(entry.method) for entry in boosting_entries),
            "reasons": Counter(str(entry.reason) for entry in entries if entry.reason),
        },
        options.json,
    )


if __name__ == "__main__":
    main()

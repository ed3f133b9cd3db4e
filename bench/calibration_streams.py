"""Streams of conformity scores: simulated ones whose law changes, and panels replayed with a seasonal naive.

A score is the distance of an actual from the forecast in half widths of its 80 % interval, as calibrated
before the stream began: without adaptation the interval covers what scores at most 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from quantis.types.arrays import Floats

COVERAGE = 0.8
_FITTED = 0.4  # share of a panel that the intervals come from
_OF_DIFFERENT_YEARS = frozenset({"m4_hourly_train", "epf_price_exog"})
"""Panels whose series are compared by their last steps."""


@dataclass(frozen=True)
class Stream:
    """Scores [origins, series, steps], NaN where there is no actual; an origin every so many steps of time."""

    name: str
    scores: Floats
    every: int


@dataclass(frozen=True)
class Cadence:
    """Series, steps of time, horizon, and steps between origins."""

    series: int
    times: int
    h: int = 1
    every: int = 1


@dataclass(frozen=True)
class Replay:
    """A panel, its season, horizon, steps between origins, and the number of the last origins to take."""

    panel: str
    season: int
    h: int
    every: int
    last: int = 6000


CADENCES = (
    Cadence(1, 8000),
    Cadence(1, 8000, 12, 12),
    Cadence(20, 1500),
    Cadence(100, 300),
    Cadence(100, 600, 7, 7),
)


@dataclass(frozen=True)
class Law:
    """The errors' mean and deviation over the stream's time from 0 to 1."""

    mean: Callable[[Floats], Floats] = np.zeros_like
    deviation: Callable[[Floats], Floats] = np.ones_like


LAWS = {
    "stationary": Law(),
    "level shift": Law(mean=lambda time: np.where(time > 1 / 3, 1.5, 0.0)),
    "variance doubled": Law(deviation=lambda time: np.where(time > 1 / 3, 2**0.5, 1.0)),
    "deviation doubled": Law(deviation=lambda time: np.where(time > 1 / 3, 2.0, 1.0)),
    "slow drift of level": Law(mean=lambda time: 2 * time),
    "slow drift of deviation": Law(deviation=lambda time: 1 + time),
}
REPLAYS = (
    Replay("aus_retail", 12, 1, 1),
    Replay("rossmann_a", 14, 1, 1),
    Replay("gefcom2012_load_z01_10", 24, 1, 1),
    Replay("gefcom2012_load_z01_10", 24, 24, 24, 300),
    Replay("etth1", 24, 1, 1),
    Replay("etth1", 24, 24, 24, 300),
    Replay("pedestrian_utc", 168, 1, 1),
    Replay("pedestrian_utc", 168, 24, 24, 300),
    Replay("epf_price_exog", 24, 24, 24),
    Replay("m4_hourly_train", 24, 1, 1),
    Replay("stallion", 12, 1, 1),
    Replay("tourism_hier", 4, 4, 1),
)


def simulated(law: str, cadence: Cadence, seed: int = 0) -> Stream:
    """Draw independent normal errors whose mean and deviation follow a law."""
    times = np.arange(cadence.times + cadence.h)
    time = np.minimum(times / cadence.times, 1.0)
    mean, deviation = LAWS[law].mean(time), LAWS[law].deviation(time)
    noise = np.random.default_rng(seed).standard_normal((len(times), cadence.series))
    errors = np.abs(noise * deviation[:, None] + mean[:, None])
    width = ndtri((1 + COVERAGE) / 2)
    name = f"{law}, {cadence.series} series, {cadence.h} steps every {cadence.every}"
    scores = [errors[index] / width for index in _step_times(cadence.times, cadence.h, cadence.every)]
    return Stream(name, np.stack(scores, axis=-1), cadence.every)


def replayed(replay: Replay) -> Stream:
    """Forecast a panel by its last season, with quantiles of the residuals of its first two fifths."""
    y = _panel(replay.panel)  # [times, series]
    fitted = int(len(y) * _FITTED)
    columns = []
    for step, index in enumerate(_step_times(len(y) - fitted, replay.h, replay.every)):
        lag = replay.season * -(-(step + 1) // replay.season)
        errors = np.full_like(y, np.nan)
        errors[lag:] = np.abs(y[lag:] - y[:-lag])
        width = np.full(y.shape[1], np.nan)
        some = np.isfinite(errors[:fitted]).sum(axis=0) >= 10
        width[some] = np.nanquantile(errors[:fitted, some], COVERAGE, axis=0)
        columns.append(errors[fitted + index] / np.where(width > 0, width, np.nan))
    scores = np.stack(columns, axis=-1)[-replay.last :]
    return Stream(f"{replay.panel}, {replay.h} steps every {replay.every}", scores, replay.every)


def streams(names: Collection[str], quick: bool) -> Iterator[Stream]:
    """Yield the streams of these laws and panels; a quick run has one cadence of the laws and no panels."""
    for law in filter(names.__contains__, LAWS):
        for cadence in CADENCES[:1] if quick else CADENCES:
            yield simulated(law, cadence)
    if not quick and "QUANTIS_BENCH_DATA" in os.environ:
        for replay in REPLAYS:
            if replay.panel in names:
                yield replayed(replay)


def _step_times(times: int, h: int, every: int) -> Iterator[np.ndarray]:
    """Yield the times of each step of the horizon, for all origins. Shape [origins]."""
    origins = np.arange((times - h) // every) * every
    for step in range(h):
        yield origins + step


def _panel(name: str) -> Floats:
    """Return y [times, series], NaN where missing; shops that are closed have no sales to forecast."""
    path = Path(os.environ["QUANTIS_BENCH_DATA"]) / f"{name}.parquet"
    frame = pd.read_parquet(path)
    if "open" in frame:
        frame.loc[frame["open"] == 0, "y"] = np.nan
    if name in _OF_DIFFERENT_YEARS:
        series = [group["y"].to_numpy(float) for _, group in frame.groupby("unique_id", observed=True)]
        length = min(len(y) for y in series)
        return np.stack([y[-length:] for y in series], axis=1)
    return frame.pivot(index="ds", columns="unique_id", values="y").to_numpy(float)

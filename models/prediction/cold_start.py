"""Cold start: the forecast of a series without any value, from the other series of its panel."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from models.arrays import each_series
from models.prediction.fallback import ForecastEntry
from quantis.errors import InvalidInput
from quantis.panel import ID, Snapshot, Task
from quantis.types.arrays import Floats
from quantis.types.base import Cell
from quantis.types.forecasts import ForecastMethod, Reason

MAX_PEERS = 200
"""Series that a forecast is made from: enough for a distribution, few enough for a request."""
_MIN_SIMILAR = 3
_SEASONS = 4


def sample_peers(names: Collection[str]) -> list[str]:
    """Return the series to read: all, or an even sample of them in the order of their ids."""
    ordered = sorted(names)
    if len(ordered) <= MAX_PEERS:
        return ordered
    return [ordered[index] for index in np.linspace(0, len(ordered) - 1, MAX_PEERS).astype(int)]


def typical_forecast(
    peers: Snapshot, task: Task, unique_id: str, start: np.datetime64 | None, static: Mapping[str, Cell]
) -> ForecastEntry | None:
    """Return the distribution of the peers' values at each step; None where they have no value either.

    The values of the peers at the same phase of their latest seasons are one distribution: its mean, and
    its quantiles. Where three or more peers share most of `static`, they alone count. The forecast begins
    at `start`, or one step after the peers' end.
    """
    season = max(task.season_lengths)
    similar = _similar_series(peers, static)
    panel = list(each_series(peers))
    series = [each for each in panel if each.unique_id in similar and each.observed]
    if not series:
        return None
    after = max(each.ds[0] for each in panel)
    offset = 0 if start is None else _steps_to(start, after, task, unique_id)
    times = task.frequency.range(after if start is None else start, task.h)
    phases = np.mod(offset + np.arange(task.h), season)  # [h]
    late = [task.frequency.steps_between(each.ds[0], np.array([after]))[0] for each in series]
    seasons = [_latest_seasons(each.y, int(steps), season) for each, steps in zip(series, late, strict=True)]
    pooled = np.concatenate(seasons)  # [seasons, season]
    values = [_observed_values(pooled[:, phase], pooled) for phase in phases]
    mean = np.array([column.mean() for column in values])
    quantiles = {q: np.array([np.quantile(column, q) for column in values]) for q in task.quantiles}
    detail = f"it has no observed value; {len(series)} other series of its panel at the same phase say this"
    return ForecastEntry(
        unique_id,
        "fallback",
        ForecastMethod.typical,
        Reason.no_history,
        detail,
        times,
        mean,
        quantiles,
    )


def _steps_to(start: np.datetime64, after: np.datetime64, task: Task, unique_id: str) -> int:
    """Return the steps from `after` to `start`; InvalidInput where `start` is not on the grid."""
    steps = int(task.frequency.steps_between(after, np.array([start]))[0])
    if task.frequency.shift(np.array([after]), np.array([steps]))[0] != start:
        raise InvalidInput(
            f"series {unique_id!r}: its start {start} is not a step of {task.freq} from {after}; "
            "send a time on that grid, or none to begin where the others end"
        )
    return steps


def _similar_series(peers: Snapshot, static: Mapping[str, Cell]) -> set[str]:
    """Return the series that share as many of these values as three or more series do."""
    names = peers.static[ID].to_pylist()
    shared = np.zeros(len(names), int)  # values in common, [series]
    for column, value in static.items():
        if column in peers.static.column_names:
            shared += np.array([cell == value for cell in peers.static[column].to_pylist()], dtype=int)
    for minimum in range(int(shared.max(initial=0)), 0, -1):
        similar = {name for name, count in zip(names, shared, strict=True) if count >= minimum}
        if len(similar) >= _MIN_SIMILAR:
            return similar
    return set(names)


def _latest_seasons(y: Floats, late: int, season: int) -> Floats:
    """Return the latest seasons by phase, from the phase of the step after the peers' end. Shape [seasons, season].

    `late` is the number of steps by which the series ended before its peers: they count as missing.
    """
    gap = np.full(np.clip(late, 0, _SEASONS * season), np.nan)
    tail = np.concatenate([y, gap])[-_SEASONS * season :]
    missing = np.full(-len(tail) % season, np.nan)
    return np.concatenate([missing, tail]).reshape(-1, season)


def _observed_values(phase_values: Floats, pooled: Floats) -> Floats:
    """Return the observed values of a phase, or of all phases where it has none."""
    observed = phase_values[np.isfinite(phase_values)]
    return observed if len(observed) else pooled[np.isfinite(pooled)]

"""Cold start: what a series without a single value can be told from the others of its panel."""

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

MOST_PEERS = 200
"""As many other series are looked at: enough for a distribution, little enough for a request."""
_FEWEST_ALIKE = 3
_SEASONS = 4


def sample_peers(names: Collection[str]) -> list[str]:
    """The series to look at: all, or an even draw from them in the order of their ids."""
    ordered = sorted(names)
    if len(ordered) <= MOST_PEERS:
        return ordered
    return [ordered[place] for place in np.linspace(0, len(ordered) - 1, MOST_PEERS).astype(int)]


def typical_forecast(
    others: Snapshot, task: Task, unique_id: str, start: np.datetime64 | None, static: Mapping[str, Cell]
) -> ForecastEntry | None:
    """What a series of this panel is usually like at each step; None where the others have no value either.

    The values that the others took at the same phase of their latest seasons are one distribution: its
    mean, and its quantiles. Only those that share the most of `static` count, where there are three or more.
    The forecast begins at `start`, or one step after the others' end.
    """
    season = max(task.season_lengths)
    alike = _alike(others, static)
    chosen = [series for series in each_series(others) if series.unique_id in alike and series.observed]
    if not chosen:
        return None
    after = chosen[0].ds[0]
    away = 0 if start is None else _steps(task, after, start, unique_id)
    times = task.frequency.range(after if start is None else start, task.h)
    phase = np.mod(away + np.arange(task.h), season)
    pooled = np.concatenate([_latest(series.y, season) for series in chosen])
    values = [_known(pooled[:, place], pooled) for place in phase]
    mean = np.array([column.mean() for column in values])
    quantiles = {q: np.array([np.quantile(column, q) for column in values]) for q in task.quantiles}
    detail = f"it has no observed value; {len(chosen)} other series of its panel at the same phase say this"
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


def _steps(task: Task, after: np.datetime64, start: np.datetime64, unique_id: str) -> int:
    steps = int(task.frequency.steps_between(after, np.array([start]))[0])
    if task.frequency.shift(np.array([after]), np.array([steps]))[0] != start:
        raise InvalidInput(
            f"series {unique_id!r}: its start {start} is not a step of {task.freq} from {after}; "
            "send a time on that grid, or none to begin where the others end"
        )
    return steps


def _alike(others: Snapshot, static: Mapping[str, Cell]) -> set[str]:
    """The series that share the most of these values, of those shares that three or more have."""
    names = others.static[ID].to_pylist()
    shared = np.zeros(len(names), int)
    for column, value in static.items():
        if column in others.static.column_names:
            shared += np.array([own == value for own in others.static[column].to_pylist()], dtype=int)
    for least in range(int(shared.max(initial=0)), 0, -1):
        found = {name for name, share in zip(names, shared, strict=True) if share >= least}
        if len(found) >= _FEWEST_ALIKE:
            return found
    return set(names)


def _latest(y: Floats, season: int) -> Floats:
    """The latest seasons by phase, the first phase that of the step after the end. Shape [seasons, season]."""
    tail = y[-_SEASONS * season :]
    missing = np.full(-len(tail) % season, np.nan)
    return np.concatenate([missing, tail]).reshape(-1, season)


def _known(column: Floats, pooled: Floats) -> Floats:
    """What is known at a phase; all that is known where nothing is."""
    known = column[np.isfinite(column)]
    return known if len(known) else pooled[np.isfinite(pooled)]

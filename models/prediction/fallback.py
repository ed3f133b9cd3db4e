"""The fallback chain: the model, else seasonal naive, else the last value, else a refusal."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import Series, each_series, floats, keep_series, quantile_columns
from models.families.naive import LastValue, SeasonalNaive
from models.forecaster import Forecaster
from quantis.errors import QuantisError
from quantis.panel import DS, ID, Snapshot, Task, series_slices, times_of
from quantis.types.arrays import Floats, Times
from quantis.types.forecasts import ForecastMethod, Reason

_LOG = logging.getLogger(__name__)
_TRIED_ALONE = 20
_NO_TIMES = np.zeros(0, "datetime64[us]")


@dataclass(frozen=True)
class ForecastEntry:
    """The answer for one requested series: `h` finite steps, or none where `status` is refused."""

    unique_id: str
    status: str
    method: ForecastMethod
    reason: Reason | None = None
    detail: str | None = None
    ds: Times = field(default_factory=lambda: _NO_TIMES)
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    quantiles: dict[float, Floats] = field(default_factory=dict)

    def head(self, steps: int) -> ForecastEntry:
        """The same, its first steps alone."""
        quantiles = {level: values[:steps] for level, values in self.quantiles.items()}
        return replace(self, ds=self.ds[:steps], mean=self.mean[:steps], quantiles=quantiles)


@dataclass(frozen=True)
class _Why:
    reason: Reason
    detail: str


def forecast(
    forecaster: Forecaster | None,
    snapshot: Snapshot,
    task: Task,
    *,
    requested: Sequence[str] | None = None,
    unknown: Collection[str] = (),
    steps: int | None = None,
) -> list[ForecastEntry]:
    """One entry per requested series, in that order; without `requested` in the snapshot's order.

    `snapshot.future` holds `task.h` steps for each series that has a history; the first `steps` are
    answered, all without it, and what is known in advance is needed for these alone. `unknown` names the
    series that the model has never seen: they are answered below the model. A model that raises, or
    answers with something that is not finite, loses only the series that it fails on alone.
    """
    steps = task.h if steps is None else steps
    snapshot = _carried_on(snapshot, task, steps)
    series = {one.unique_id: one for one in each_series(snapshot)}
    wanted = list(series) if requested is None else list(requested)
    known = [series[name] for name in dict.fromkeys(wanted) if name in series and series[name].observed]
    why = _unfit_for_model(forecaster, snapshot, task, known, set(unknown), steps)
    fit = [one.unique_id for one in known if one.unique_id not in why]
    entries: dict[str, ForecastEntry] = {}
    if forecaster is not None and fit:
        answered, failed = _from_model(forecaster, keep_series(snapshot, fit), fit, task.h)
        entries, why = entries | answered, why | failed
    entries |= _from_naive(snapshot, task, [one for one in known if one.unique_id in why], why)
    found = [entries.get(name) or _refusal(name, name in unknown) for name in wanted]
    return [entry.head(steps) for entry in found] if steps < task.h else found


def with_forecasts(entries: Sequence[ForecastEntry], forecasts: pa.Table) -> list[ForecastEntry]:
    """The entries with the means and quantiles of these forecasts; refused ones stay as they are."""
    made = {entry.unique_id: entry for entry in _entries(forecasts, ForecastMethod.model, {})}
    return [
        replace(entry, mean=made[entry.unique_id].mean, quantiles=made[entry.unique_id].quantiles)
        if entry.unique_id in made
        else entry
        for entry in entries
    ]


def _carried_on(snapshot: Snapshot, task: Task, steps: int) -> Snapshot:
    """What is known of the first steps ahead goes on as it ended where nothing is known of those that follow.

    The model forecasts its whole horizon; what follows the steps that are wanted is cut off again.
    """
    future = snapshot.future
    names = [name for name in task.roles.futr_exog if name in future.column_names and future[name].null_count]
    if steps >= task.h or not names:
        return snapshot
    rows = np.arange(future.num_rows)
    last = pa.array(rows - np.maximum(rows % task.h - (steps - 1), 0))
    for name in names:
        column = pc.coalesce(future[name], future[name].take(last))
        future = future.set_column(future.column_names.index(name), name, column)
    return replace(snapshot, future=future)


def _unfit_for_model(
    forecaster: Forecaster | None,
    snapshot: Snapshot,
    task: Task,
    known: list[Series],
    unknown: set[str],
    steps: int,
) -> dict[str, _Why]:
    lacking = _lacking_future(snapshot, task, steps)
    found: dict[str, _Why] = {}
    for one in known:
        seen = _steps_known(one)
        if one.unique_id in unknown:
            found[one.unique_id] = _Why(
                Reason.unknown_series, "the model has not been trained on this series"
            )
        elif forecaster is None:
            found[one.unique_id] = _Why(Reason.model_failed, "no model is loaded")
        elif seen < forecaster.min_history:
            detail = f"{seen} steps of history; the model needs {forecaster.min_history}"
            found[one.unique_id] = _Why(Reason.short_history, detail)
        elif not np.isfinite(one.y[-forecaster.context_length :]).any():
            detail = f"no observed value in the last {forecaster.context_length} steps"
            found[one.unique_id] = _Why(Reason.short_history, detail)
        elif one.unique_id in lacking:
            found[one.unique_id] = _Why(Reason.missing_future, lacking[one.unique_id])
    return found


def _steps_known(series: Series) -> int:
    """Steps from the first observed value to the end of the history."""
    seen = np.isfinite(series.y)
    return int(len(seen) - np.argmax(seen)) if seen.any() else 0


def _lacking_future(snapshot: Snapshot, task: Task, steps: int) -> dict[str, str]:
    """What each series lacks of the covariates that are known in advance, in words."""
    absent = [name for name in task.roles.futr_exog if name not in snapshot.future.column_names]
    gaps = {name: _null(snapshot.future[name]) for name in task.roles.futr_exog if name not in absent}
    found: dict[str, str] = {}
    for unique_id, rows in series_slices(snapshot.future[ID]):
        missing = absent + [name for name, null in gaps.items() if null[rows].any()]
        if missing:
            found[unique_id] = f"no value for {', '.join(missing)} in some of the {steps} steps ahead"
    return found


def _null(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    null: np.ndarray[tuple[int], np.dtype[np.bool_]] = pc.is_null(column, nan_is_null=True).to_numpy()
    return null


def _from_model(
    forecaster: Forecaster, snapshot: Snapshot, ids: Sequence[str], h: int
) -> tuple[dict[str, ForecastEntry], dict[str, _Why]]:
    """All series at once; those that this does not answer again by halves, down to each alone.

    One that spoils a call for others is found in few calls. A model that answers for none of the first
    that are tried alone is given up.
    """
    entries, why = _attempt(forecaster, snapshot, ids, h, first=True)
    pending = [list(why)] if why and len(ids) > 1 else []
    alone = 0
    while pending and not (alone >= _TRIED_ALONE and not entries):
        group = pending.pop()
        halves = [half for half in (group[: len(group) // 2], group[len(group) // 2 :]) if half]
        for half in halves:
            answered, failed = _attempt(forecaster, keep_series(snapshot, half), half, h)
            entries |= answered
            why = {name: reason for name, reason in why.items() if name not in answered} | failed
            if len(half) == 1:
                alone += 1
            elif failed:
                pending.append(list(failed))
    return entries, why


def _attempt(
    forecaster: Forecaster, snapshot: Snapshot, ids: Iterable[str], h: int, first: bool = False
) -> tuple[dict[str, ForecastEntry], dict[str, _Why]]:
    try:
        answers = {
            entry.unique_id: entry
            for entry in _entries(forecaster.predict(snapshot), ForecastMethod.model, {})
        }
    except Exception as error:  # whatever the model does, every series gets its answer
        _LOG.log(
            logging.WARNING if first else logging.DEBUG,
            "the model failed on %d series", snapshot.static.num_rows, exc_info=True,
        )  # fmt: skip
        text = error.message if isinstance(error, QuantisError) else type(error).__name__
        return {}, {name: _Why(Reason.model_failed, f"the model failed: {text}") for name in ids}
    sound = {name: entry for name, entry in answers.items() if _is_sound(entry, h)}
    bad = _Why(Reason.model_failed, "the model gave no finite forecast")
    return {n: sound[n] for n in ids if n in sound}, {n: bad for n in ids if n not in sound}


def _is_sound(entry: ForecastEntry, h: int) -> bool:
    values = np.stack([entry.mean, *entry.quantiles.values()])
    crossed = np.any(np.diff(values[1:], axis=0) < 0)
    return values.shape[1] == h and bool(np.isfinite(values).all()) and not crossed


def _from_naive(
    snapshot: Snapshot, task: Task, series: list[Series], why: dict[str, _Why]
) -> dict[str, ForecastEntry]:
    seasons = [m for m in task.season_lengths if m > 1]
    seasonal = [s.unique_id for s in series if seasons and _steps_known(s) >= min(seasons)]
    rest = [s.unique_id for s in series if s.unique_id not in set(seasonal)]
    found: dict[str, ForecastEntry] = {}
    if seasonal:
        table = SeasonalNaive(task, max(seasons)).predict(keep_series(snapshot, seasonal))
        found |= {entry.unique_id: entry for entry in _entries(table, ForecastMethod.seasonal_naive, why)}
    if rest:
        table = LastValue(task).predict(keep_series(snapshot, rest))
        found |= {entry.unique_id: entry for entry in _entries(table, ForecastMethod.last_value, why)}
    return found


def _entries(table: pa.Table, method: ForecastMethod, why: dict[str, _Why]) -> list[ForecastEntry]:
    ds, mean = times_of(table[DS]), floats(table["mean"])
    fan = {float(name[1:]): floats(table[name]) for name in quantile_columns(table)}
    status = "ok" if method is ForecastMethod.model else "fallback"
    found = []
    for unique_id, rows in series_slices(table[ID]):
        cause = why.get(unique_id)
        reason, detail = (cause.reason, cause.detail) if cause else (None, None)
        quantiles = {q: values[rows] for q, values in fan.items()}
        found.append(
            ForecastEntry(unique_id, status, method, reason, detail, ds[rows], mean[rows], quantiles)
        )
    return found


def _refusal(unique_id: str, unknown: bool) -> ForecastEntry:
    reason = Reason.unknown_series if unknown else Reason.no_history
    detail = "no observed value, neither given nor stored; send a history with at least one"
    return ForecastEntry(unique_id, "refused", ForecastMethod.none, reason, detail)

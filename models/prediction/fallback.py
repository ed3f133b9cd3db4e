"""The fallback chain: the model, else seasonal naive, else the last value, else a refusal."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import Series, each_series, floats, keep_series, quantile_columns
from models.families.naive import LastValue, SeasonalNaive
from models.forecaster import Forecaster
from quantis.errors import QuantisError
from quantis.panel import DS, ID, Snapshot, Task, series_slices, times_of
from quantis.types.arrays import Floats, Mask, Times
from quantis.types.forecasts import ForecastMethod, Reason

_LOG = logging.getLogger(__name__)
_MAX_SINGLE_CALLS = 20
_NO_TIMES = np.zeros(0, "datetime64[us]")


@dataclass(frozen=True)
class ForecastEntry:
    """The forecast of one requested series: `h` finite steps, or none where `status` is refused."""

    unique_id: str
    status: str
    method: ForecastMethod
    reason: Reason | None = None
    detail: str | None = None
    ds: Times = field(default_factory=lambda: _NO_TIMES)
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    quantiles: dict[float, Floats] = field(default_factory=dict)
    scenario: bool = False

    def head(self, steps: int) -> ForecastEntry:
        """Return the entry with its first steps alone."""
        quantiles = {level: values[:steps] for level, values in self.quantiles.items()}
        return replace(self, ds=self.ds[:steps], mean=self.mean[:steps], quantiles=quantiles)

    def is_sound(self, h: int) -> bool:
        """True if it has `h` finite steps and its quantiles do not cross."""
        values = np.stack([self.mean, *self.quantiles.values()])  # [1 + quantiles, steps]
        crossed = np.any(np.diff(values[1:], axis=0) < 0)
        return values.shape[1] == h and bool(np.isfinite(values).all()) and not crossed


def forecast(
    forecaster: Forecaster | None,
    snapshot: Snapshot,
    task: Task,
    *,
    requested: Sequence[str] | None = None,
    unknown: Collection[str] = (),
    steps: int | None = None,
) -> list[ForecastEntry]:
    """Return one entry per requested series, in that order.

    A model that raises, or answers with values that are not finite, loses only the series on which it
    fails when asked for them alone.

    Parameters
    ----------
    forecaster
        The model; None where none could be loaded.
    snapshot
        Its future holds `task.h` steps for each series with a history.
    task
        The task that the model was trained for.
    requested
        The series to forecast, in the order of the entries; those of the snapshot by default.
    unknown
        Series on which the model was not trained: a simpler method forecasts them.
    steps
        The first steps to return, `task.h` by default; known-future covariates are needed for these alone.
    """
    steps = task.h if steps is None else steps
    snapshot = _extend_covariates(snapshot, task, steps)
    ids = list(snapshot.future_index.rows) if requested is None else list(requested)
    requested_ids = frozenset(ids)
    observed = [each for each in each_series(snapshot) if each.unique_id in requested_ids and each.observed]
    chain = _Chain(forecaster, snapshot, task, frozenset(unknown), steps)
    for series in observed:
        if cause := chain.exclusion(series):
            chain.causes[series.unique_id] = cause
    chain.ask_model([series.unique_id for series in observed if series.unique_id not in chain.causes])
    chain.ask_naive([series for series in observed if series.unique_id in chain.causes])
    entries = [chain.entries.get(name) or _refuse(name, name in unknown) for name in ids]
    return [entry.head(steps) for entry in entries] if steps < task.h else entries


def with_forecasts(entries: Sequence[ForecastEntry], forecasts: pa.Table) -> list[ForecastEntry]:
    """Return the entries with the means and quantiles of these forecasts; refused ones stay as they are."""
    revised = {entry.unique_id: entry for entry in _read_entries(forecasts, ForecastMethod.model)}
    return [
        replace(entry, mean=new.mean, quantiles=new.quantiles)
        if (new := revised.get(entry.unique_id))
        else entry
        for entry in entries
    ]


@dataclass(frozen=True)
class _Cause:
    """Reason that a series is not forecast by the model."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class _Chain:
    """A run of the chain: it fills `entries`, and `causes` for the series that the model does not forecast."""

    forecaster: Forecaster | None
    snapshot: Snapshot
    task: Task
    unknown: frozenset[str]
    steps: int
    entries: dict[str, ForecastEntry] = field(default_factory=dict)
    causes: dict[str, _Cause] = field(default_factory=dict)

    @cached_property
    def covariate_gaps(self) -> dict[str, Mask]:
        """True where a known-future covariate has no value. Shapes [future rows]; columns that are absent first."""
        future = self.snapshot.future
        absent = [name for name in self.task.roles.futr_exog if name not in future.column_names]
        gaps: dict[str, Mask] = {name: np.ones(future.num_rows, bool) for name in absent}
        for name in self.task.roles.futr_exog:
            if name not in absent:
                gaps[name] = pc.is_null(future[name], nan_is_null=True).to_numpy()
        return gaps

    def exclusion(self, series: Series) -> _Cause | None:
        """Return why the model is not asked for a series; None where its data suffice."""
        if series.unique_id in self.unknown:
            return _Cause(Reason.unknown_series, "the model has not been trained on this series")
        if self.forecaster is None:
            return _Cause(Reason.model_failed, "no model is loaded")
        length, needed = series.observed_span, self.forecaster.min_history
        if length < needed:
            return _Cause(Reason.short_history, f"{length} steps of history; the model needs {needed}")
        context = self.forecaster.context_length
        if not np.isfinite(series.y[-context:]).any():
            return _Cause(Reason.short_history, f"no observed value in the last {context} steps")
        rows = self.snapshot.future_index.rows[series.unique_id]
        if missing := [name for name, gaps in self.covariate_gaps.items() if gaps[rows].any()]:
            detail = f"no value for {', '.join(missing)} in some of the {self.steps} steps ahead"
            return _Cause(Reason.missing_future, detail)
        return None

    def ask_model(self, ids: list[str]) -> None:
        """Ask for all series at once, then for those without a forecast by halves, down to each alone.

        Halving finds the series that spoils a call for the others in few calls. A model that fails on all
        of the first series that are tried alone is given up.
        """
        if self.forecaster is None or not ids:
            return
        failed = self._call_model(self.forecaster, ids, logging.WARNING)
        pending = [failed] if failed and len(ids) > 1 else []
        single_calls = 0
        while pending and (self.entries or single_calls < _MAX_SINGLE_CALLS):
            group = pending.pop()
            middle = len(group) // 2
            for half in filter(None, (group[:middle], group[middle:])):
                failed = self._call_model(self.forecaster, half, logging.DEBUG)
                if len(half) == 1:
                    single_calls += 1
                elif failed:
                    pending.append(failed)

    def _call_model(self, forecaster: Forecaster, ids: list[str], log_level: int) -> list[str]:
        """Enter the sound forecasts of one call; return the series that got none."""
        entries: dict[str, ForecastEntry] = {}
        cause = _Cause(Reason.model_failed, "the model gave no finite forecast")
        try:
            table = forecaster.predict(keep_series(self.snapshot, ids))
            entries = {entry.unique_id: entry for entry in _read_entries(table, ForecastMethod.model)}
        except Exception as error:  # whatever the model does, every series gets its forecast
            _LOG.log(log_level, "the model failed on %d series", len(ids), exc_info=True)
            text = error.message if isinstance(error, QuantisError) else type(error).__name__
            cause = _Cause(Reason.model_failed, f"the model failed: {text}")
        failed = []
        for name in ids:
            if name in entries and entries[name].is_sound(self.task.h):
                self.entries[name] = entries[name]
                self.causes.pop(name, None)
            else:
                self.causes[name] = cause
                failed.append(name)
        return failed

    def ask_naive(self, series: Sequence[Series]) -> None:
        """Forecast by seasonal naive where a season was observed, by the last value elsewhere."""
        seasons = [length for length in self.task.season_lengths if length > 1]
        by_method: dict[ForecastMethod, list[str]] = {}
        for each in series:
            seasonal = seasons and each.observed_span >= min(seasons)
            method = ForecastMethod.seasonal_naive if seasonal else ForecastMethod.last_value
            by_method.setdefault(method, []).append(each.unique_id)
        for method, ids in by_method.items():
            seasonal = method is ForecastMethod.seasonal_naive
            naive = SeasonalNaive(self.task, max(seasons)) if seasonal else LastValue(self.task)
            for entry in _read_entries(naive.predict(keep_series(self.snapshot, ids)), method):
                cause = self.causes[entry.unique_id]
                self.entries[entry.unique_id] = replace(entry, reason=cause.reason, detail=cause.detail)


def _extend_covariates(snapshot: Snapshot, task: Task, steps: int) -> Snapshot:
    """Repeat the last required value of each known-future covariate where the steps after it have none.

    The model forecasts its whole horizon; what follows the first `steps` is cut off again.
    """
    future = snapshot.future
    names = [name for name in task.roles.futr_exog if name in future.column_names and future[name].null_count]
    if steps >= task.h or not names:
        return snapshot
    rows = np.arange(future.num_rows)
    last_required = pa.array(rows - np.maximum(rows % task.h - (steps - 1), 0))
    for name in names:
        column = pc.coalesce(future[name], future[name].take(last_required))
        future = future.set_column(future.column_names.index(name), name, column)
    return replace(snapshot, future=future)


def _read_entries(table: pa.Table, method: ForecastMethod) -> list[ForecastEntry]:
    """Return the entry of each series of a forecaster's predictions."""
    ds, mean = times_of(table[DS]), floats(table["mean"])
    quantiles = {float(name[1:]): floats(table[name]) for name in quantile_columns(table)}
    status = "ok" if method is ForecastMethod.model else "fallback"
    return [
        ForecastEntry(
            unique_id,
            status,
            method,
            ds=ds[rows],
            mean=mean[rows],
            quantiles={level: values[rows] for level, values in quantiles.items()},
        )
        for unique_id, rows in series_slices(table[ID])
    ]


def _refuse(unique_id: str, unknown: bool) -> ForecastEntry:
    reason = Reason.unknown_series if unknown else Reason.no_history
    detail = "no observed value, neither given nor stored; send a history with at least one"
    return ForecastEntry(unique_id, "refused", ForecastMethod.none, reason, detail)

"""Covariates that a request sends: checked against the model's roles, and laid over stored series as a what-if."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from quantis.errors import InvalidInput
from quantis.panel import SeriesIndex, Snapshot, Task
from quantis.types.forecasts import ForecastMethod, SeriesForecast, SeriesRequest

_ROLES = ("futr_exog", "hist_exog", "stat_exog")
_MAX_NAMES = 20  # in a message
_UNIVARIATE_METHODS = frozenset({ForecastMethod.seasonal_naive, ForecastMethod.last_value})


def check_covariates(requested: Sequence[SeriesRequest], task: Task, steps: int) -> None:
    """Check the covariates of each series; InvalidInput names unknown columns and wrong lengths.

    The lengths of a series that brings a history are left to `check_lengths`, once its times are known to be sound.
    """
    for series in requested:
        for role in _ROLES:
            for name in getattr(series, role):
                _check_name(series, role, name, task)
        if series.y is None and series.hist_exog:
            raise _covariate_error(
                series,
                next(iter(series.hist_exog)),
                "is of a history that is stored; send y and its times too",
            )
        if not series.y:
            check_lengths(series, task, steps)


def check_lengths(series: SeriesRequest, task: Task, steps: int) -> None:
    """Check the number of values of each covariate; InvalidInput names the column and what it needs.

    A known-future covariate has a value for each of the `steps` to forecast, or for the model's whole horizon,
    behind those of the history where the series brings one; or those of the history alone.
    """
    observed = len(series.y or ())
    for name, values in series.hist_exog.items():
        if len(values) != observed:
            raise _covariate_error(series, name, f"has {len(values)} values and needs {observed}")
    lengths = {steps, task.h}
    if observed:
        lengths |= {observed, observed + steps, observed + task.h}
    for name, values in series.futr_exog.items():
        if len(values) not in lengths:
            alternative = f", or {observed + steps} with its history" if observed else ", one for each step"
            raise _covariate_error(series, name, f"has {len(values)} values and needs {steps}{alternative}")


def _covariate_error(series: SeriesRequest, column: str, problem: str) -> InvalidInput:
    return InvalidInput(f"series {series.unique_id!r}: {column} {problem}")


def sends_scenario(series: SeriesRequest) -> bool:
    """Return True for a stored series with covariates of the request's own."""
    return series.y is None and bool(series.futr_exog or series.stat_exog)


def split_rounds(requested: Sequence[SeriesRequest]) -> list[list[int]]:
    """Group the positions of a request such that no round has a series with two histories or scenarios."""
    rounds: list[list[int]] = []
    sent: Counter[str] = Counter()
    stored_round: dict[str, int] = {}  # of a series just as stored, which several entries may share
    for position, series in enumerate(requested):
        is_stored = series.y is None and not sends_scenario(series)
        number = stored_round.get(series.unique_id) if is_stored else None
        if number is None:
            number = sent[series.unique_id]
            sent[series.unique_id] += 1
            if is_stored:
                stored_round[series.unique_id] = number
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(position)
    return rounds


def with_scenarios(snapshot: Snapshot, requested: Sequence[SeriesRequest], task: Task) -> Snapshot:
    """Return the snapshot with the covariates sent for stored series in place of the stored ones.

    Known-future values begin at the first step of each series' horizon; where they are fewer than its steps, the
    later ones are null. A series that the snapshot lacks is skipped.
    """
    scenarios = [series for series in requested if sends_scenario(series)]
    if not scenarios:
        return snapshot
    futr_values: dict[str, dict[str, Sequence[Any]]] = {}  # column -> series -> values
    stat_values: dict[str, dict[str, Sequence[Any]]] = {}
    for series in scenarios:
        for name, values in series.futr_exog.items():
            padding = [None] * (task.h - len(values))
            futr_values.setdefault(name, {})[series.unique_id] = [*values, *padding]
        for name, value in series.stat_exog.items():
            stat_values.setdefault(name, {})[series.unique_id] = [value]
    future = _replace_values(snapshot.future, snapshot.future_index, futr_values, task)
    static = _replace_values(snapshot.static, SeriesIndex(snapshot.static), stat_values, task)
    return Snapshot(snapshot.history, future, static)


def changed_series(snapshot: Snapshot, requested: Sequence[SeriesRequest]) -> set[str]:
    """Return the series for which a covariate is sent that differs from the one stored.

    Values for steps that the store knows nothing of are no change: they complete it.
    """
    changed = set()
    static = SeriesIndex(snapshot.static)
    for series in requested:
        if not sends_scenario(series):
            continue
        stat_values = {name: [value] for name, value in series.stat_exog.items()}
        if _differs(snapshot.future, snapshot.future_index, series.unique_id, series.futr_exog) or _differs(
            snapshot.static, static, series.unique_id, stat_values
        ):
            changed.add(series.unique_id)
    return changed


def _differs(
    table: pa.Table, index: SeriesIndex, unique_id: str, columns: Mapping[str, Sequence[Any]]
) -> bool:
    """Return True if a value sent differs from one that is stored."""
    rows = index.rows.get(unique_id)
    if rows is None:
        return False
    return any(
        stored is not None and stored != sent
        for name, values in columns.items()
        for stored, sent in zip(table[name][rows].to_pylist(), values, strict=False)
    )


def describe_unused(
    requested: Sequence[SeriesRequest], forecasts: Sequence[SeriesForecast], univariate: Collection[int]
) -> list[str]:
    """Return a warning for each method that looked at `y` alone though covariates were sent.

    `univariate` are the positions of series whose model is such a method.
    """
    unused: dict[str, list[str]] = {}
    for position, (series, forecast) in enumerate(zip(requested, forecasts, strict=True)):
        by_model = forecast.method == ForecastMethod.model
        if not (series.futr_exog or series.stat_exog or series.hist_exog):
            continue
        if position in univariate if by_model else forecast.method in _UNIVARIATE_METHODS:
            unused.setdefault("the model" if by_model else forecast.method, []).append(series.unique_id)
    return [
        f"the covariates sent for {_listed(names)} change nothing: {method} looks at y alone"
        for method, names in unused.items()
    ]


def _listed(names: Sequence[str]) -> str:
    return repr(names[0]) if len(names) == 1 else f"{names[0]!r} and {len(names) - 1:,} more"


def typed_values(unique_id: str, name: str, values: Sequence[Any], task: Task) -> pa.Array:
    """Return values as a column of the panel: texts of a category, else numbers; InvalidInput for others."""
    kind = pa.string() if name in task.roles.categorical else pa.float64()
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"series {unique_id!r}: {name} holds a value that is not a {kind}") from error


def _replace_values(
    table: pa.Table, index: SeriesIndex, columns: Mapping[str, Mapping[str, Sequence[Any]]], task: Task
) -> pa.Table:
    """Replace the rows of some series in some columns."""
    for name, by_series in columns.items():
        cells = table[name].to_pylist()
        for unique_id, values in by_series.items():
            rows = index.rows.get(unique_id)
            if rows is not None:
                cells[rows] = typed_values(unique_id, name, values, task).to_pylist()
        column = pa.array(cells, table[name].type)
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _check_name(series: SeriesRequest, role: str, name: str, task: Task) -> None:
    columns = getattr(task.roles, role)
    if name in columns:
        return
    declared = [key for key in _ROLES if name in getattr(task.roles, key)]
    if declared:
        remedy = f"send it as {declared[0]}, as the dataset declares it"
    elif columns:
        close = difflib.get_close_matches(name, columns, n=1)
        listed = ", ".join(columns[:_MAX_NAMES]) + (" ..." if len(columns) > _MAX_NAMES else "")
        remedy = f"the model knows {listed}" + (f"; is {close[0]} meant?" if close else "; use one of these")
    else:
        remedy = f"the model has no {role}; leave it out"
    raise InvalidInput(f"series {series.unique_id!r}: {name!r} is no {role} of the model; {remedy}")

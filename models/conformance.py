"""Check that a model family keeps the forecaster contract: people's own classes, and ours in the tests.

    python -m models.conformance our_models.drift:Drift

Fits the class on small panels with gaps, short series, categories and covariates, and checks its promises:
shape and order of its predictions, finite quantiles that do not cross, equal predictions when repeated, inputs
left unchanged, equal predictions after a round trip through a bundle, and true `min_history` and
`context_length`.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.arrays import floats, keep_series, truncate_history
from models.families.catalogue import FAMILIES
from models.forecaster import Forecaster, quantile_column
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import TimedOut
from quantis.frequency import Frequency
from quantis.panel import DS, ID, Snapshot, Task, timestamps
from quantis.types.datasets import Roles

Fit = Callable[[Snapshot, Task], Forecaster]
_ROLES = Roles(futr_exog=("promo",), hist_exog=("stock",), stat_exog=("region",), categorical=("region",))
_LENGTHS = {"a": 400, "b": 380, "gaps": 400, "short": 30}
_MAX_SECONDS = 20.0  # of a fit whose deadline has passed


@dataclass(frozen=True)
class ConformanceIssue:
    """A promise of the contract that a class does not keep."""

    promise: str
    problem: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.problem}"


def check(model_class: type[Any], fit: Fit | None = None) -> list[ConformanceIssue]:
    """Return every promise that the class does not keep; none when it may be used.

    `fit` makes a forecaster where the class itself is fitted otherwise than by `fit(snapshot, task)`.
    """
    issues: list[ConformanceIssue] = []
    fit_model = fit or (lambda snapshot, task: model_class.fit(snapshot, task))
    with _record_issue(issues, "it can be named"):
        _check_names(model_class, needs_fit=fit is None)
    task, snapshot = _task(), _snapshot(_task())
    fitted: list[Forecaster] = []
    before = _content(snapshot)
    with _record_issue(issues, "it can be fitted"):
        fitted.append(fit_model(snapshot, task))
    if not fitted:
        return issues
    forecaster = fitted[0]
    sample = keep_series(snapshot, _long_enough(forecaster))
    for promise, check_promise in _PROMISES.items():
        with _record_issue(issues, promise):
            check_promise(forecaster, sample)
    with _record_issue(issues, "it leaves the snapshot as it is"):
        _require(_content(snapshot) == before, "the snapshot was changed; work on a copy")
    with _record_issue(issues, "it is restored from a bundle as it was"):
        _check_round_trip(forecaster, model_class, sample)
    if fit is None:
        with _record_issue(issues, "it ends at its deadline"):
            _check_deadline(model_class, snapshot, task)
    return issues


@contextmanager
def _record_issue(issues: list[ConformanceIssue], promise: str) -> Iterator[None]:
    """Record whatever is raised inside as an issue."""
    try:
        yield
    except Exception as error:
        problem = str(error) if isinstance(error, _Broken) else f"{type(error).__name__}: {error}"
        issues.append(ConformanceIssue(promise, problem))


class _Broken(Exception):
    """A promise that was checked and is not kept."""


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise _Broken(problem)


def _check_names(model_class: type[Any], needs_fit: bool) -> None:
    family = getattr(model_class, "family", None)
    _require(
        isinstance(family, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", family) is not None,
        f"family is {family!r}; give the class a name of lower-case letters, digits and _",
    )
    constructor = ("fit",) if needs_fit else ()
    for name in (*constructor, "predict", "parts", "from_parts", "min_history", "context_length"):
        _require(hasattr(model_class, name), f"{name} is missing")


def _check_flags(forecaster: Forecaster, snapshot: Snapshot) -> None:
    for name in ("intervals_measured", "univariate"):
        value = getattr(forecaster, name, False)
        _require(isinstance(value, bool), f"{name} is {value!r}; it is True or False, or left out")


def _check_rows(forecaster: Forecaster, snapshot: Snapshot) -> None:
    table = forecaster.predict(snapshot)
    keys = snapshot.future.select([ID, DS])
    _require(
        table.select([ID, DS]).equals(keys),
        f"it answers {table.num_rows} rows for {keys.num_rows}, or in another order than snapshot.future",
    )
    names = {"mean", *map(quantile_column, forecaster.task.quantiles)}
    missing = sorted(names - set(table.column_names))
    _require(not missing, f"the answer has no column {', '.join(missing)}")


def _check_values(forecaster: Forecaster, snapshot: Snapshot) -> None:
    table = forecaster.predict(snapshot)
    columns = [quantile_column(q) for q in sorted(forecaster.task.quantiles)]
    quantiles = np.column_stack([floats(table[name]) for name in columns])  # [rows, quantiles]
    _require(bool(np.isfinite(quantiles).all()), "a quantile is missing or infinite")
    _require(bool(np.isfinite(floats(table["mean"])).all()), "a mean is missing or infinite")
    _require(bool(np.all(np.diff(quantiles, axis=1) >= 0)), "quantiles cross; sort them")


def _check_repeatability(forecaster: Forecaster, snapshot: Snapshot) -> None:
    same = forecaster.predict(snapshot).equals(forecaster.predict(snapshot))
    _require(same, "the same snapshot gives another answer; fix the seed")


def _check_independence(forecaster: Forecaster, snapshot: Snapshot) -> None:
    """Check that a series alone, as in a request, gets the forecast that it gets in a backtest of all."""
    whole, alone = forecaster.predict(snapshot), forecaster.predict(keep_series(snapshot, ["b"]))
    expected = floats(whole.filter(pa.compute.equal(whole[ID], "b"))["mean"])
    gap = np.max(np.abs(floats(alone["mean"]) - expected), initial=0.0)
    _require(gap <= 1e-6 * (1 + np.max(np.abs(expected))), f"alone, series b is {gap:.3g} off")


def _check_context_length(forecaster: Forecaster, snapshot: Snapshot) -> None:
    steps = forecaster.context_length
    _require(steps >= 1, f"context_length is {steps}; it is at least 1")
    whole, tail = forecaster.predict(snapshot), forecaster.predict(truncate_history(snapshot, steps))
    gap = np.max(np.abs(floats(whole["mean"]) - floats(tail["mean"])), initial=0.0)
    _require(
        gap <= 1e-6 * (1 + np.max(np.abs(floats(whole["mean"])))),
        f"a history cut to context_length, {steps} steps, gives an answer {gap:.3g} off; make it longer",
    )


def _check_min_history(forecaster: Forecaster, snapshot: Snapshot) -> None:
    steps = forecaster.min_history
    _require(steps >= 0, f"min_history is {steps}; it is 0 or more")
    tail = truncate_history(keep_series(snapshot, ["a"]), max(1, steps))
    values = floats(forecaster.predict(tail)["mean"])
    _require(bool(np.isfinite(values).all()), f"with min_history, {steps} steps, it gives no finite answer")


_PROMISES: dict[str, Callable[[Forecaster, Snapshot], None]] = {
    "it answers every step of every series, in order": _check_rows,
    "its answers are finite and its quantiles do not cross": _check_values,
    "it predicts the same when asked again": _check_repeatability,
    "a series' forecast does not depend on the other series": _check_independence,
    "it looks no further back than context_length": _check_context_length,
    "min_history is enough": _check_min_history,
    "intervals_measured and univariate are True or False": _check_flags,
}


def _check_round_trip(forecaster: Forecaster, model_class: type[Any], snapshot: Snapshot) -> None:
    family = model_class.family
    own_family = {family: f"{model_class.__module__}:{model_class.__qualname__}"}
    with tempfile.TemporaryDirectory() as folder:
        written = write_bundle(Path(folder) / "bundle", forecaster, snapshot)
        read = read_bundle(written, FAMILIES | own_family)
    _require(read.predict(snapshot).equals(forecaster.predict(snapshot)), "it predicts otherwise after it")


def _check_deadline(model_class: type[Any], snapshot: Snapshot, task: Task) -> None:
    """Check that a fit without time left ends, with a model or TimedOut."""
    started = time.monotonic()
    with suppress(TimedOut, TimeoutError):
        model_class.fit(snapshot, task, deadline=started)
    took = time.monotonic() - started
    _require(took < _MAX_SECONDS, f"a fit whose deadline had passed took {took:.0f} s")


def _task() -> Task:
    return Task(
        dataset="conformance",
        version=1,
        content_hash="0",
        as_of=datetime(2024, 1, 1, tzinfo=UTC),
        freq="h",
        h=12,
        quantiles=(0.1, 0.5, 0.9),
        roles=_ROLES,
        season_lengths=(24,),
    )


def _snapshot(task: Task) -> Snapshot:
    """Return four hourly series with a daily season; one has gaps, one is short."""
    noise, frequency = np.random.default_rng(0), Frequency.parse(task.freq)
    start = np.datetime64("2023-01-01T00:00", "us")
    max_length = max(_LENGTHS.values())
    grid = frequency.grid(start, frequency.shift(np.array([start]), max_length + task.h - 1)[0])
    history, future = [], []
    for number, (name, length) in enumerate(sorted(_LENGTHS.items())):
        promo = np.round(noise.random(len(grid)) < 0.2).astype(float)
        y = 10.0 * (number + 1) * (2 + np.sin(np.arange(len(grid)) / 24 * 2 * np.pi) + promo)
        y += noise.normal(0, 1, len(grid))
        if name == "gaps":
            y[noise.random(len(grid)) < 0.1] = np.nan
        context, horizon = slice(max_length - length, max_length), slice(max_length, max_length + task.h)
        columns = {"y": y, "stock": noise.random(len(grid)), "promo": promo}
        history.append(_rows(name, grid[context], {key: values[context] for key, values in columns.items()}))
        future.append(_rows(name, grid[horizon], {"promo": promo[horizon]}))
    static = pa.table({ID: sorted(_LENGTHS), "region": ["north", "south", "north", "south"]})
    return Snapshot(pa.concat_tables(history), pa.concat_tables(future), static)


def _rows(name: str, ds: Any, columns: dict[str, Any]) -> pa.Table:
    keys = {ID: pa.array([name] * len(ds), pa.string()), DS: timestamps(ds)}
    return pa.table(keys | {key: pa.array(values, from_pandas=True) for key, values in columns.items()})


def _long_enough(forecaster: Forecaster) -> list[str]:
    """Return the series that the fallback chain would give it: those of `min_history` or more."""
    return [name for name, length in sorted(_LENGTHS.items()) if length >= forecaster.min_history]


def _content(snapshot: Snapshot) -> list[Any]:
    return [table.to_pydict() for table in (snapshot.history, snapshot.future, snapshot.static)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.conformance", description=__doc__)
    parser.add_argument("model_class", metavar="place", help="the class, as module:Class")
    module, _, name = parser.parse_args().model_class.partition(":")
    issues = check(getattr(importlib.import_module(module), name))
    for issue in issues:
        sys.stdout.write(f"{issue}\n")
    sys.stdout.write(f"{len(issues)} promises are not kept\n" if issues else "it keeps every promise\n")
    return 1 if issues else 0


if __name__ == "__main__":
    sys.exit(main())

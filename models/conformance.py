"""Whether a model family keeps the contract: for people's own classes, and for ours in the tests.

    python -m models.conformance our_models.drift:Drift

Fits the class on small panels with gaps, short series, categories and covariates, and looks at what it
promises: the shape and order of its answers, finite quantiles that do not cross, the same answer again,
nothing changed of what it was given, the same answer after a round trip through a bundle, and a
`min_history` and `context_length` that are true.
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
_SECONDS = 20.0  # a fit that was given none is over by then


@dataclass(frozen=True)
class ConformanceIssue:
    """A promise that is not kept."""

    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


def check(model_class: type[Any], fit: Fit | None = None) -> list[ConformanceIssue]:
    """Every promise that the class does not keep; none when it may be used.

    `fit` makes a forecaster where the class itself is fitted otherwise than by `fit(snapshot, task)`.
    """
    findings: list[ConformanceIssue] = []
    fitting = fit or (lambda snapshot, task: model_class.fit(snapshot, task))
    with _promise(findings, "it can be named"):
        _named(model_class, fitted_here=fit is None)
    task, snapshot = _task(), _snapshot(_task())
    fitted: list[Forecaster] = []
    before = _content(snapshot)
    with _promise(findings, "it can be fitted"):
        fitted.append(fitting(snapshot, task))
    if not fitted:
        return findings
    forecaster = fitted[0]
    able = keep_series(snapshot, _long_enough(snapshot, forecaster))
    for promise, looks in _PROMISES.items():
        with _promise(findings, promise):
            looks(forecaster, able)
    with _promise(findings, "what it is given stays as it is"):
        _require(_content(snapshot) == before, "the snapshot was changed; work on a copy")
    with _promise(findings, "it comes back from a bundle as it was"):
        _round_trip(forecaster, model_class, able)
    if fit is None:
        with _promise(findings, "it keeps to the time"):
            _in_time(model_class, snapshot, task)
    return findings


@contextmanager
def _promise(findings: list[ConformanceIssue], promise: str) -> Iterator[None]:
    """Whatever goes wrong inside is a finding."""
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, _Broken) else f"{type(error).__name__}: {error}"
        findings.append(ConformanceIssue(promise, said))


class _Broken(Exception):
    """A promise that was looked at and is not kept."""


def _require(kept: bool, what: str) -> None:
    if not kept:
        raise _Broken(what)


def _named(model_class: type[Any], fitted_here: bool) -> None:
    family = getattr(model_class, "family", None)
    _require(
        isinstance(family, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", family) is not None,
        f"family is {family!r}; give the class a name of lower-case letters, digits and _",
    )
    own = ("fit",) if fitted_here else ()
    for name in (*own, "predict", "parts", "from_parts", "min_history", "context_length"):
        _require(hasattr(model_class, name), f"{name} is missing")


def _plain_word(forecaster: Forecaster, snapshot: Snapshot) -> None:
    said = getattr(forecaster, "intervals_measured", False)
    _require(isinstance(said, bool), f"intervals_measured is {said!r}; it is True or False, or left out")


def _answers_all(forecaster: Forecaster, snapshot: Snapshot) -> None:
    answer = forecaster.predict(snapshot)
    wanted = snapshot.future.select([ID, DS])
    _require(
        answer.select([ID, DS]).equals(wanted),
        f"it answers {answer.num_rows} rows for {wanted.num_rows}, or in another order than snapshot.future",
    )
    names = {"mean", *map(quantile_column, forecaster.task.quantiles)}
    missing = sorted(names - set(answer.column_names))
    _require(not missing, f"the answer has no column {', '.join(missing)}")


def _finite_and_sorted(forecaster: Forecaster, snapshot: Snapshot) -> None:
    answer = forecaster.predict(snapshot)
    columns = [quantile_column(q) for q in sorted(forecaster.task.quantiles)]
    fan = np.column_stack([floats(answer[name]) for name in columns])
    _require(bool(np.isfinite(fan).all()), "a quantile is missing or infinite")
    _require(bool(np.isfinite(floats(answer["mean"])).all()), "a mean is missing or infinite")
    _require(bool(np.all(np.diff(fan, axis=1) >= 0)), "quantiles cross; sort them")


def _same_again(forecaster: Forecaster, snapshot: Snapshot) -> None:
    same = forecaster.predict(snapshot).equals(forecaster.predict(snapshot))
    _require(same, "the same snapshot gives another answer; fix the seed")


def _subset(forecaster: Forecaster, snapshot: Snapshot) -> None:
    """A request is for one series, a backtest for all: the answer for a series is the same."""
    whole, alone = forecaster.predict(snapshot), forecaster.predict(keep_series(snapshot, ["b"]))
    mine = whole.filter(pa.compute.equal(whole[ID], "b"))
    gap = np.max(np.abs(floats(alone["mean"]) - floats(mine["mean"])), initial=0.0)
    _require(gap <= 1e-6 * (1 + np.max(np.abs(floats(mine["mean"])))), f"alone, series b is {gap:.3g} off")


def _looks_back(forecaster: Forecaster, snapshot: Snapshot) -> None:
    steps = forecaster.context_length
    _require(steps >= 1, f"context_length is {steps}; it is at least 1")
    whole, tail = forecaster.predict(snapshot), forecaster.predict(truncate_history(snapshot, steps))
    gap = np.max(np.abs(floats(whole["mean"]) - floats(tail["mean"])), initial=0.0)
    _require(
        gap <= 1e-6 * (1 + np.max(np.abs(floats(whole["mean"])))),
        f"a history cut to context_length, {steps} steps, gives an answer {gap:.3g} off; make it longer",
    )


def _least_history(forecaster: Forecaster, snapshot: Snapshot) -> None:
    steps = forecaster.min_history
    _require(steps >= 0, f"min_history is {steps}; it is 0 or more")
    shortest = truncate_history(keep_series(snapshot, ["a"]), max(1, steps))
    values = floats(forecaster.predict(shortest)["mean"])
    _require(bool(np.isfinite(values).all()), f"with min_history, {steps} steps, it gives no finite answer")


_PROMISES: dict[str, Callable[[Forecaster, Snapshot], None]] = {
    "it answers every step of every series, in order": _answers_all,
    "its answers are finite and its quantiles do not cross": _finite_and_sorted,
    "it says the same again": _same_again,
    "a series' answer does not depend on who else is asked for": _subset,
    "it looks no further back than context_length": _looks_back,
    "min_history is enough": _least_history,
    "it says plainly whether it has measured its intervals": _plain_word,
}


def _round_trip(forecaster: Forecaster, model_class: type[Any], snapshot: Snapshot) -> None:
    family = model_class.family
    place = {family: f"{model_class.__module__}:{model_class.__qualname__}"}
    with tempfile.TemporaryDirectory() as folder:
        written = write_bundle(Path(folder) / "bundle", forecaster, snapshot)
        read = read_bundle(written, FAMILIES | place)
    _require(read.predict(snapshot).equals(forecaster.predict(snapshot)), "it predicts otherwise after it")


def _in_time(model_class: type[Any], snapshot: Snapshot, task: Task) -> None:
    """A fit without time left gives what it has, or TimedOut; it does not go on."""
    started = time.monotonic()
    with suppress(TimedOut, TimeoutError):
        model_class.fit(snapshot, task, deadline=started)
    took = time.monotonic() - started
    _require(took < _SECONDS, f"a fit whose deadline had passed took {took:.0f} s")


def _task() -> Task:
    return Task(
        dataset="conformance", version=1, content_hash="0", as_of=datetime(2024, 1, 1, tzinfo=UTC), freq="h", h=12,
        quantiles=(0.1, 0.5, 0.9), roles=_ROLES, season_lengths=(24,),
    )  # fmt: skip


def _snapshot(task: Task) -> Snapshot:
    """Four hourly series with a daily rhythm; one has gaps, one is short."""
    noise, frequency = np.random.default_rng(0), Frequency.parse(task.freq)
    start = np.datetime64("2023-01-01T00:00", "us")
    longest = max(_LENGTHS.values())
    grid = frequency.grid(start, frequency.shift(np.array([start]), longest + task.h - 1)[0])
    history, future = [], []
    for number, (name, length) in enumerate(sorted(_LENGTHS.items())):
        promo = np.round(noise.random(len(grid)) < 0.2).astype(float)
        y = 10.0 * (number + 1) * (2 + np.sin(np.arange(len(grid)) / 24 * 2 * np.pi) + promo)
        y += noise.normal(0, 1, len(grid))
        if name == "gaps":
            y[noise.random(len(grid)) < 0.1] = np.nan
        past, ahead = slice(longest - length, longest), slice(longest, longest + task.h)
        columns = {"y": y, "stock": noise.random(len(grid)), "promo": promo}
        history.append(_rows(name, grid[past], {key: values[past] for key, values in columns.items()}))
        future.append(_rows(name, grid[ahead], {"promo": promo[ahead]}))
    static = pa.table({ID: sorted(_LENGTHS), "region": ["north", "south", "north", "south"]})
    return Snapshot(pa.concat_tables(history), pa.concat_tables(future), static)


def _rows(name: str, ds: Any, columns: dict[str, Any]) -> pa.Table:
    keys = {ID: pa.array([name] * len(ds), pa.string()), DS: timestamps(ds)}
    return pa.table(keys | {key: pa.array(values, from_pandas=True) for key, values in columns.items()})


def _long_enough(snapshot: Snapshot, forecaster: Forecaster) -> list[str]:
    """Keep the series that the fallback chain would give it: those as long as it says it needs."""
    return [name for name, length in sorted(_LENGTHS.items()) if length >= forecaster.min_history]


def _content(snapshot: Snapshot) -> list[Any]:
    return [table.to_pydict() for table in (snapshot.history, snapshot.future, snapshot.static)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.conformance", description=__doc__)
    parser.add_argument("place", help="the class, as module:Class")
    module, _, name = parser.parse_args().place.partition(":")
    findings = check(getattr(importlib.import_module(module), name))
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"{len(findings)} promises are not kept\n" if findings else "it keeps every promise\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

"""A small hourly panel with a schedule, weather and a static category, as the feature tests need it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from features.design.design_frame import FeatureSpec
from features.rolling.terms import ClockLag, Difference, Fourier, Lag, Term, TrailingWindow
from quantis.panel import Panel, Task, timestamps
from quantis.types.datasets import Roles

FIRST = np.datetime64("2013-03-01T05:00", "us")


@pytest.fixture
def task() -> Task:
    return Task(
        dataset="toy",
        version=1,
        content_hash="0" * 64,
        as_of=datetime(2014, 1, 1, tzinfo=UTC),
        freq="h",
        h=6,
        roles=Roles(futr_exog=("promo",), hist_exog=("temp",), stat_exog=("city",), categorical=("city",)),
        time_zone="America/New_York",
        holidays="US",
        season_lengths=(24,),
    )


@pytest.fixture
def toy() -> Panel:
    """Series of 200, 150 and 90 hours that end together; `promo` goes on for 24 hours."""
    noise = np.random.default_rng(3)
    targets, futures, ends = [], [], 200
    for name, length in (("a", 200), ("b", 150), ("c", 90)):
        ds = FIRST + np.arange(ends - length, ends + 24) * np.timedelta64(1, "h")
        ids = pa.array([name] * (length + 24))
        y = noise.normal(size=length)
        y[noise.random(length) < 0.1] = np.nan
        keys = {"unique_id": ids[:length], "ds": timestamps(ds[:length])}
        targets.append(
            pa.table({**keys, "y": pa.array(y, from_pandas=True), "temp": noise.normal(size=length)})
        )
        futures.append(
            pa.table({"unique_id": ids, "ds": timestamps(ds), "promo": noise.normal(size=length + 24)})
        )
    static = pa.table({"unique_id": ["a", "b", "c"], "city": ["Rome", "Oslo", "Rome"]})
    return Panel(pa.concat_tables(targets), pa.concat_tables(futures), static)


@pytest.fixture
def with_terms() -> Callable[[FeatureSpec], FeatureSpec]:
    """Adds every kind of window at the horizon, over y, a covariate observed and one known ahead."""

    def add(spec: FeatureSpec) -> FeatureSpec:
        windows = (
            Lag(steps=spec.h + 1),
            ClockLag(days=-(-spec.h // 24)),
            Difference(offset=spec.h, period=24),
            TrailingWindow(offset=spec.h, window=5),
        )
        terms = tuple(Term(column=column, window=window) for column in ("y", "temp") for window in windows)
        terms += (Term(column="promo", window=Lag(steps=0)), Term(column="promo", window=Lag(steps=2)))
        more = {"terms": terms, "fourier": (Fourier(period=24, order=2),), "holidays": ("DE",)}
        return FeatureSpec.model_validate(spec.model_dump() | more)

    return add

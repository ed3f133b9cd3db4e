"""Our window engine against pytorch-forecasting's own loader, key by key."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.oracle.library import reference_loader
from bench.oracle.loader import OracleLoader
from bench.oracle.panel import TimeSeriesLayout
from quantis.errors import InvalidInput

PLAIN = TimeSeriesLayout("t", "y", "id", 12, 6, 4, 4, unknown_reals=("y",))
MANY = TimeSeriesLayout(
    "t", "y", "id", 12, 3, 4, 2, ("shop", "id"), ("area",), ("weekday",), ("t", "price"), ("stock",), ("y", "temp"),
    allow_missing_timesteps=True,
)  # fmt: skip


def _frame(lengths: list[int], gaps: float = 0.0, seed: int = 0) -> pd.DataFrame:
    noise, frames = np.random.default_rng(seed), []
    for index, length in enumerate(lengths):
        time = np.arange(length) + noise.integers(0, 5)
        frame = pd.DataFrame({"id": f"s{index}", "t": time, "shop": f"shop{index % 3}", "area": 10.0 * index})
        frame["y"] = noise.gamma(2.0, 10.0 * (index + 1), length)
        frame["price"], frame["temp"] = noise.normal(5, 2, length), noise.normal(-3, 8, length)
        frame["weekday"] = [f"d{day % 7}" for day in time]
        frame["stock"] = noise.choice(["low", "mid", "high"], length)
        exists = noise.random(length) >= gaps
        exists[[0, -1]] = True
        frames.append(frame[exists])
    return pd.concat(frames, ignore_index=True)


def _compare(frame: pd.DataFrame, layout: TimeSeriesLayout, size: int = 16) -> int:
    engine = OracleLoader.from_table(pa.Table.from_pandas(frame, preserve_index=False), layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = reference_loader(frame, layout, size)
        library_batches = list(loader)
    batches = list(engine.batches(size))
    assert len(engine) == len(loader.dataset)
    for (x, (y, _)), (x_ref, (y_ref, _)) in zip(batches, library_batches, strict=True):
        assert x.keys() == x_ref.keys()
        for key, value in x_ref.items():
            assert x[key].dtype == value.dtype, key
            assert torch.allclose(x[key].double(), value.double(), rtol=1e-6, atol=1e-6), key
        assert torch.allclose(y, y_ref, rtol=1e-6, atol=1e-6)
    return len(engine)


@pytest.mark.parametrize(
    ("lengths", "gaps", "layout", "windows"),
    [
        ([40, 40], 0.0, PLAIN, 2 * (40 - 10 + 1 + 6)),
        ([40, 11, 9, 17], 0.0, PLAIN, None),
        ([40, 30], 0.3, MANY, None),
        ([33, 20, 6, 5, 4], 0.0, MANY, None),
        ([60, 25, 8], 0.6, MANY, None),
    ],
    ids=["regular", "short", "gappy", "many covariates", "very gappy"],
)
def test_when_a_panel_is_cut_into_windows_then_batches_are_those_of_the_reference(
    lengths, gaps, layout, windows
):
    found = _compare(_frame(lengths, gaps), layout)
    assert windows is None or found == windows


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=3).filter(lambda found: max(found) >= 15),
    gaps=st.sampled_from([0.0, 0.2, 0.5]),
    encoder=st.tuples(st.integers(1, 4), st.integers(0, 6)),
    ahead=st.tuples(st.integers(1, 3), st.integers(0, 2)),
    seed=st.integers(0, 1000),
)
def test_when_any_small_panel_is_cut_then_batches_are_those_of_the_reference(
    lengths, gaps, encoder, ahead, seed
):
    layout = TimeSeriesLayout(**{
        **vars(MANY), "min_encoder_length": encoder[0], "max_encoder_length": sum(encoder),
        "min_prediction_length": ahead[0], "max_prediction_length": sum(ahead),
    })  # fmt: skip
    _compare(_frame(lengths, gaps, seed), layout, size=7)


def test_when_steps_are_missing_and_may_not_be_then_it_says_where():
    frame = _frame([40]).drop(index=20)
    with pytest.raises(InvalidInput, match=r"no row after t \d+ until \d+; set allow_missing_timesteps"):
        OracleLoader.from_table(pa.Table.from_pandas(frame, preserve_index=False), PLAIN)


def test_when_no_window_fits_then_it_says_what_is_asked_and_what_is_there():
    with pytest.raises(InvalidInput, match="is 10, the longest series has 9 steps"):
        OracleLoader.from_table(pa.Table.from_pandas(_frame([9]), preserve_index=False), PLAIN)

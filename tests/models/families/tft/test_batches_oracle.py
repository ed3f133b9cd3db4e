"""The batches that feed the network while it trains, against pytorch-forecasting's, window by window."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.oracle.batches import (
    PlainWindow,
    compare,
    decode_library_batch,
    decode_training_batch,
    longest_by_origin,
)
from bench.oracle.case import CLOCK, LAG, OracleCase
from bench.oracle.library import reference_loader
from bench.oracle.loader import OracleLoader
from bench.oracle.panel import TimeSeriesLayout
from models.families.tft import network, training
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.shard import TrainingShard
from models.families.tft.shared_encoder import UNSHARED, HistoryIndex
from models.families.tft.training import fit, training_phases
from models.families.tft.windows import WindowTensors
from quantis.types.job_specs import TftParams

TOLERANCE = 1e-5
LAYOUT = TimeSeriesLayout(
    "t", "y", "id", 48, 24, 6, 6, ("id", "shop"), ("area",), ("hour", "weekday", "promo"),
    (CLOCK, "price", f"y-{LAG}"), ("stock",), ("y", "temp"), allow_missing_timesteps=True,
)  # fmt: skip
PARAMS = TftParams(hidden_size=8, attention_heads=2, dropout=0.0, encoder_length=48, batch_size=64, seed=3)
LONG, SHORT = [150, 120, 160], [100, 40, 31, 29, 12, 150]
Train = Callable[[OracleCase], list[PlainWindow]]
pytestmark = pytest.mark.usefixtures("one_thread")


def make_frame(lengths: list[int], gaps: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Series with every role, and rows missing at random but for the first and the last."""
    noise, frames = np.random.default_rng(seed), []
    for index, length in enumerate(lengths):
        steps = np.arange(length) + noise.integers(0, 5)
        frame = pd.DataFrame({"id": f"s{index}", "t": steps, CLOCK: steps.astype(float)})
        frame["shop"], frame["area"] = f"shop{index % 3}", 10.0 * index
        frame["y"] = noise.gamma(2.0, 10.0 * (index + 1), length)
        frame["price"], frame["temp"] = noise.normal(5, 2, length), noise.normal(-3, 8, length)
        frame["promo"] = noise.choice(["none", "half", "full"], length)
        frame["stock"] = noise.choice(["low", "mid", "high"], length)
        frame["hour"], frame["weekday"] = (steps % 24).astype(str), (steps // 24 % 7).astype(str)
        exists = noise.random(length) >= gaps
        exists[[0, -1]] = True
        # what lies before the history is the mean, 0 after scaling
        lagged = frame["y"].where(exists).ffill().shift(LAG)
        frame[f"y-{LAG}"] = lagged.fillna(frame.loc[exists, "y"].mean())
        frames.append(frame[exists])
    return pd.concat(frames, ignore_index=True)


def library_windows(case: OracleCase) -> dict[tuple[str, int], PlainWindow]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = [x for x, _ in reference_loader(case.frame, case.layout, 64)]
    return longest_by_origin(window for x in batches for window in decode_library_batch(case, x))


def oracle_windows(case: OracleCase) -> dict[tuple[str, int], PlainWindow]:
    loader = OracleLoader.from_table(pa.Table.from_pandas(case.frame, preserve_index=False), case.layout)
    return longest_by_origin(w for x, _ in loader.batches(64) for w in decode_library_batch(case, x))


def shard_windows(case: OracleCase, params: TftParams, epochs: int = 1) -> list[PlainWindow]:
    """The windows of every phase of training, in the order in which it visits them."""
    encoding = InputEncoding.from_snapshot(case.snapshot, case.task)
    scales, histories = (
        SeriesScales.from_snapshot(case.snapshot, encoding), HistoryIndex.from_snapshot(case.snapshot),
    )  # fmt: skip
    shard = TrainingShard.from_snapshot(
        case.snapshot, case.task, params, encoding=encoding, scales=scales, histories=histories, worker=(0, 1)
    )
    windows: list[PlainWindow] = []
    for phase in training_phases(shard, case.task.h, params, 1):
        steps = -(-epochs * phase.order.count // phase.order.size)
        for indices in islice(phase.order.batches(), steps):
            batch, target = phase.shard.batch(indices)
            windows += decode_training_batch(
                case, encoding, scales, batch, target, sharing=phase.shard.sharing
            )
    return windows


class RecordingWorker:
    """One worker whose network notes every batch that it is fed."""

    rank, world_size = 0, 1

    def __init__(self) -> None:
        self.batches: list = []

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        def note(_: torch.nn.Module, inputs: tuple) -> None:
            self.batches.append(inputs)

        module.register_forward_pre_hook(note)
        return module

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.fixture(scope="module")
def all_roles() -> tuple[OracleCase, dict[tuple[str, int], PlainWindow]]:
    case = OracleCase.from_frame(make_frame(LONG), LAYOUT)
    return case, library_windows(case)


def test_when_the_network_trains_then_what_it_is_fed_is_what_the_library_gives(all_roles, monkeypatch):
    case, reference = all_roles
    targets, pinball = [], network.pinball

    def noted(quantiles, forecast, target):
        targets.append(target)
        return pinball(quantiles, forecast, target)

    monkeypatch.setattr(training, "pinball", noted)
    worker = RecordingWorker()
    model = fit(case.snapshot, case.task, PARAMS.model_copy(update={"steps": 20}), worker)
    windows = []
    sharings = set()
    for (batch, sharing), target in zip(worker.batches, targets, strict=True):
        sharings.add(sharing)
        windows += decode_training_batch(case, model.encoding, model.scales, batch, target, sharing=sharing)
    assert len(sharings) == 2  # single windows of a short past, then origins that share an encoder
    assert {len(window.encoder["y"]) for window in windows} >= {12, 48}
    result = compare(case, windows, reference)
    assert result.windows > 1000
    assert result.largest < TOLERANCE, result


@pytest.mark.parametrize(
    ("lengths", "gaps"), [(LONG, 0.0), (SHORT, 0.0), (LONG, 0.2), (SHORT, 0.5)],
    ids=["all roles", "short series", "gaps", "short and very gappy"],
)  # fmt: skip
@pytest.mark.parametrize(
    "changes", [{}, {"short_start": False, "share_encoder": False}], ids=["default", "alone"]
)
def test_when_a_panel_is_trained_on_then_its_batches_hold_the_librarys_windows(lengths, gaps, changes):
    case = OracleCase.from_frame(make_frame(lengths, gaps), LAYOUT)
    reference = library_windows(case)
    windows = shard_windows(case, PARAMS.model_copy(update=changes))
    if gaps:  # the library begins and ends windows only at rows that are there
        windows = [window for window in windows if (window.series, window.origin) in reference]
    result = compare(case, windows, reference)
    assert result.windows > 100
    assert result.largest < TOLERANCE, result


@pytest.mark.parametrize("lengths", [LONG, SHORT])
def test_when_an_epoch_ends_then_each_of_the_librarys_windows_was_visited_once(lengths):
    case = OracleCase.from_frame(make_frame(lengths), LAYOUT)
    reference = library_windows(case)
    params = PARAMS.model_copy(update={"short_start": False, "batch_size": 1})
    visited = [(window.series, window.origin) for window in shard_windows(case, params)]
    assert len(visited) == len(set(visited))
    assert set(visited) == set(reference)


def test_when_a_history_is_short_then_its_encoder_is_the_librarys_but_for_an_eighth(all_roles):
    case, reference = all_roles
    alone = PARAMS.model_copy(update={"short_start": False, "share_encoder": False})
    for window in shard_windows(case, alone):
        length, full = len(window.encoder["y"]), len(reference[window.series, window.origin].encoder["y"])
        assert 0 <= full - length < PARAMS.encoder_length // 8


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.integers(6, 60), min_size=1, max_size=3).filter(lambda found: max(found) >= 40),
    gaps=st.sampled_from([0.0, 0.2, 0.5]),
    encoder_length=st.integers(2, 24),
    h=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_when_any_small_panel_is_trained_on_then_its_batches_are_those_of_the_oracle(
    lengths, gaps, encoder_length, h, seed
):
    layout = replace(
        LAYOUT, max_encoder_length=encoder_length, min_encoder_length=max(1, encoder_length // 2),
        max_prediction_length=h, min_prediction_length=h,
    )  # fmt: skip
    case = OracleCase.from_frame(make_frame(lengths, gaps, seed), layout)
    reference = oracle_windows(case)
    windows = shard_windows(case, PARAMS.model_copy(update={"encoder_length": encoder_length}))
    if gaps:
        windows = [window for window in windows if (window.series, window.origin) in reference]
    result = compare(case, windows, reference)
    assert result.largest < TOLERANCE or not windows, result


def _rolled(name: str) -> Callable:
    return lambda batch, target: (batch | {name: batch[name].roll(1, 1)}, target)


def _of_the_next_window(name: str) -> Callable:
    return lambda batch, target: (batch | {name: batch[name].roll(1, 0)}, target)


@pytest.mark.parametrize(
    "plant",
    [
        *(pytest.param(_rolled(name), id=f"{name} one step late")
          for name in ("encoder_cont", "encoder_cat", "decoder_cont", "decoder_cat")),
        *(pytest.param(_of_the_next_window(name), id=f"{name} of another window")
          for name in ("static_cont", "static_cat", "encoder_cont", "decoder_cat", "encoder_lengths")),
        pytest.param(lambda batch, target: (batch, target.roll(1, 1)), id="target one step late"),
        pytest.param(lambda batch, target: (batch, target.roll(1, 0)), id="target of another window"),
        pytest.param(lambda batch, target: (batch | {"encoder_cont": batch["encoder_cont"] * 1.001}, target),
                     id="numbers scaled wrongly"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "changes", [{}, {"short_start": False, "share_encoder": False}], ids=["default", "alone"]
)
def test_when_an_error_is_planted_then_the_comparison_finds_it(all_roles, monkeypatch, plant, changes):
    case, reference = all_roles
    gather = WindowTensors.batch
    monkeypatch.setattr(
        WindowTensors, "batch", lambda self, windows, sharing=UNSHARED, coarse=False: plant(
            *gather(self, windows, sharing, coarse)
        )
    )  # fmt: skip
    windows = shard_windows(case, PARAMS.model_copy(update=changes))
    assert compare(case, windows, reference).largest > 10 * TOLERANCE

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import QuantileNetwork
from models.families.tft.shard import TrainingShard
from models.families.tft.shared_encoder import UNSHARED, HistoryIndex, OriginSharing
from models.families.tft.training import training_phases
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, encoder_length=48, batch_size=16, steps=100)
LENGTHS = {"a": 150, "b": 61, "c": 120, "short": 31}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(make_task, make_snapshot):
    task = make_task(h=6, season_lengths=(24,))
    snapshot, _ = make_snapshot(task, LENGTHS)
    encoding = InputEncoding.from_snapshot(snapshot, task)
    histories = HistoryIndex.from_snapshot(snapshot)
    scales = SeriesScales.from_snapshot(snapshot, encoding)
    return (
        histories,
        TrainingShard.from_snapshot(
            snapshot, task, PARAMS, encoding=encoding, scales=scales, histories=histories, worker=(0, 1)
        ),
        encoding,
    )


def test_when_a_shard_is_ungrouped_then_its_samples_are_all_windows_once(case):
    histories, shard, _ = case
    assert shard.sharing == OriginSharing(8, 6)
    ungrouped = shard.ungroup(12)
    windows = [tuple(window) for window in ungrouped.single_windows(torch.arange(ungrouped.count)).tolist()]
    assert len(set(windows)) == len(windows) == ungrouped.count
    assert set(windows) == {tuple(window) for window in histories.encoder_groups(24, 6).tolist()}


def test_when_a_shard_is_ungrouped_then_a_window_has_the_end_of_its_context_and_the_same_target(case):
    _, shard, _ = case
    ungrouped = shard.ungroup(12)
    indices = torch.tensor([0, 7, ungrouped.count // 2, ungrouped.count - 1])
    batch, target = ungrouped.batch(indices)
    whole, same = replace(ungrouped, windows=shard.windows).batch(indices)
    assert batch["encoder_cont"].shape[1] == 12
    assert batch["encoder_lengths"].tolist() == [12] * 4
    assert torch.equal(target, same)
    for name in ("encoder_cont", "encoder_cat"):
        assert torch.equal(batch[name], whole[name][:, -12:])
    for name in ("decoder_cont", "decoder_cat", "static_cont", "static_cat"):
        assert torch.equal(batch[name], whole[name])


def test_when_the_encoder_is_long_then_most_steps_see_a_short_past_and_the_last_ones_all_of_it(case):
    _, shard, _ = case
    first, last = training_phases(shard, 6, PARAMS, 1)
    assert (first.steps, last.steps) == (range(80), range(80, 100))
    assert (first.shard.windows.encoder_length, last.shard.windows.encoder_length) == (12, 48)
    assert (first.shard.sharing, last.shard.sharing) == (UNSHARED, OriginSharing(8, 6))
    assert (first.order.size, last.order.size) == (16, 2)  # windows, and groups of eight


@pytest.mark.parametrize(
    ("h", "changes"),
    [(6, {"short_start": False}), (24, {})],
    ids=["not wanted", "no longer than two horizons would be"],
)
def test_when_a_short_past_is_not_wanted_or_saves_little_then_every_step_sees_the_whole(case, h, changes):
    (only,) = training_phases(case[1], h, PARAMS.model_copy(update=changes), 1)
    assert only.steps == range(100)
    assert only.shard is case[1]


def test_when_a_network_is_new_then_it_answers_about_the_quantiles_of_a_normal_target(case):
    _, shard, encoding = case
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        network = QuantileNetwork(PARAMS, encoding, (0.1, 0.5, 0.9)).eval()
        batch, _ = shard.ungroup(12).batch(torch.arange(4))
        windows = network(batch)
    assert torch.allclose(windows, torch.tensor([-1.2816, 0.0, 1.2816]).expand_as(windows), atol=0.5)

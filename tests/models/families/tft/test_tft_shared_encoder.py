from __future__ import annotations

import numpy as np
import pytest
import torch

from models.families.tft.forecaster import TftForecaster
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import QuantileNetwork
from models.families.tft.shared_encoder import UNSHARED, HistoryIndex, OriginSharing
from models.families.tft.time_grid import encode_snapshot
from models.families.tft.windows import WindowTensors
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, attention_heads=2, dropout=0.0, encoder_length=24)
SHARING = OriginSharing(4, 6)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(one_thread, make_task, make_snapshot):
    task = make_task(h=6, quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 150, "b": 61, "short": 25})
    encoding = InputEncoding.from_snapshot(snapshot, task)
    scales = SeriesScales.from_snapshot(snapshot, encoding)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = QuantileNetwork(PARAMS, encoding, task.quantiles).eval()
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
    windows = WindowTensors.from_encoded(
        [encode_snapshot(snapshot, task, encoding, scales)], 24, task.h, SHARING
    )
    return task, snapshot, encoding, scales, network, windows


def test_when_windows_are_put_into_encoder_groups_then_each_is_in_one_and_one_only(case):
    task, snapshot, *_ = case
    histories = HistoryIndex.from_snapshot(snapshot)
    alone = {tuple(window) for window in histories.encoder_groups(12, task.h).tolist()}
    inside = [
        (series, first + number * SHARING.stride)
        for series, first in histories.encoder_groups(12, task.h, SHARING).tolist()
        for number in range(SHARING.origins)
        if first + number * SHARING.stride + task.h <= histories.steps[series]
    ]
    assert len(inside) == len(set(inside))
    assert set(inside) == alone


@pytest.mark.parametrize("first", [[0, 40], [0, 24], [0, 13], [2, 12], [1, 30]])
def test_when_origins_share_a_pass_then_the_first_answers_as_if_it_were_alone_and_all_see_their_targets(
    case, first
):
    _, _, _, _, network, windows = case
    both, targets = windows.batch(torch.tensor([first, [0, 60]]), SHARING)
    with torch.inference_mode():
        shared = network(both, SHARING).unflatten(0, (2, 4))
        alone = network(windows.batch(torch.tensor([first]))[0])
    assert torch.allclose(shared[0, 0], alone[0], atol=1e-5)
    for number in range(4):
        origin = [first[0], first[1] + 6 * number]
        if origin[1] + 6 <= int(windows.steps[first[0]]):
            assert torch.equal(
                targets.unflatten(0, (2, 4))[0, number], windows.batch(torch.tensor([origin]))[1][0]
            )
        else:
            assert torch.isnan(targets.unflatten(0, (2, 4))[0, number]).all()


def test_when_all_histories_of_a_batch_are_short_then_later_origins_see_as_much_as_in_any_batch(case):
    _, _, _, _, network, windows = case
    with torch.inference_mode():
        alone = network(windows.batch(torch.tensor([[0, 13]]), SHARING)[0], SHARING)
        among = network(windows.batch(torch.tensor([[0, 13], [0, 60]]), SHARING)[0], SHARING)
    assert torch.allclose(alone, among[:4], atol=1e-5)


def test_when_an_origin_comes_later_then_it_answers_as_an_lstm_over_the_whole_group_would(case):
    """A later origin, alone, over an encoder as long as the group: only attention looks further back."""
    task, snapshot, encoding, scales, network, windows = case
    longer = WindowTensors.from_encoded([encode_snapshot(snapshot, task, encoding, scales)], 24 + 18, task.h)
    with torch.inference_mode():
        shared = network(windows.batch(torch.tensor([[0, 60]]), SHARING)[0], SHARING)[3]
        batch, _ = longer.batch(torch.tensor([[0, 60 + 18]]))
        hidden = network.attention.forward_with_weights

        def blind(ahead, key_value, mask):
            mask = mask.clone()
            mask[..., :18] = True  # what lies before the origin's own encoder
            return hidden(ahead, key_value, mask)

        network.attention.forward_with_weights = blind
        alone = network.forward_with_weights(batch).quantiles[0]
        del network.attention.forward_with_weights
    assert torch.allclose(shared, alone, atol=1e-5)


def test_when_encoders_are_long_then_origins_are_shared_and_else_not(case):
    histories = HistoryIndex.from_snapshot(case[1])
    assert histories.choose_sharing(12, 24, 24) == UNSHARED
    long = HistoryIndex(np.array([2000]), np.zeros(2000, int), np.arange(2000), np.ones(2000, bool))
    assert long.choose_sharing(84, 168, 24) == OriginSharing(8, 24)
    assert long.choose_sharing(24, 48, 24) == UNSHARED
    few = HistoryIndex(np.array([120]), np.zeros(120, int), np.arange(120), np.ones(120, bool))
    assert few.choose_sharing(84, 168, 24) == UNSHARED


def test_when_one_series_with_a_whole_encoder_is_asked_then_the_quick_way_gives_the_same_bits(case):
    task, snapshot, encoding, scales, network, _ = case
    model = TftForecaster(task, PARAMS, encoding, scales, network)
    windows = WindowTensors.from_encoded([encode_snapshot(snapshot, task, encoding, scales)], 24, task.h)
    for series in (0, 1):
        batch, _ = windows.batch(windows.prediction_windows()[series : series + 1])
        with torch.inference_mode():
            assert torch.equal(model._fast_predictor(batch), network(batch))
            assert model._fast_predictor.fits(batch)
    short, _ = windows.batch(torch.tensor([[2, 10]]))
    assert not model._fast_predictor.fits(short)

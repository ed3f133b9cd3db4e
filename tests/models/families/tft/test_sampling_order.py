from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.families.tft.sampling_order import SamplingOrder

ORDERS = st.builds(SamplingOrder, st.integers(1, 60), st.integers(0, 2**31), st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(order=ORDERS, step=st.integers(0, 30))
def test_when_training_resumes_at_any_step_then_the_remaining_sequence_is_the_same(order, step):
    whole = list(islice(order.batches(), step + 4))
    resumed = list(islice(order.batches(step), 4))
    assert all(torch.equal(a, b) for a, b in zip(whole[step:], resumed, strict=True))


@settings(max_examples=60, deadline=None)
@given(order=ORDERS)
def test_when_epochs_follow_each_other_then_each_holds_every_window_once_and_every_batch_is_full(order):
    steps = -(-3 * order.count // order.size)
    batches = list(islice(order.batches(), steps))
    assert all(len(batch) == order.size for batch in batches)
    visited = torch.cat(batches)
    for number in range(3):
        part = visited[number * order.count : (number + 1) * order.count]
        assert torch.equal(part.sort().values, torch.arange(order.count))


def test_when_seed_or_epoch_differ_then_the_order_differs_and_else_it_does_not():
    order = SamplingOrder(100, 7, 8)
    assert torch.equal(order.epoch(3), SamplingOrder(100, 7, 32).epoch(3))
    assert not torch.equal(order.epoch(3), order.epoch(4))
    assert not torch.equal(order.epoch(3), SamplingOrder(100, 8, 8).epoch(3))


@pytest.mark.parametrize(("step", "state"), [(0, (0, 0)), (3, (0, 48)), (7, (1, 12))])
def test_when_a_step_is_named_then_its_epoch_and_place_follow(step, state):
    assert SamplingOrder(100, 7, 16).epoch_position(step) == state

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.windows.order import Order

ORDERS = st.builds(Order, st.integers(1, 60), st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(order=ORDERS, step=st.integers(0, 30))
def test_when_training_resumes_at_any_step_then_the_remaining_sequence_is_the_same(order, step):
    for rank in range(order.world_size):
        whole = list(islice(order.batches(rank), step + 4))
        resumed = list(islice(order.batches(rank, step), 4))
        assert all(torch.equal(a, b) for a, b in zip(whole[step:], resumed, strict=True))


@settings(max_examples=60, deadline=None)
@given(order=ORDERS)
def test_when_workers_share_an_epoch_then_every_window_is_visited_once_by_one_of_them(order):
    steps = -(-3 * order.count // (order.batch_size * order.world_size))
    by_rank = [list(islice(order.batches(rank), steps)) for rank in range(order.world_size)]
    visited = torch.cat([torch.stack([*batch], dim=1).flatten() for batch in zip(*by_rank, strict=True)])
    for number in range(3):
        part = visited[number * order.count : (number + 1) * order.count]
        assert torch.equal(part.sort().values, torch.arange(order.count))
        assert order.state(0) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(order=ORDERS)
def test_when_the_batch_is_dealt_to_more_workers_then_together_they_see_the_same_windows(order):
    alone = Order(order.count, order.seed, order.batch_size * order.world_size)
    together = zip(*(order.batches(rank) for rank in range(order.world_size)), strict=True)
    for batch, parts in islice(zip(alone.batches(), together, strict=True), 5):
        assert torch.equal(torch.stack(parts, dim=1).flatten(), batch)


def test_when_seed_or_epoch_differ_then_the_order_differs_and_else_it_does_not():
    order = Order(100, 7, 8)
    assert torch.equal(order.epoch(3), Order(100, 7, 16, 2).epoch(3))
    assert not torch.equal(order.epoch(3), order.epoch(4))
    assert not torch.equal(order.epoch(3), Order(100, 8, 8).epoch(3))


@pytest.mark.parametrize(("step", "state"), [(0, (0, 0)), (3, (0, 48)), (7, (1, 12))])
def test_when_a_step_is_named_then_its_epoch_and_place_follow(step, state):
    assert Order(100, 7, 8, 2).state(step) == state

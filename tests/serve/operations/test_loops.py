"""The loops of the Operations deployment: each is there and lives on a platform without anything in it."""

from __future__ import annotations

import threading

import pytest

from serve.operations.deployment import Loop, loops


def test_when_the_loops_are_made_then_those_of_alerts_are_among_them_and_each_ticks(world):
    by_name = {loop.name: loop for loop in loops(world.services)}
    assert {"scorer", "alert-measurement", "alert-live-facts", "alert-delivery"} <= by_name.keys()
    for loop in by_name.values():
        loop.tick()


def test_when_a_tick_fails_then_the_loop_goes_on(caplog: pytest.LogCaptureFixture):
    stop, ticks = threading.Event(), []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            stop.set()
        raise RuntimeError("broken")

    Loop("weak", tick, every=0.0).run(stop)
    assert len(ticks) == 3
    assert "the weak failed; it goes on" in caplog.text

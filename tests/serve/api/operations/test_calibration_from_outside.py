"""Adaptive calibration from the SDK and the command line, on the API under test."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cluster.repositories.accounts import DEFAULT_TEAM
from models.postprocessing.adaptive_calibration import AdaptiveCalibration
from quantis.client import Client
from quantis.errors import Forbidden, NotFound
from tests.serve.api_under_test import World

STATE = AdaptiveCalibration(
    ends=(12, 24), tracked=(0.5, 0.0), excess=(0.0, 0.0), points=(120.0, 80.4), breadth=3.0
)


@pytest.fixture
def learned(world: World) -> World:
    """A model whose first version has learned from 200 points."""
    now = datetime.now(UTC)
    assert world.services.calibrations.append(DEFAULT_TEAM, "demand", 1, lambda _: STATE, now)
    return world


def test_when_the_sdk_asks_then_it_gets_the_state_and_may_switch_it(
    learned: World, sdk_of: Callable[[str], Client]
) -> None:
    with sdk_of("ml_engineer") as sdk:
        state = sdk.calibration("demand")
        assert (state.model, state.enabled) == ("demand", True)
        (version,) = state.versions
        assert (version.version, version.number, version.applied) == (1, 1, True)
        steps = [(stretch.first_step, stretch.last_step) for stretch in version.stretches]
        assert steps == [(1, 12), (13, 24)]
        assert [stretch.factor for stretch in version.stretches] == pytest.approx(STATE.factors)
        off = sdk.set_calibration("demand", enabled=False)
        assert (off.enabled, off.versions[0].applied) == (False, False)
        assert sdk.calibration("demand") == off
        assert sdk.set_calibration("demand", enabled=True).versions[0].stretches == version.stretches


def test_when_a_viewer_switches_or_a_model_is_not_there_then_the_sdk_raises(
    learned: World, sdk_of: Callable[[str], Client]
) -> None:
    with sdk_of("viewer") as sdk:
        assert sdk.calibration("demand").enabled
        with pytest.raises(Forbidden):
            sdk.set_calibration("demand", enabled=False)
        with pytest.raises(NotFound):
            sdk.calibration("nothing")
    assert learned.services.calibrations.is_enabled(DEFAULT_TEAM, "demand")


def test_when_the_command_line_is_used_then_it_shows_factors_and_switches(
    learned: World, cli: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, error = cli("calibration", "demand")
    assert (code, "calibration of demand is on" in error) == (0, True)
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "1-12", f"{STATE.factors[0]:.2f}", "120"] in rows
    assert ["1", "13-24", "1.00", "80"] in rows
    code, _, error = cli("calibration", "demand", "--off")
    assert (code, "is off" in error) == (0, True)
    assert not learned.services.calibrations.is_enabled(DEFAULT_TEAM, "demand")
    code, out, _ = cli("calibration", "demand", "--on", "--json")
    assert (code, json.loads(out)["enabled"]) == (0, True)
    assert cli("calibration", "nothing")[0] == 4

"""Calibrations: numbered states of a version, the switch of a model, and what was in effect when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.database.engine import Database
from cluster.repositories.operations.calibrations import Calibrations, StoredCalibration
from models.postprocessing.adaptive_calibration import AdaptiveCalibration
from tests.cluster.concurrency import at_once

TEAM = "default"


@pytest.fixture
def calibrations(database: Database) -> Calibrations:
    return Calibrations(database)


def _with_more_points(stored: StoredCalibration | None) -> AdaptiveCalibration:
    state = stored.state if stored else AdaptiveCalibration.initial(4)
    return state.model_copy(update={"points": tuple(points + 1 for points in state.points)})


def test_when_states_are_appended_then_each_has_a_number_and_the_last_is_the_latest(
    calibrations: Calibrations,
) -> None:
    assert calibrations.latest(TEAM, "demand", 1) is None
    scored_to = datetime(2026, 1, 1, tzinfo=UTC)
    for number in (1, 2):
        stored = calibrations.append(TEAM, "demand", 1, _with_more_points, scored_to)
        assert stored is not None
        assert (stored.number, stored.applied, stored.state.points[0]) == (number, True, float(number))
    assert calibrations.append(TEAM, "demand", 1, lambda stored: None, scored_to) is None
    calibrations.append(TEAM, "demand", 3, _with_more_points, scored_to)
    calibrations.append("other", "demand", 1, _with_more_points, None)
    assert calibrations.latest(TEAM, "demand", 1) == stored
    assert [(each.version, each.number) for each in calibrations.of_model(TEAM, "demand")] == [(3, 1), (1, 2)]


def test_when_several_append_at_once_then_no_update_is_lost(calibrations: Calibrations) -> None:
    at_once(8, lambda number: calibrations.append(TEAM, "demand", 1, _with_more_points, None))
    latest = calibrations.latest(TEAM, "demand", 1)
    assert latest is not None
    assert (latest.number, latest.state.points) == (8, (8.0,) * 4)


def test_when_a_model_is_switched_off_then_its_states_stay_and_the_history_says_since_when(
    calibrations: Calibrations,
) -> None:
    calibrations.append(TEAM, "demand", 1, _with_more_points, None)
    assert calibrations.is_enabled(TEAM, "demand")
    for _ in range(2):
        calibrations.set_enabled(TEAM, "demand", enabled=False, user="ada")
    off = calibrations.append(TEAM, "demand", 1, _with_more_points, None)
    calibrations.set_enabled(TEAM, "demand", enabled=True, user="ada")
    assert off is not None
    history = calibrations.since(TEAM, "demand", 1, datetime.now(UTC) - timedelta(days=1))
    assert [(each.number, each.applied) for each in history] == [(1, True), (2, False), (3, False), (4, True)]
    assert history[3].state == off.state
    assert calibrations.since(TEAM, "demand", 1, off.created_at) == history[2:]
    assert calibrations.is_enabled("other", "demand")

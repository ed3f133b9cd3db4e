"""Listeners of a scorer that is killed between a commit of scores and their call, or before that is written down."""

from __future__ import annotations

import pytest

from cluster.alerting.anomaly_facts import AnomalyFacts
from cluster.model_monitoring.calibration_updates import CalibrationUpdates
from cluster.model_monitoring.score_listeners import ScoreListeners, ScoresListener
from cluster.model_monitoring.scorer import Scorer
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories.operations.calibrations import StoredCalibration
from cluster.repositories.operations.facts import WorkCounters
from tests.serve.api_under_test import World
from tests.serve.operations.test_scorer import arrive, entry, issue

TEAM = "default"


class KilledError(BaseException):
    """The end of a process, which nothing catches."""


def scorer_of(world: World) -> Scorer:
    return Scorer(
        world.services,
        [
            ScoresListener("calibration", CalibrationUpdates(world.services).update_calibration),
            ScoresListener("anomaly-facts", AnomalyFacts(world.services).record_anomalies),
        ],
    )


def score(world: World) -> None:
    """Score in a process of its own, whose lease is over whatever becomes of it."""
    scorer = scorer_of(world)
    try:
        scorer.score_team(TEAM)
    finally:
        scorer.close()


def calibration(world: World) -> StoredCalibration:
    stored = world.services.calibrations.latest(TEAM, "demand", 1)
    assert stored is not None
    return stored


def points_learned(world: World) -> float:
    return sum(calibration(world).state.points)


def test_when_the_scorer_is_killed_before_its_listeners_are_told_then_they_catch_up_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = entry(issue(world))
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KilledError

        patch.setattr(ScoreListeners, "_notify_one", die)
        for step in range(3):
            arrive(world, forecast["ds"][step : step + 1], [90_000.0])
            with pytest.raises(KilledError):
                score(world)
    tables = MonitoringTables.of_team(world.settings.data_layout, TEAM)
    assert tables.scores.count() >= 1, "the scores are committed"
    assert world.services.calibrations.latest(TEAM, "demand", 1) is None
    score(world)
    assert points_learned(world) == tables.scores.count() == 3
    states = calibration(world).number
    score(world)
    assert calibration(world).number == states
    (alert,) = world.services.alerts.page(TEAM, rule="default-anomaly").items
    assert len(world.services.alerts.get(TEAM, alert.id).history) == 1


def test_when_the_scorer_is_killed_before_a_counter_is_written_then_the_listener_takes_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:4], [90_000.0] * 4)
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KilledError

        patch.setattr(WorkCounters, "advance", die)
        with pytest.raises(KilledError):
            score(world)
    assert points_learned(world) == 4
    score(world)
    assert points_learned(world) == 4
    assert calibration(world).number == 1
    (alert,) = world.services.alerts.page(TEAM, rule="default-anomaly").items
    assert len(world.services.alerts.get(TEAM, alert.id).history) == 1


def test_when_a_listener_fails_then_the_others_are_told_and_it_is_told_again(world: World) -> None:
    told: list[int] = []
    failures = [RuntimeError("broken")]

    def weak(_team: str, _dataset: str, scores: object) -> None:
        if failures:
            raise failures.pop()
        told.append(getattr(scores, "num_rows", 0))

    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:2], [1.0, 2.0])
    strong: list[int] = []
    listeners = [
        ScoresListener("weak", weak),
        ScoresListener("strong", lambda _team, _dataset, scores: strong.append(scores.num_rows)),
    ]
    scorer = Scorer(world.services, listeners)
    scorer.score_team(TEAM)
    assert (told, strong) == ([], [2])
    scorer.score_team(TEAM)
    assert (told, strong) == ([2], [2])
    arrive(world, forecast["ds"][2:3], [3.0])
    scorer.score_team(TEAM)
    assert (told, strong) == ([2, 1], [2, 1])

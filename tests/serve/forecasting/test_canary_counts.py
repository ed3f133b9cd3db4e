"""Counts of a canary's versions: by what was answered, and written beside the requests."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import pytest

from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.principals import Author
from quantis.errors import InvalidInput, NotFound
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import NewOnlineExperiment, OnlineExperiment
from quantis.types.registry import Share, Traffic
from serve.forecasting.canary_counts import CanaryCounts
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.engine import Engine
from serve.forecasting.routing import ModelRouter
from tests.serve.api_under_test import PASSED, InThisProcess, World

TEAM = "default"
ADA = Author("user", "1", "ada")
SHARES = Traffic(shares=(Share(version=2, percent=50),))
_NUMBERS = count(1)
_NAMES = [f"new-{number}" for number in range(20)]


@pytest.fixture
def model(world: World, template: Path) -> str:
    registry, name = world.services.registry(TEAM), f"counted-{next(_NUMBERS)}"
    for _ in range(2):
        registry.publish(name, template / "bundle", metrics={"mase": 0.5}, gate=PASSED)
    registry.promote(name, 1)
    registry.set_traffic(name, SHARES)
    return name


@pytest.fixture
def experiment(world: World, model: str) -> OnlineExperiment:
    new = NewOnlineExperiment.model_validate(
        {"name": model, "model": model, "challenger": 2, "mode": "canary"}
    )
    return world.services.online_experiments.create(TEAM, ADA, new, 1)


@pytest.fixture
def counts(world: World) -> CanaryCounts:
    return CanaryCounts(world.services.online_experiments, world.services.experiment_arms, write_seconds=3600)


def engine_of(world: World) -> Engine:
    """The engine that answers in this process."""
    assert isinstance(world.forecaster, InThisProcess)
    return world.forecaster.engine


class Broken:
    """An engine that divides requests as the real one, and answers none."""

    def __init__(self, router: ModelRouter, error: Exception) -> None:
        self.router, self._error = router, error

    def forecast(
        self, team: str, ref: str, request: ForecastRequest, cancellation: Cancellation | None = None
    ) -> ForecastResponse:
        raise self._error


def _series_of(world: World, model: str, version: int) -> list[str]:
    """Return names of series that the version's share has."""
    parts = engine_of(world).router.divide(TEAM, model, _NAMES)
    positions = next(part.positions for part in parts if part.version.version == version)
    return [_NAMES[position] for position in positions][:2]


def _request(*names: str) -> ForecastRequest:
    history = [float(hour % 24) for hour in range(72)]
    series = [{"unique_id": name, "start": "2024-01-01T00:00:00Z", "y": history} for name in names]
    return ForecastRequest.model_validate({"series": series})


def _arms(world: World, experiment: OnlineExperiment) -> dict[int, ArmCounts]:
    arms = world.services.experiment_arms.of_step(TEAM, experiment)
    return {version: arm for (version, kind), arm in arms.items() if kind is VintageKind.online}


def test_when_a_canary_runs_then_each_version_has_its_requests_series_and_time(
    world: World, counts: CanaryCounts, experiment: OnlineExperiment, model: str
) -> None:
    engine = engine_of(world)
    own, others = _series_of(world, model, 2), _series_of(world, model, 1)
    counts.forecast(engine, TEAM, model, _request(own[0], *others))
    counts.forecast(engine, TEAM, model, _request(others[0]))
    assert _arms(world, experiment) == {}
    counts.write()
    arms = _arms(world, experiment)
    assert {version: (arm.requests, arm.series, arm.failed) for version, arm in arms.items()} == {
        1: (2, 3, 0),
        2: (1, 1, 0),
    }
    assert arms[1].seconds > arms[2].seconds > 0
    counts.write()
    assert _arms(world, experiment) == arms


def test_when_requests_fail_then_the_failure_counts_for_the_versions_unless_it_is_the_callers(
    world: World, counts: CanaryCounts, experiment: OnlineExperiment, model: str
) -> None:
    router = engine_of(world).router
    request = _request(_series_of(world, model, 2)[0])
    for error in (RuntimeError("no memory"), InvalidInput("no history"), NotFound("no such model")):
        with pytest.raises(type(error)):
            counts.forecast(Broken(router, error), TEAM, model, request)
    counts.write()
    assert _arms(world, experiment) == {2: ArmCounts(requests=1, failed=1)}


def test_when_there_is_no_canary_then_nothing_is_counted(
    world: World, counts: CanaryCounts, model: str
) -> None:
    new = NewOnlineExperiment(name=model, model=model, challenger=2)
    shadow = world.services.online_experiments.create(TEAM, ADA, new, 1)
    engine = engine_of(world)
    for reference in (model, "demand"):
        counts.forecast(engine, TEAM, reference, _request("new"))
    counts.write()
    assert _arms(world, shadow) == {}


def test_when_nobody_asks_any_more_then_what_was_counted_is_written_all_the_same(
    world: World, experiment: OnlineExperiment, model: str
) -> None:
    services = world.services
    counts = CanaryCounts(services.online_experiments, services.experiment_arms, write_seconds=0.01)
    request = _request(_series_of(world, model, 2)[0])
    counts.forecast(engine_of(world), TEAM, model, request)
    until = time.monotonic() + 60
    while not _arms(world, experiment) and time.monotonic() < until:
        time.sleep(0.02)
    assert _arms(world, experiment)[2].requests == 1

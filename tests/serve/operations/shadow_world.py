"""A world with challengers of the champion, for tests of shadow forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.model_monitoring.live_reports import LiveQuery
from cluster.model_monitoring.scorer import Scorer
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories.operations.online_experiments import StoredExperiment
from cluster.repositories.operations.shadows import Shadows
from cluster.repositories.principals import Author
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import (
    NewOnlineExperiment,
    OnlineExperiment,
    OnlineExperimentState,
)
from quantis.types.operations.shadows import ShadowProgress
from serve.operations.shadow_forecasts import ShadowForecasts
from tests.serve.api_under_test import HOURS, START, World, value

TEAM, MODEL = "default", "demand"
INCUMBENT, TWIN, LAST_VALUE, LEARNED = 1, 2, 3, 4
SERIES = ("EWR/UA", "JFK/B6")
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def experiment(challenger: int = LAST_VALUE, share: int = 100, **changes: Any) -> StoredExperiment:
    """A running experiment that replays nothing."""
    new = NewOnlineExperiment(name="trial", model=MODEL, challenger=challenger, share=share)
    trial = OnlineExperiment(
        **new.model_dump(exclude={"ramp"}),
        id="trial",
        incumbent=INCUMBENT,
        state=OnlineExperimentState.running,
        step=0,
        traffic=0,
        started_at=datetime.now(UTC),
        created_by="admin",
    )
    author = Author("user", "1", "admin")
    return StoredExperiment(TEAM, trial.model_copy(update=changes), author, promoting=False)


def replaying(**changes: Any) -> StoredExperiment:
    return experiment(**{"replay_days": 7, **changes})


def issue(world: World, **request: Any) -> dict[str, Any]:
    body = {"series": [{"unique_id": name} for name in SERIES], **request}
    response = world.client("admin").post(f"/v1/models/{MODEL}/forecasts", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def arrive(world: World, day: int, hours: int = 24) -> None:
    """Append a day of actuals, with a noise that the seasonal naive does not foresee, and the next day's schedule."""
    noise = np.random.default_rng(day)
    steps = range(HOURS + 24 * day, HOURS + 24 * day + hours)
    times = [(START + timedelta(hours=step)).strftime("%Y-%m-%dT%H:%M:%SZ") for step in steps]
    series = [
        {"unique_id": name, "ds": times, "y": [value(name, step) + noise.normal() for step in steps]}
        for name in SERIES
    ]
    ahead = range(steps.start + 24, steps.start + 48)
    schedule: dict[str, Any] = {
        "ds": [(START + timedelta(hours=step)).strftime("%Y-%m-%dT%H:%M:%SZ") for step in ahead],
        "futr_exog": {"scheduled": [float(step % 24) for step in ahead]},
    }
    series += [{"unique_id": name, **schedule} for name in SERIES]
    response = world.client("admin").post("/v1/datasets/flights/observations", json={"series": series})
    assert response.status_code == 201, response.text


def move(world: World, listeners: Sequence[Any] = ()) -> None:
    """Move the ledger to the table of vintages and score it, as the scorer does every second."""
    scorer = Scorer(world.services, listeners)
    scorer.score_team(TEAM)
    scorer.close()


def loop(world: World, *experiments: StoredExperiment) -> ShadowForecasts:
    return ShadowForecasts(world.services, lambda: experiments)


def shadow(world: World, *experiments: StoredExperiment) -> ShadowProgress:
    """Move, make the shadows of what is there, and return the progress of the first experiment."""
    move(world)
    shadow_loop = loop(world, *experiments)
    shadow_loop.tick()
    shadow_loop.close()
    move(world)
    return progress(world, experiments[0])


def progress(world: World, trial: StoredExperiment) -> ShadowProgress:
    return Shadows(world.services.database).progress(TEAM, trial.experiment.id, MODEL)


def vintages(world: World, *kinds: VintageKind) -> pa.Table:
    table = MonitoringTables.of_team(world.settings.data_layout, TEAM).vintages
    return table.read(pc.field("kind").isin([str(kind) for kind in kinds]))


def scored(world: World, version: int, *kinds: VintageKind) -> pa.Table:
    return world.services.live_reports.scores(TEAM, LiveQuery(MODEL, version=version, kinds=kinds))

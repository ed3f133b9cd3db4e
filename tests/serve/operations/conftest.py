"""Worlds for tests of shadow forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.ray.submission import FakeJobs
from cluster.repositories.operations.calibrations import Calibrations
from cluster.repositories.vintages import Vintages
from features.store.record_filter import Bounds
from features.store.snapshots import snapshot_at
from models.families.naive import LastValue
from models.registry.bundle import write_bundle
from models.registry.mlflow_registry import Registry
from serve.forecasting.engine import Engine
from serve.operations import shadow_forecasts
from serve.services import Services
from tests.serve import api_under_test as worlds
from tests.serve.api_under_test import HOURS, START, InThisProcess, World
from tests.serve.conftest import registry_copy
from tests.serve.operations.experiment_stage import Stage
from tests.serve.operations.shadow_world import LAST_VALUE, LEARNED, LEVELS, MODEL, SERIES, TEAM


@pytest.fixture
def stage(world: World, template: Path) -> Iterator[Stage]:
    """A model with a champion and a challenger, and the loop of experiments."""
    stage = Stage.set_up(world, template / "bundle")
    yield stage
    stage.loop.close()


@pytest.fixture(scope="module")
def challengers(registry: Registry, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with a twin of the champion, a worse version, and one that learned from what comes tomorrow."""
    folder = tmp_path_factory.mktemp("challengers")
    copied = registry_copy(registry, folder)
    settings = worlds.settings_for(template)
    backend = Services(settings, Database(settings.sql_url), worlds.Failing(RuntimeError()), FakeJobs())
    opened = backend.catalogue.open(TEAM, "flights")
    now = START + timedelta(hours=HOURS)
    last = np.datetime64((now - timedelta(hours=1)).replace(tzinfo=None), "us")
    for number, as_of in ((LAST_VALUE, now), (LEARNED, datetime.now(UTC) + timedelta(days=1))):
        task = opened.task(as_of, 24, LEVELS)
        snapshot = snapshot_at(opened.panel(now, Bounds(series=list(SERIES))), last, task)
        bundle = write_bundle(folder / f"bundle-{number}", LastValue.fit(snapshot, task), snapshot)
        version = copied.publish(MODEL, bundle, metrics={"mase": 0.5}, gate=worlds.PASSED, experiment="job-1")
        assert version.version == number
    backend.database.close()
    return copied


@pytest.fixture
def trial_world(folder: Path, challengers: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An API with challengers; leases of a killed process are free at once, and a busy machine is not waited for."""
    monkeypatch.setattr(shadow_forecasts, "LEASE_TIME", timedelta(0))
    monkeypatch.setattr(shadow_forecasts, "NICENESS", 0)
    settings = worlds.settings_for(folder)
    database = Database(settings.sql_url)
    world = World(settings, database, challengers, None, FakeJobs())  # type: ignore[arg-type]
    engine = Engine(
        lambda team: challengers,
        Catalogue(database, settings.data_layout),
        Vintages(database),
        calibrations=Calibrations(database),
    )
    world.forecaster = InThisProcess(engine)
    yield world
    database.close()

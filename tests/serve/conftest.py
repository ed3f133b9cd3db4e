"""An API for each test, copied from one that took seconds to make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.operations.calibrations import Calibrations
from cluster.repositories.vintages import Vintages
from models.registry.mlflow_registry import Registry
from quantis.types.accounts import Role
from quantis.types.datasets import DatasetSpec
from serve.forecasting.engine import Engine
from serve.security import rate_limits
from serve.services import Services
from tests.serve import api_under_test as worlds
from tests.serve.api_under_test import Failing, InThisProcess, World

pytest.register_assert_rewrite("tests.serve.api_under_test")


_PUBLISHED = "published.db"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("QUANTIS_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """MLflow's first migration takes seconds: one database for all tests."""
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), DEFAULT_TEAM)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A data folder with a user per role, the dataset `flights` and the champion `demand`."""
    folder = tmp_path_factory.mktemp("template")
    settings = worlds.settings_for(folder)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    services = Services(settings, database, Failing(RuntimeError()), FakeJobs())
    for role in Role:
        services.accounts.create(DEFAULT_TEAM, role.value, worlds.PASSWORD, role)
    spec = DatasetSpec(name="flights", roles=worlds.ROLES, freq="h", publication_lag=timedelta(hours=1))
    services.catalogue.datasets.create(DEFAULT_TEAM, "admin", spec)
    services.catalogue.ingest(DEFAULT_TEAM, "admin", "flights", worlds.toy(), "toy.csv")
    worlds.publish_demand(services.catalogue, registry, folder)
    database.close()
    shutil.copy(_file_of(registry), _file_of(registry).with_name(_PUBLISHED))
    return folder


def registry_copy(registry: Registry, folder: Path) -> Registry:
    """A registry in this folder as the template left it, whatever other tests have published since."""
    shutil.copy(_file_of(registry).with_name(_PUBLISHED), folder / "mlflow.db")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), DEFAULT_TEAM)


def _file_of(registry: Registry) -> Path:
    return Path(registry._client.tracking_uri.removeprefix("sqlite:///"))


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "data", ignore=shutil.ignore_patterns("bundle")))


@pytest.fixture
def world(folder: Path, registry: Registry) -> Iterator[World]:
    with _world(folder, registry) as world:
        yield world


@pytest.fixture
def world_alone(folder: Path, registry: Registry, tmp_path: Path) -> Iterator[World]:
    """An API whose registry has the champion `demand` alone: for tests in which it matters who else serves."""
    with _world(folder, registry_copy(registry, tmp_path)) as world:
        yield world


@pytest.fixture(scope="module")
def module_world(
    template: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One API for all tests of a file: what they send is to be refused, or harmless."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("module") / "data")
    with pytest.MonkeyPatch.context() as patch, _world(folder, registry) as world:
        for name in ("ANONYMOUS_PER_ADDRESS", "WRONG_PER_ADDRESS", "WRONG_PER_PAIR", "WRONG_PER_ACCOUNT"):
            patch.setattr(rate_limits, name, 1_000_000)  # all that they send comes from one address
        yield world


@contextmanager
def _world(folder: Path, registry: Registry) -> Iterator[World]:
    settings = worlds.settings_for(folder)
    database = Database(settings.sql_url)
    engine = Engine(
        lambda team: registry,
        Catalogue(database, settings.data_layout),
        Vintages(database),
        calibrations=Calibrations(database),
    )
    yield World(settings, database, registry, InThisProcess(engine), FakeJobs())
    database.close()


@pytest.fixture
def in_trouble(world: World) -> Callable[[Exception], World]:
    """The same API with a forecaster that only raises."""
    return lambda error: replace(world, forecaster=Failing(error))


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    """An admin's client; one event loop for all its requests."""
    with world.client("admin") as client:
        yield client


@pytest.fixture(name="problem")
def problem_fixture() -> Callable[..., dict[str, Any]]:
    return worlds.problem

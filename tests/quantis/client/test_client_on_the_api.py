"""The client's contract on the platform's own API, in process: its database, store and reconciler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytest.register_assert_rewrite("tests.quantis.client.contract")

from cluster.database.engine import Database  # noqa: E402
from cluster.ray.reconciler import Reconciler  # noqa: E402
from cluster.ray.submission import FakeJobs  # noqa: E402
from cluster.repositories.accounts import DEFAULT_TEAM, UserAccounts  # noqa: E402
from cluster.settings import Settings  # noqa: E402
from quantis.client import Client  # noqa: E402
from quantis.errors import Forbidden, InvalidInput  # noqa: E402
from quantis.types.accounts import Role  # noqa: E402
from quantis.types.datasets import DatasetSpec  # noqa: E402
from quantis.types.forecasts import ForecastRequest, ForecastResponse  # noqa: E402
from serve.api.application import create_app  # noqa: E402
from serve.forecasting.engine import Engine  # noqa: E402
from serve.services import Services  # noqa: E402
from tests.quantis.client.contract import *  # noqa: E402, F403
from tests.quantis.client.contract import SignIn  # noqa: E402
from tests.serve.api_under_test import MakesNothingAgain  # noqa: E402

ADMIN = "root", "the admin's password"


class InProcessExecutor(MakesNothingAgain):
    """The real engine, called directly instead of through a Serve handle."""

    def __init__(self, services: Services) -> None:
        self._engine = Engine(services.registry, services.catalogue, services.vintages)

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        return self._engine.forecast(team, ref, request)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty database at the newest revision, migrated once for all tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path.read_bytes()


@pytest.fixture
def transport(tmp_path: Path, migrated: bytes) -> Iterator[Any]:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_layout.prepare()
    settings.data_layout.database.write_bytes(migrated)
    settings.make_secret("jwt-secret")
    database = Database(settings.sql_url)
    UserAccounts(database).create(DEFAULT_TEAM, *ADMIN, Role.admin, first=True)
    jobs = FakeJobs()
    services = Services(settings, database, None, jobs)  # type: ignore[arg-type]
    services.forecaster = InProcessExecutor(services)
    reconciler = Reconciler(database, jobs)
    thread = threading.Thread(target=reconciler.run, args=(0.1,))
    thread.start()
    with TestClient(create_app(services), raise_server_exceptions=False) as http:
        yield http._transport
    reconciler.close()
    thread.join()
    database.close()


@pytest.fixture
def sign_in(transport: Any) -> SignIn:
    def signed_in(user: str, password: str) -> Client:
        return Client("http://testserver", user=user, password=password, transport=transport)

    return signed_in


@pytest.fixture
def client(sign_in: SignIn) -> Iterator[Client]:
    with sign_in(*ADMIN) as client:
        yield client


def test_when_an_address_is_uploaded_then_the_platform_says_what_it_fetches(sign_in: SignIn) -> None:
    with sign_in(*ADMIN) as client:
        client.create_dataset(DatasetSpec(name="remote"))
        with pytest.raises(Forbidden, match="QUANTIS_IMPORT_URLS"):
            client.upload("remote", "s3://bucket/in/remote.csv")
        with pytest.raises(InvalidInput, match=r"only s3://\.\.\. and file:///"):
            client.upload("remote", "http://127.0.0.1/remote.csv")

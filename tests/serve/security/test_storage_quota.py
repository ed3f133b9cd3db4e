"""Uploads that come together share what a team may still store, whichever replica and database they meet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import DEFAULT_TEAM
from quantis.types.accounts import Role
from quantis.types.teams import Quota
from serve.services import Services
from tests.cluster import postgres
from tests.serve import api_under_test as worlds
from tests.serve.api_under_test import Failing, World

ROWS = "".join(
    f"{name},2024-01-{1 + hour // 24:02d}T{hour % 24:02d}:00Z,{hour % 7}\n"
    for name in (f"series-{number:04d}" for number in range(40))
    for hour in range(600)
)
CSV = f"unique_id,ds,y\n{ROWS}".encode()
"""About 0.8 MB."""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with postgres.running() as server:
        yield server.url + "postgres"


@pytest.fixture
def replicas(address: str | None, registry, tmp_path: Path) -> Iterator[list[World]]:
    """Two processes' worth of API on one data folder and one database; the team may store 1 MB."""
    settings = worlds.settings_for(tmp_path / "data").model_copy(update={"database_url": address})
    settings.data_layout.prepare()
    databases = [Database(settings.sql_url) for _ in range(2)]
    databases[0].migrate()
    made = [
        World(settings, database, registry, Failing(RuntimeError()), FakeJobs()) for database in databases
    ]
    services: Services = made[0].services
    services.accounts.create(DEFAULT_TEAM, "analyst", worlds.PASSWORD, Role.analyst)
    services.teams.set_quota(DEFAULT_TEAM, Quota(storage_mb=1))
    yield made
    for database in databases:
        database.close()


def test_when_two_uploads_of_one_megabyte_together_come_at_once_then_one_is_stored(replicas, problem):
    client = replicas[0].client()
    client.headers["Authorization"] = f"Bearer {replicas[0].token('analyst')}"
    for number in range(2):
        assert client.post("/v1/datasets", json={"name": f"set-{number}", "freq": "h"}).status_code == 201
    both = Barrier(2)

    def upload(number: int):
        world = replicas[number]
        sender = world.client()
        sender.headers["Authorization"] = f"Bearer {world.token('analyst')}"
        both.wait()
        headers = {"Content-Type": "text/csv"}
        return sender.post(f"/v1/datasets/set-{number}/versions", content=CSV, headers=headers)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(upload, range(2)))
    assert sorted(answer.status_code for answer in answers) == [201, 403]
    refused = next(answer for answer in answers if answer.status_code == 403)
    assert "storage_mb" in problem(refused, 403, "quota_exceeded")["detail"]
    third = problem(upload_alone(replicas[0]), 403, "quota_exceeded")
    assert "brings up to 1 MB" in third["detail"]


def upload_alone(world: World):
    client = world.client()
    client.headers["Authorization"] = f"Bearer {world.token('analyst')}"
    headers = {"Content-Type": "text/csv"}
    return client.post("/v1/datasets/set-0/versions", content=CSV, headers=headers)

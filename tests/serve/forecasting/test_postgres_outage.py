"""A real PostgreSQL crashes while requests go on, and comes back: who is known is served, and nothing breaks."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.vintages import Vintages
from quantis.types.accounts import REAUTHENTICATION_HEADER, Role
from quantis.types.datasets import DatasetSpec
from serve.forecasting.engine import Engine
from tests.cluster import postgres
from tests.serve import api_under_test as worlds
from tests.serve import fuzz
from tests.serve.api_under_test import PASSWORD, InThisProcess, World

UP, DOWN, AGAIN = 1.5, 5.0, 5.0  # seconds; who was known is looked up again after one
FORECAST = "/v1/models/demand/forecasts"
BODY = {"series": [{"unique_id": "JFK/B6"}], "as_of": "2024-01-20T00:00:00Z"}


@pytest.fixture(scope="module")
def server():
    with postgres.running() as server:
        yield server


@pytest.fixture
def on_postgres(server, registry, template, tmp_path):
    """A whole API whose accounts, catalogue and ledger are in PostgreSQL; `demand` serves."""
    folder = tmp_path / "data"
    settings = worlds.settings_for(folder).model_copy(
        update={"database_url": server.url + "postgres", "quota_requests_per_minute": None}
    )
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    catalogue = Catalogue(database, settings.data_layout)
    vintages = Vintages(database, settings.data_layout.waiting)
    engine = Engine(lambda team: registry, catalogue, vintages, outage_seconds=settings.outage_seconds)
    world = World(settings, database, registry, InThisProcess(engine), FakeJobs())
    world.services.accounts.create(DEFAULT_TEAM, "admin", PASSWORD, Role.admin)
    spec = DatasetSpec(name="flights", roles=worlds.ROLES, freq="h")
    catalogue.datasets.create(DEFAULT_TEAM, "admin", spec)
    catalogue.ingest(DEFAULT_TEAM, "admin", "flights", worlds.toy(), "toy.csv")
    yield world
    database.close()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Caller(threading.Thread):
    """One client that sends the same request again and again, and notes when, and what came back when."""

    url: str
    token: str
    reauthentication: str
    method: str
    path: str
    answers: list[tuple[float, float, httpx.Response]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as http:
            http.headers["Authorization"] = f"Bearer {self.token}"
            http.headers[REAUTHENTICATION_HEADER] = self.reauthentication
            number = 0
            while not self.over.wait(0.2 if self.path == "/v1/api-keys" else 0.02):  # one may hold 100 keys
                number += 1
                body = {"name": f"key-{number}"} if self.path == "/v1/api-keys" else BODY
                sent = time.monotonic()
                try:
                    answer = http.request(self.method, self.path, json=None if self.method == "GET" else body)
                    self.answers.append((sent, time.monotonic(), answer))
                except httpx.HTTPError as error:
                    self.broken.append(repr(error))

    def statuses(self, since: float = 0.0, until: float = float("inf")) -> Counter[int]:
        """Of what was sent and answered within this time."""
        return Counter(
            answer.status_code for sent, ended, answer in self.answers if since <= sent and ended < until
        )


@pytest.mark.timeout(600)
def test_when_the_database_crashes_under_load_then_known_callers_read_and_forecast_and_changes_wait(
    server, on_postgres, problem
):
    with fuzz.served(on_postgres.app) as url:
        token = on_postgres.token("admin")
        routes = [
            ("POST", FORECAST),
            ("GET", "/v1/models"),
            ("GET", "/v1/datasets"),
            ("POST", "/v1/api-keys"),
        ]
        again = on_postgres.reauthentication(on_postgres.user_id("admin"))
        forecasts, models, datasets, changes = callers = [
            Caller(url, token, again, *route) for route in routes
        ]
        for caller in callers:
            caller.start()
        while not all(caller.answers for caller in callers):
            time.sleep(0.05)
        time.sleep(UP)
        crashed = time.monotonic()
        server.stop(signal.SIGQUIT)
        gone = time.monotonic()
        time.sleep(DOWN)
        starting = time.monotonic()
        server.start()
        back = time.monotonic() + AGAIN
        time.sleep(AGAIN + UP)
        for caller in callers:
            caller.over.set()
        for caller in callers:
            caller.join(90)
        for caller in callers:
            phases = [(0, crashed), (gone, starting), (back, float("inf"))]
            shown = ", ".join(str(dict(caller.statuses(*phase))) for phase in phases)
            print(f"{caller.method} {caller.path}: before, without and after the database: {shown}")
        assert [caller.broken for caller in callers] == [[], [], [], []]
        assert {code for caller in callers for code in caller.statuses()} <= {200, 201, 503}
        for caller in callers:
            for _, _, answer in caller.answers:
                if answer.status_code == 503:
                    problem(answer, 503, "unavailable")
        assert set(forecasts.statuses()) == {200}
        assert set(models.statuses()) == {200}
        assert set(changes.statuses(gone, starting)) == {503}
        assert set(datasets.statuses(gone, starting)) == {503}
        for caller, good in ((datasets, 200), (changes, 201)):
            assert caller.statuses(0, crashed).keys() == {good}
            assert caller.statuses(back).keys() == {good}
        client = on_postgres.client("admin")
        issued = [answer.json()["forecast_id"] for _, _, answer in forecasts.answers]
        for forecast in issued[:: max(1, len(issued) // 100)]:
            assert client.get(f"/v1/forecasts/{forecast}").status_code == 200
        kept = {key.id for key in on_postgres.services.keys.all(DEFAULT_TEAM)}
        made = {answer.json()["id"] for _, _, answer in changes.answers if answer.status_code == 201}
        assert made <= kept

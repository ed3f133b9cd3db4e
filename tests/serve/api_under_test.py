"""A whole API without Ray: SQLite, Delta, MLflow and an engine in this process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.settings import Settings
from features.store.record_filter import Bounds
from features.store.snapshots import snapshot_at
from models.evaluation.promotion_gate import GateDecision
from models.families.naive import SeasonalNaive
from models.registry.bundle import write_bundle
from models.registry.mlflow_registry import Registry
from quantis.panel import timestamps
from quantis.types.accounts import REAUTHENTICATION_HEADER
from quantis.types.datasets import Roles
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.job_results import GateResult, TrainResult
from quantis.types.operations.reproduction import Reproduction
from quantis.types.registry import Leaderboard, LeaderboardRow, ModelVersion
from serve.api.application import create_app
from serve.forecasting.engine import Engine
from serve.forecasting.reproduction import reproduce
from serve.security import tokens
from serve.services import ForecastService, Services

PASSWORD = "correct horse battery"
SECRET = "0123456789abcdef0123456789abcdef"
SEALING = "fedcba9876543210fedcba9876543210"
START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 600
"""Steps of history of the toy dataset; its last time is START + 599 h."""
ROLES = Roles(futr_exog=("scheduled",), hist_exog=("temp",), stat_exog=("carrier",), categorical=("carrier",))
PASSED = GateDecision("Naive24", True, 0.5, 0.1, 1.0, 0.3, "Naive24: beats the floor")
FAILED = GateDecision("Naive24", False, 1.0, 0.3, 1.0, 0.3, "Naive24: no model beats the floor")


def train_result(job: str, *rows: LeaderboardRow) -> dict[str, Any]:
    """The result of a training job, as it is stored."""
    board = Leaderboard(
        experiment=job,
        model="demand",
        dataset="flights",
        dataset_version=1,
        cutoffs=[START],
        h=24,
        rows=list(rows),
    )
    version = ModelVersion(
        model="demand", version=1, family="naive", aliases=[], created_at=START, h=24, freq="h"
    )
    result = TrainResult(leaderboard=board, model=version, gate=GateResult(**asdict(PASSED)))
    return result.model_dump(mode="json")


class MakesNothingAgain:
    """The half of a forecaster's port that a test has no use for."""

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction:
        raise NotImplementedError


class InThisProcess:
    """The port around an engine here."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        return await run_in_threadpool(self.engine.forecast, team, ref, request)

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction:
        return await run_in_threadpool(reproduce, self.engine, team, forecast_id)


class Failing:
    """The port of a forecaster that is in trouble."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        raise self.error

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction:
        raise self.error


def level(unique_id: str) -> int:
    return {"EWR/UA": 100, "JFK/B6": 200}.get(unique_id, 50)


def value(unique_id: str, hour: int) -> float:
    """The y of a toy series: a daily rhythm that grows by one each day."""
    return float(level(unique_id) + hour % 24 * 2 + hour // 24)


def rows(unique_id: str, hours: range, *, ahead: int = 0) -> pa.Table:
    """Rows of one series, `ahead` of them with nothing but the schedule."""
    every = [*hours, *range(hours.stop, hours.stop + ahead)]
    first = np.datetime64(START.replace(tzinfo=None), "us")
    times = first + np.array(every) * np.timedelta64(1, "h")
    return pa.table(
        {
            "unique_id": pa.array([unique_id] * len(every), pa.string()),
            "ds": timestamps(times),
            "y": pa.array([value(unique_id, hour) for hour in hours] + [None] * ahead, pa.float64()),
            "temp": pa.array([float(hour % 7) for hour in hours] + [None] * ahead, pa.float64()),
            "scheduled": pa.array([float(hour % 24) for hour in every], pa.float64()),
            "carrier": pa.array([unique_id[-2:]] * len(every), pa.string()),
        }
    )


def toy() -> pa.Table:
    """Two good series; one without a schedule ahead, one short, one that ended long ago."""
    return pa.concat_tables(
        [
            rows("EWR/UA", range(HOURS), ahead=24),
            rows("GAP/G4", range(HOURS)),
            rows("JFK/B6", range(HOURS), ahead=24),
            rows("OLD/O1", range(-3000, -2950), ahead=24),
            rows("TINY/T1", range(HOURS - 5, HOURS), ahead=24),
        ]
    )


@dataclass
class World:
    """One API with its data folder, and a client per role."""

    settings: Settings
    database: Database
    registry: Registry
    forecaster: ForecastService
    jobs: FakeJobs

    @cached_property
    def services(self) -> Services:
        return Services(
            self.settings,
            self.database,
            self.forecaster,
            self.jobs,
            registries={DEFAULT_TEAM: self.registry},
        )

    @cached_property
    def app(self) -> FastAPI:
        return create_app(self.services)

    def client(self, role: str | None = None) -> TestClient:
        """A browser-like client, signed in as the user of that role (the user is called like the role)."""
        client = TestClient(self.app, base_url="https://quantis.test", raise_server_exceptions=False)
        if role:
            client.headers["Authorization"] = f"Bearer {self.token(role)}"
            client.headers[REAUTHENTICATION_HEADER] = self.reauthentication(self.user_id(role))
        return client

    def user_id(self, name: str) -> str:
        return next(user.id for user in self.services.accounts.all(DEFAULT_TEAM) if user.user_name == name)

    def reauthentication(self, user_id: str, session: str = "") -> str:
        """Return the token that a user gets for their password, for calls that ask for it again."""
        key = self.services.token_keys[0]
        return tokens.issue(user_id, key, 12 * 3600, session, audience="quantis-reauthentication")

    def token(self, name: str) -> str:
        return tokens.issue(self.user_id(name), self.services.token_keys[0], 600)


def reauthenticate(client: TestClient, password: str = PASSWORD, **fields: str) -> None:
    """Give the password again, so that the client may hand out credentials."""
    answer = client.post("/v1/users/me/reauthentication", json={"password": password, **fields})
    assert answer.status_code == 201, answer.text
    client.headers[REAUTHENTICATION_HEADER] = answer.json()["token"]


def settings_for(folder: Path) -> Settings:
    return Settings(
        data_dir=folder,
        jwt_secret=SecretStr(SECRET),
        encryption_key=SecretStr(SEALING),
        web_dist=folder / "dist",
        webhook_hosts="hooks.example.org",
        max_upload_mb=1,
    )


def publish_demand(catalogue: Catalogue, registry: Registry, folder: Path) -> None:
    opened = catalogue.open(DEFAULT_TEAM, "flights")
    now = START + timedelta(hours=HOURS)
    task = opened.task(now, 24, (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975))
    last = np.datetime64((now - timedelta(hours=1)).replace(tzinfo=None), "us")
    snapshot = snapshot_at(opened.panel(now, Bounds(series=["EWR/UA", "JFK/B6"])), last, task)
    bundle = write_bundle(folder / "bundle", SeasonalNaive.fit(snapshot, task, 24), snapshot)
    for gate in (PASSED, FAILED):
        registry.publish("demand", bundle, metrics={"mase": 0.5}, gate=gate, experiment="job-1")
    registry.promote("demand", 1)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, after looking at what every error has."""
    body: dict[str, Any] = response.json()
    assert response.status_code == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    return body

"""What a real job used is charged to its team: seen in its usage, held against its quota, in nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from cluster.settings import Settings, application_root
from quantis.types.accounts import Role
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import BacktestSpec
from quantis.types.jobs import JobState
from quantis.types.teams import Quota
from serve.api.application import create_app
from serve.security import tokens
from serve.services import Services
from tests.serve.api_under_test import MakesNothingAgain

PASSWORD = "correct horse battery"
DAYS = 300


class Nobody(MakesNothingAgain):
    async def forecast(self, team, ref, request):
        raise NotImplementedError


@pytest.fixture
def services(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("QUANTIS_", "RAY_"))]:
        monkeypatch.delenv(name)
    settings = Settings(data_dir=tmp_path / "data", jwt_secret=SecretStr("0123456789abcdef" * 2))
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    services = Services(settings, database, Nobody(), FakeJobs())
    for team, name in (("default", "ann"), ("rivals", "spy")):
        services.accounts.create(team, name, PASSWORD, Role.admin)
    services.catalogue.datasets.create("default", "ann", DatasetSpec(name="shop", freq="D"))
    days = np.datetime64("2023-01-01", "us") + np.arange(DAYS) * np.timedelta64(1, "D")
    y = 10 + np.sin(np.arange(DAYS) / 7 * 2 * np.pi)
    panel = pa.table({"unique_id": ["lamps"] * DAYS, "ds": days, "y": y})
    services.catalogue.ingest("default", "ann", "shop", panel, "shop.parquet")
    yield services
    database.close()


def client_of(services: Services, team: str) -> TestClient:
    (user,) = services.accounts.all(team)
    client = TestClient(create_app(services), base_url="https://quantis.test")
    client.headers["Authorization"] = f"Bearer {tokens.issue(user.id, services.token_keys[0], 600)}"
    return client


def used(client: TestClient, name: str) -> float:
    (item,) = [item for item in client.get("/v1/usage").json()["items"] if item["name"] == name]
    return float(item["used"])


def carry_out(services: Services, job_id: str, code: int = 0) -> float:
    """Run a recorded job as Ray would, in a process of its own with a Ray of its own; its wall time."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(application_root()),
        "QUANTIS_DATA_DIR": str(services.settings.data_layout.root), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "jobs.backtest", "--job", job_id],
        cwd=Path(application_root()), env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return time.monotonic() - started


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_when_a_job_has_run_then_its_cpu_time_is_its_team_s_usage_and_counts_against_the_quota(services):
    ann, spy = client_of(services, "default"), client_of(services, "rivals")
    assert used(ann, "cpu_seconds") == 0.0
    spec = BacktestSpec(dataset="shop", h=7, families=("statistical",), n_windows=2)
    job = services.jobs.request("default", "ann", spec)
    wall = carry_out(services, job.id)
    assert services.jobs.get("default", job.id).state == JobState.succeeded
    cpu = used(ann, "cpu_seconds")
    print(f"a backtest of {wall:.1f} s was charged {cpu:.1f} CPU-seconds")
    assert 0.5 < cpu < wall * (os.cpu_count() or 1)
    assert used(ann, "gpu_seconds") == 0.0
    assert used(spy, "cpu_seconds") == 0.0
    services.teams.set_quota("default", Quota(cpu_seconds=int(cpu)))
    services.authenticator.forget()
    refused = ann.post("/v1/jobs", json={"spec": {"kind": "backtest", "dataset": "shop", "h": 7}})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (403, "quota_exceeded")
    assert "cpu_seconds" in problem["detail"]


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_when_a_job_fails_then_its_record_says_why_and_what_to_do(services):
    spec = BacktestSpec(dataset="shop", h=7, families=("statistical",), version=9)  # deleted meanwhile
    job = services.jobs.request("default", "ann", spec)
    carry_out(services, job.id, code=1)
    failed = services.jobs.get("default", job.id)
    assert failed.state == JobState.failed
    assert failed.error is not None
    assert "version 9" in failed.error.cause
    assert failed.message == f"{failed.error.cause} {failed.error.remedy}"
    assert str(services.settings.data_layout.root) not in failed.message
    assert "Traceback" in services.jobs.error_details("default", job.id)

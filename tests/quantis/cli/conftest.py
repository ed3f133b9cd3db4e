"""A platform in memory on a real port, and a way to run a command line against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from quantis.cli.main import run
from quantis.client import Client
from quantis.testing import FakeApi, serving
from quantis.types.accounts import Role
from quantis.types.registry import Leaderboard, LeaderboardRow, ModelVersion

ROOT = Path(__file__).parents[3]
USER, PASSWORD = "ann", "correct horse battery"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout, and nothing beside it."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        assert self.out.count("\n") == 1
        return value


@pytest.fixture(autouse=True)
def private_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("QUANTIS_TOKEN", "QUANTIS_APP_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("QUANTIS_URL", "http://127.0.0.1:9")


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.add_user(USER, PASSWORD, Role.admin)
    return api


@pytest.fixture
def server(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a platform on which one is signed in."""
    with serving(api) as url:
        monkeypatch.setenv("QUANTIS_URL", url)
        with Client() as client:
            client.login(USER, PASSWORD, save=True)
        yield url


@pytest.fixture
def quantis(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line in this process."""

    def command(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return command


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command line as its own process, which hears Ctrl-C even where the tests run in the background."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "quantis", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def finished(process: subprocess.Popen[str], timeout: float = 60) -> Done:
    out, err = process.communicate(timeout=timeout)
    return Done(process.returncode, out, err)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two hourly series with a covariate, three days."""
    rows = [
        f"{name},2024-01-{1 + i // 24:02}T{i % 24:02}:00Z,{10 * s + i % 24},{i}"
        for s, name in enumerate(("JFK/B6", "LGA/DL"))
        for i in range(72)
    ]
    path = tmp_path / "hourly.csv"
    path.write_text("unique_id,ds,y,temp\n" + "\n".join(rows) + "\n")
    return path


def model_version(number: int = 1, *aliases: str, experiment: str | None = None) -> ModelVersion:
    return ModelVersion(
        model="demand",
        version=number,
        family="boosting",
        aliases=list(aliases),
        created_at=datetime(2024, 1, 5, tzinfo=UTC),
        experiment=experiment,
        dataset="hourly",
        dataset_version=1,
        h=24,
        freq="h",
        metrics={"mase": 0.8},
    )


def leaderboard(job_id: str) -> Leaderboard:
    row = LeaderboardRow(
        rank=1,
        model="boosting",
        family="boosting",
        mase=0.8,
        wql=0.1,
        wape=0.2,
        coverage_80=0.79,
        seconds=3.0,
        skill=0.2,
        chosen=True,
        size_bytes=90_000,
        p_value=0.004,
        verdict="better",
    )
    floor = row.model_copy(
        update={"rank": 2, "model": "seasonal_naive_24", "chosen": False, "mase": 1.0, "skill": 0.0}
    )
    broken = row.model_copy(
        update={"rank": 3, "model": "tft", "mase": None, "failed": "out of memory", "chosen": False}
    )
    return Leaderboard(
        experiment=job_id,
        model="demand",
        dataset="hourly",
        dataset_version=1,
        cutoffs=[datetime(2024, 1, 2, tzinfo=UTC)],
        h=24,
        rows=[row, floor, broken],
    )

"""Parts of the platform die, and `quantis up` starts them again: its data and what is alive stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cluster.backend import Backend
from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import Platform
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.settings import Settings
from features.store.snapshots import snapshot_at
from models.evaluation.promotion_gate import GateDecision
from models.families.naive import SeasonalNaive
from models.registry.bundle import write_bundle
from quantis.client import Client
from tests.platform.live import Live

PASSED = GateDecision("Naive7", True, 0.5, 0.1, 1.0, 0.3, "Naive7: beats the floor")


@pytest.fixture(scope="module")
def mended(bare: Live, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A platform that answers forecasts of the model `lamps`."""
    backend = Backend.from_settings(Settings(data_dir=bare.folder))
    opened, now = backend.catalogue.open(DEFAULT_TEAM, "lamps"), datetime(2024, 2, 1, tzinfo=UTC)
    task = opened.task(now, 7, (0.1, 0.5, 0.9))
    snapshot = snapshot_at(opened.panel(now), np.datetime64("2024-01-31", "us"), task)
    folder = tmp_path_factory.mktemp("bundle") / "lamps"
    bundle = write_bundle(folder, SeasonalNaive.fit(snapshot, task, 7), snapshot)
    registry = backend.registry(DEFAULT_TEAM)
    registry.publish("lamps", bundle, metrics={"mase": 0.5}, gate=PASSED, experiment="by-hand")
    registry.promote("lamps", 1)
    backend.database.close()
    assert_forecasts(bare)
    return bare


def loaded(mended: Live) -> Platform:
    platform = processes.load(DataLayout(mended.folder))
    assert platform is not None
    return platform


def pid_of(platform: Platform, words: str) -> int:
    for pid in sorted(processes.family(platform.instance)):
        if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
            return pid
    pytest.fail(f"no process of the platform is called {words}")


def kill(platform: Platform, words: str) -> None:
    """Kill one process and wait until it has ended."""
    pid = pid_of(platform, words)
    target = {pid: processes.family(platform.instance)[pid]}
    os.kill(pid, signal.SIGKILL)
    processes.end(target)


def repaired(mended: Live) -> list[str]:
    done = mended.quantis("up", "--port", str(mended.port), "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, list[str]] = json.loads(done.stdout)
    return report["repaired"]


def assert_forecasts(mended: Live) -> None:
    with Client(mended.url, mended.report["token"]) as client:
        answer = client.forecast("lamps", ["a"])
    assert [entry.method for entry in answer.forecasts] == ["model"]
    assert mended.quantis("doctor").returncode == 0


LONG = pytest.mark.soak


@pytest.mark.parametrize("words", ["gcs_server", pytest.param("raylet/raylet", marks=LONG)])
def test_when_rays_head_is_killed_then_doctor_says_so_and_up_brings_the_forecasts_back(
    mended: Live, words: str
) -> None:
    before = loaded(mended)
    front = pid_of(before, "front.cfg")
    kill(before, words)
    sick = mended.quantis("doctor")
    assert sick.returncode == 1
    assert "Ray head" in sick.stdout
    assert "quantis up" in sick.stdout
    assert repaired(mended) == ["Ray head"]
    after = loaded(mended)
    assert after.instance == before.instance
    assert pid_of(after, "front.cfg") == front
    assert_forecasts(mended)


@pytest.mark.parametrize("words", ["ServeController", pytest.param("ProxyActor", marks=LONG)])
def test_when_a_part_of_serve_is_killed_then_up_returns_when_the_forecasts_are_back(
    mended: Live, words: str
) -> None:
    before = loaded(mended)
    head = pid_of(before, "--head")
    kill(before, words)
    assert set(repaired(mended)) <= {"API"}  # Serve may have been faster
    assert pid_of(loaded(mended), "--head") == head
    assert_forecasts(mended)


@LONG
def test_when_the_front_hangs_then_up_replaces_it_and_nothing_else(mended: Live) -> None:
    before = loaded(mended)
    head, front = pid_of(before, "--head"), pid_of(before, "front.cfg")
    os.kill(front, signal.SIGSTOP)
    assert repaired(mended) == ["front"]
    assert pid_of(loaded(mended), "front.cfg") != front
    assert pid_of(loaded(mended), "--head") == head
    assert_forecasts(mended)


def test_when_up_was_killed_before_it_deployed_then_the_next_one_goes_on(mended: Live) -> None:
    """Leave a Ray head alone: no application, no front, no file of the environment."""
    before = loaded(mended)
    head = pid_of(before, "--head")
    undeploy = "from ray import serve; serve.shutdown()"
    done = subprocess.run(
        [sys.executable, "-c", undeploy],
        env=mended.ray_environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kill(before, "front.cfg")
    (mended.folder / "run" / "env").unlink()
    assert repaired(mended) == ["API", "front"]
    assert pid_of(loaded(mended), "--head") == head
    assert (mended.folder / "run" / "env").exists()
    assert_forecasts(mended)


def test_when_the_state_file_is_lost_then_up_ends_what_it_named_and_starts_anew(mended: Live) -> None:
    before = loaded(mended)
    (mended.folder / "run" / "platform.json").write_text("{")
    assert mended.quantis("doctor").returncode == 1
    assert repaired(mended) == []
    assert processes.family(before.instance) == {}
    assert_forecasts(mended)

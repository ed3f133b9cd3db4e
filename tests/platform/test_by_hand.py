from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.platform.live import ROOT, Live


def _run(live: Live, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=live.ray_environment, cwd=ROOT, text=True, capture_output=True, timeout=300, check=False
    )


def test_when_a_job_is_submitted_with_rays_command_line_then_it_lands_in_the_same_registry(
    live: Live,
) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    command = "job submit --working-dir . -- python -m jobs.train --config jobs/configs/quick.yaml"
    done = _run(live, ray, *command.split())
    assert done.returncode == 0, done.stdout + done.stderr
    with live.client() as client:
        versions = client.model_versions("demand-quick")
        job = client.job(versions[0].experiment or "")
    assert job.state == "SUCCEEDED"
    assert job.created_by == "by-hand"


def test_when_the_ray_client_example_runs_then_it_ends_well(live: Live) -> None:
    done = _run(live, sys.executable, "examples/submit_with_ray.py", str(ROOT / "jobs/configs/quick.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" in done.stdout


def test_when_the_sdk_example_runs_then_it_prints_a_leaderboard_and_a_forecast(live: Live) -> None:
    done = _run(live, sys.executable, "examples/train_with_sdk.py", str(live.login_file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seasonal_naive" in done.stdout


def test_when_the_installation_is_sound_then_doctor_says_so(live: Live) -> None:
    done = live.quantis("doctor")
    assert done.returncode == 0, done.stdout

"""Kills a writer at random moments: what was acknowledged is there, once, with its promise."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs
from quantis.types.job_specs import FeaturizeSpec

jobs = Jobs(Database(sys.argv[1]))
for number in range(1_000_000):
    job = jobs.request("default", "ann", FeaturizeSpec(dataset="flights"), f"{sys.argv[2]}-{number}")
    print(job.id, flush=True)
"""


def _kills(count: int, folder: Path) -> None:
    url = f"sqlite:///{folder / 'crash.db'}"
    database = Database(url)
    database.migrate()
    chance = random.Random(11)
    acknowledged: list[str] = []
    for round_number in range(count):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(round_number)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        lines = (first + rest).splitlines(keepends=True)
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
    jobs = Jobs(database)
    promised = [item.job_id for item in jobs.due(limit=10**6)]
    lost, doubled = len(set(acknowledged) - set(promised)), len(promised) - len(set(promised))
    print(f"{count} kills, {len(acknowledged)} acknowledged jobs, {lost} lost, {doubled} doubled", flush=True)
    assert len(acknowledged) > count
    assert len(promised) == len(set(promised))
    assert set(acknowledged) <= set(promised)
    assert len(promised) - len(acknowledged) <= count
    for job_id in chance.sample(acknowledged, min(50, len(acknowledged))):
        assert [event.seq for event in jobs.events("default", job_id)] == [1]


def test_when_the_writer_is_killed_then_no_acknowledged_job_is_lost_or_doubled(tmp_path: Path) -> None:
    _kills(5, tmp_path)


@pytest.mark.soak
def test_when_the_writer_is_killed_two_hundred_times_then_nothing_is_lost(tmp_path: Path) -> None:
    _kills(200, tmp_path)

"""A scheduler that is killed at any time neither skips a planned run nor starts one twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cluster.database.engine import Database
from cluster.database.tables import JobRow, OutboxRow
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.outbox import SUBMIT
from cluster.repositories.teams import Teams
from quantis.types.teams import Quota
from tests.cluster.automation.conftest import NOON, Automated

ROOT = Path(__file__).parents[3]
MINUTE = timedelta(minutes=1)


def test_when_the_scheduler_is_killed_then_each_planned_run_is_there_exactly_once(
    automated: Automated, url: str
) -> None:
    _kill_and_count(automated, url, runs=60, kills=2, seed=1)


@pytest.mark.soak
def test_when_the_scheduler_is_killed_a_hundred_times_then_500_planned_runs_are_there_exactly_once(
    automated: Automated, url: str
) -> None:
    _kill_and_count(automated, url, runs=500, kills=100, seed=7)


def _kill_and_count(automated: Automated, url: str, *, runs: int, kills: int, seed: int) -> None:
    Teams(automated.backend.database).set_quota(DEFAULT_TEAM, Quota(jobs_waiting=runs))
    automated.schedule(overlap="allow", backfill="all", backfill_limit=100)
    until = NOON + (runs + 1) * MINUTE
    arguments = [
        sys.executable,
        "-m",
        "tests.cluster.automation.scheduler_host",
        url,
        str(automated.backend.settings.data_dir),
        until.isoformat(),
    ]
    patience = random.Random(seed)
    for _ in range(kills):
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            time.sleep(patience.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
    last = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, timeout=300, check=False)
    assert last.returncode == 0
    planned, jobs, promised = _recorded(automated.backend.database, automated)
    print(
        f"{runs} planned runs, {kills} kills: {len(planned)} rows, {len(jobs)} jobs, {len(promised)} promises"
    )
    assert planned == [NOON + minute * MINUTE for minute in range(1, runs + 1)]
    assert len(set(jobs)) == len(jobs) == runs
    assert sorted(promised) == sorted(jobs)


def _recorded(database: Database, automated: Automated) -> tuple[list[datetime], list[str], list[str]]:
    """Return the planned times, the jobs that the runs name, and those that Ray is promised."""
    rows = []
    cursor = None
    while True:
        page = automated.backend.schedules.runs(DEFAULT_TEAM, "nightly", cursor=cursor, limit=500)
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    with database.read() as session:
        jobs = set(session.scalars(select(JobRow.id)))
        promised = list(session.scalars(select(OutboxRow.subject).where(OutboxRow.topic == SUBMIT)))
    named = [run.job_id or "" for run in rows]
    assert set(named) == jobs
    return sorted(run.planned_at for run in rows), named, promised

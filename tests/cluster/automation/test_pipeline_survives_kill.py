"""A process that runs pipelines and is killed at any time neither leaves out a step nor starts one twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from cluster.database.tables import JobRow, OutboxRow
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.outbox import SUBMIT
from cluster.repositories.teams import Teams
from quantis.types.operations.pipelines import PipelineDefinition
from quantis.types.teams import Quota
from tests.cluster.automation.conftest import Automated

ROOT = Path(__file__).parents[3]
JOB = {"kind": "featurize", "dataset": "flights"}
NIGHTLY = {
    "steps": [
        {"name": "ingest", "job": JOB, "retries": 1},
        {"name": "check", "needs": ["ingest"], "if": "steps.ingest.result.rows > 10"},
        {"name": "forecast", "job": JOB, "needs": ["check"]},
        {"name": "score", "job": JOB, "needs": ["forecast"]},
        {"name": "train", "job": JOB, "needs": ["score"], "if": "steps.ingest.result.rows > 10"},
        {"name": "trial", "job": JOB, "needs": ["train"]},
        {"name": "never", "job": JOB, "needs": ["check"], "if": "steps.ingest.result.rows > 1000"},
    ]
}
STATES = ["succeeded"] * 6 + ["skipped"]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("runs", "kills"), [(2, 3), pytest.param(60, 100, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_when_the_process_is_killed_then_each_step_of_each_run_happens_exactly_once(
    automated: Automated, url: str, runs: int, kills: int
) -> None:
    backend = automated.backend
    Teams(backend.database).set_quota(DEFAULT_TEAM, Quota(jobs_waiting=10 * runs))
    backend.pipelines.apply(
        DEFAULT_TEAM, automated.author, "nightly", PipelineDefinition.model_validate(NIGHTLY)
    )
    ids = [
        backend.pipeline_runs.start(DEFAULT_TEAM, automated.author, "nightly", "ada").id for _ in range(runs)
    ]
    host = [sys.executable, "-m", "tests.cluster.automation.pipeline_host"]
    arguments = [*host, url, str(backend.settings.data_dir)]
    patience = random.Random(runs)
    for _ in range(kills):
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            time.sleep(patience.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
    assert subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, check=False).returncode == 0
    for run_id in ids:
        run = backend.pipeline_runs.get(DEFAULT_TEAM, "nightly", run_id)
        assert [step.state.value for step in run.steps] == STATES
        assert run.state == "succeeded"
        attempts = {step.name: step.attempt for step in run.steps if step.job_id}
        assert attempts == {"ingest": 2, "forecast": 1, "score": 1, "train": 1, "trial": 1}
    with backend.database.read() as session:
        states = Counter(session.scalars(select(JobRow.state)))
        promised = Counter(session.scalars(select(OutboxRow.subject).where(OutboxRow.topic == SUBMIT)))
    print(f"{runs} runs, {kills} kills: {dict(states)}")
    assert states == {"SUCCEEDED": 5 * runs, "FAILED": runs}
    assert len(promised) == 6 * runs
    assert set(promised.values()) == {1}

"""The memory of a machine is shared so that what serves, the jobs and one task of theirs always fit together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import machine
from cluster.machine import GIB, MIB
from cluster.settings import SERVING, Settings

LAPTOP, SMALL = 24, 8


def on_machine(monkeypatch, gib, cpus):
    monkeypatch.setattr(machine, "total_memory", lambda: int(gib * GIB))
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    return Settings(data_dir=Path("/nowhere"))


@pytest.mark.parametrize(("gib", "jobs", "of_a_team"), [(LAPTOP, 4, 2), (SMALL, 2, 1), (4, 1, 1)])
def test_when_nothing_is_set_then_every_bound_has_a_value_that_the_machine_can_keep(
    monkeypatch, gib, jobs, of_a_team
):
    settings = on_machine(monkeypatch, gib, 2)
    assert (settings.jobs_at_once, settings.quota_jobs_at_once) == (jobs, of_a_team)
    assert settings.default_quota.jobs_at_once == of_a_team
    assert settings.default_quota.jobs_waiting == 100
    assert settings.job_seconds == 24 * 3600
    assert settings.job_memory_mb * MIB < gib * GIB / 2
    assert settings.memory_mb * MIB < gib * GIB


@given(gib=st.integers(6, 512), cpus=st.integers(1, 64))
def test_when_all_replicas_and_jobs_are_there_then_a_task_still_fits_beside_them(gib, cpus):
    with pytest.MonkeyPatch.context() as patch:
        settings = on_machine(patch, gib, cpus)
        memory = settings.memory_mb * MIB
        # the drivers of more jobs come with more memory; two of them are there on the smallest machine
        processes = 1 + settings.forecaster_max_replicas + min(settings.jobs_at_once, 2)
        task = machine.task_memory(1, {"CPU": settings.ray_cpus, "memory": memory}, SERVING)
        assert processes * settings.process_memory + task <= memory


@given(gib=st.integers(6, 512), cpus=st.integers(1, 64))
def test_when_tasks_fill_the_cpus_then_what_they_declare_is_within_the_memory(gib, cpus):
    node = {"CPU": float(cpus), "memory": float(gib * GIB)}
    task = machine.task_memory(1, node, SERVING)
    assert GIB <= task <= gib * GIB / 3
    assert task == GIB or task * max(1, cpus - SERVING) <= gib * GIB / 2


def test_when_the_operator_sets_bounds_then_they_hold(monkeypatch):
    for name, value in (("JOBS_AT_ONCE", "3"), ("JOB_MEMORY_MB", "300"), ("QUOTA_JOBS_WAITING", "7")):
        monkeypatch.setenv(f"QUANTIS_{name}", value)
    settings = Settings()
    assert (settings.jobs_at_once, settings.job_memory_mb, settings.quota_jobs_waiting) == (3, 300, 7)
    assert settings.quota_jobs_at_once == 1


PROGRAM = """
import sys
from pathlib import Path
from cluster.machine import BOUNDS

BOUNDS.set(200 * 2**20)
BOUNDS.set(10**15)  # the first bound holds
kept = bytearray(50 * 2**20)
try:
    bytearray(400 * 2**20)
except MemoryError:
    print("refused", Path("/proc/self/oom_score_adj").read_text().strip())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's limits")
def test_when_a_process_of_a_job_wants_more_than_its_bound_then_it_is_refused_and_is_first_to_be_killed():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "refused 1000\n"

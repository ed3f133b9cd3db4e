"""The exporter beside a running platform: a process of its own tells what the platform's processes count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import free_ports
from tests.platform.live import ROOT, Live


@pytest.fixture
def exporter(bare: Live) -> Iterator[httpx.Client]:
    (port,) = free_ports(1)
    folder = bare.folder / "metrics"
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring.exporter", f"--folder={folder}", f"--port={port}"], cwd=ROOT
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        deadline = time.monotonic() + 120
        while not _answers(client):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield client
    process.terminate()
    process.wait(30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def gauge(client: httpx.Client, name: str) -> float | None:
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), None)


def test_when_the_platform_works_then_the_exporter_tells_what_its_processes_count_and_who_leads(
    bare: Live, exporter: httpx.Client
) -> None:
    before = gauge(exporter, "quantis_rows_ingested_total")
    assert before
    assert gauge(exporter, "quantis_outbox_pending") == 1  # the job that never begins
    assert gauge(exporter, "quantis_reconciler_lease_held") == 1
    text = exporter.get("/metrics").text
    assert 'quantis_http_requests_total{method="GET",route="/healthz",status="500"} 0.0' in text
    assert 'quantis_job_seconds_count{kind="train",state="FAILED"} 0.0' in text
    assert httpx.get(f"{bare.url}/healthz").status_code == 200


def test_when_the_leader_is_killed_then_its_gauges_go_and_come_back_with_the_next_one(
    bare: Live, exporter: httpx.Client
) -> None:
    platform = processes.load(DataLayout(bare.folder))
    assert platform is not None
    leaders = {
        pid: start
        for pid, start in processes.family(platform.instance).items()
        if b"ServeReplica:quantis:Api" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }
    assert leaders
    assert any(gauges_of(bare, pid) for pid in leaders)
    for pid in leaders:
        os.kill(pid, signal.SIGKILL)
    processes.end(leaders)
    deadline = time.monotonic() + 240
    while any(gauges_of(bare, pid) for pid in leaders) and time.monotonic() < deadline:
        exporter.get("/metrics")
        time.sleep(0.1)
    assert not any(gauges_of(bare, pid) for pid in leaders)  # another may lead by now, and tell its own
    while gauge(exporter, "quantis_outbox_pending") != 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert gauge(exporter, "quantis_outbox_pending") == 1
    assert gauge(exporter, "quantis_reconciler_lease_held") == 1


def gauges_of(live: Live, pid: int) -> list[Path]:
    return list((live.folder / "metrics").glob(f"gauge_live*_{pid}.db"))

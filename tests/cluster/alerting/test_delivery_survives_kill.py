from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from cluster.database.tables import LeaseRow
from tests.cluster.alerting.notified import KEY, make_due, webhook

TEAM = "default"
WORKER = """
import sys, time
from cluster.backend import Backend
from datetime import UTC, datetime, timedelta
from quantis.types.operations.alerts import Fact, FactName
backend, number = Backend.from_settings(), int(sys.argv[1])
loop = backend.delivery_loop()
print("ready", flush=True)
while True:
    at = datetime.now(UTC)
    for value in (1.0, 0.0):
        at += timedelta(microseconds=1)
        backend.alerts.record_facts("default", [Fact(name=FactName.drift, value=value, at=at, model=f"m{number}")])
        loop.tick()
    print("round", flush=True)
"""


def kill_while_working(environment: dict[str, str], number: int) -> None:
    """Kill a worker at some point after its first rounds, somewhere else each time."""
    command = [sys.executable, "-c", WORKER, str(number)]
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    for _ in range(2 + number % 3):
        assert worker.stdout.readline()
    time.sleep(0.011 * (number % 7))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_when_the_process_is_killed_then_no_change_is_lost_and_doubles_have_the_same_id(
    backend, receiver, kills
):
    settings = backend.settings
    backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    root = Path(__file__).parents[3]
    environment: dict[str, Any] = {
        "PYTHONPATH": str(root),
        "QUANTIS_DATA_DIR": str(settings.data_dir),
        "QUANTIS_DATABASE_URL": settings.sql_url,
        "QUANTIS_ENCRYPTION_KEY": KEY,
        "QUANTIS_WEBHOOK_HOSTS": receiver.hosts,
    }
    for number in range(kills):
        kill_while_working(environment, number)
    loop = backend.delivery_loop()
    with backend.database.write() as session:  # the lease of the one that was killed last
        session.execute(update(LeaseRow).values(expires_at=datetime.now(UTC)))
    for _ in range(10_000):
        if not backend.alert_deliveries.pending():
            break
        make_due(backend)
        loop.tick()
    changes = [
        (alert.id, event.state)
        for alert in backend.alerts.page(TEAM, limit=500).items
        for event in backend.alerts.get(TEAM, alert.id).history
    ]
    by_id = {body["id"]: body for body in receiver.bodies()}
    told = [(alert["id"], alert["state"]) for body in by_id.values() for alert in body["alerts"]]
    assert len(changes) >= 2 * kills
    assert sorted(told) == sorted(changes), "each change in exactly one notification"

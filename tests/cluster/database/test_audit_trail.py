"""The chain of the audit trail under concurrent writers and kills, on both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cluster.database.engine import Database
from cluster.database.tables import AuditEventRow
from cluster.repositories.audit import START, AuditedCall, AuditTrail

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from cluster.database.engine import Database
from cluster.repositories.audit import AuditTrail, AuditedCall
trail = AuditTrail(Database(sys.argv[1]))
for number in range(10_000):
    call = AuditedCall("POST /v1/things", f"/v1/things/{sys.argv[2]}/{number}", f"r-{number}", "10.0.0.1")
    trail.begin(call)
    print(call.id, flush=True)
    trail.seal(call, 201)
"""


def call(number=0, **changes):
    return AuditedCall("POST /v1/things", f"/v1/things/{number}", f"r-{number}", "10.0.0.1", **changes)


@pytest.fixture
def trail(database):
    return AuditTrail(database)


def test_when_calls_are_sealed_then_each_follows_the_one_before(trail):
    sealed = []
    for number in range(5):
        one = call(number, team="default", actor="ada", detail={"é": [1.5, None, "x"]})
        trail.begin(one)
        sealed.append(trail.seal(one, 201))
    assert [one.seq for one in sealed] == [1, 2, 3, 4, 5]
    assert [one.previous for one in sealed] == [START, *[one.hash for one in sealed[:-1]]]
    verdict = trail.verify()
    assert (verdict.intact, verdict.events, verdict.head) == (True, 5, sealed[-1].hash)
    assert trail.seal(one, 500) is None  # it is in the chain already
    assert trail.page(["default"]).items == sealed[::-1]


def test_when_many_write_at_once_then_the_chain_does_not_fork(trail):
    def write(number):
        one = call(number)
        trail.begin(one)
        trail.seal(one, 200)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    verdict = trail.verify()
    assert (verdict.intact, verdict.events) == (True, 80)


def test_when_a_call_is_abandoned_then_it_is_sealed_as_interrupted_once(trail, database):
    trail.begin(call(1))
    assert trail.seal_abandoned() == 0  # it may go on yet
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert trail.seal_abandoned(later) == 1
    assert trail.seal_abandoned(later) == 0
    (event,) = trail.page([""]).items
    assert (event.outcome, event.status, event.seq) == ("interrupted", 0, 1)
    assert trail.verify().intact


def test_when_writers_are_killed_then_every_call_that_was_begun_has_one_event_and_the_chain_holds(url):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun: set[str] = set()
    for round_number in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, f"{round_number}-{number}"],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=ROOT,
            )
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout
            begun.add(writer.stdout.readline().strip())  # it is at work
        time.sleep(0.4)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            begun |= {line for line in writer.communicate()[0].split("\n") if len(line) == 36}
    database = Database(url)
    trail = AuditTrail(database)
    trail.seal_abandoned(datetime.now(UTC) + timedelta(seconds=1))
    with database.read() as session:
        rows = session.execute(select(AuditEventRow.id, AuditEventRow.seq, AuditEventRow.outcome)).all()
    database.close()
    assert len(begun) >= 6
    assert begun <= {row.id for row in rows}
    assert sorted(row.seq for row in rows) == list(range(1, len(rows) + 1))
    verdict = trail.verify()
    assert (verdict.intact, verdict.events) == (True, len(rows))

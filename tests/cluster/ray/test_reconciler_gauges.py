"""Gauges that only a leader knows are shown by whoever leads, and by nobody else."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from cluster.database.engine import Database
from cluster.ray.reconciler import LEASE, LEASE_TIME, Reconciler
from cluster.ray.submission import FakeJobs
from cluster.repositories.leases import Leases
from monitoring import instruments


@pytest.fixture
def reconciler(database: Database) -> Reconciler:
    return Reconciler(database, FakeJobs())


def expire(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE leases SET expires_at = '2001-01-01 00:00:00'"))


def leader_gauges() -> list[str]:
    names = ("quantis_jobs{", "quantis_outbox_pending ", "quantis_reconciler_lease_held 1")
    return [line for line in instruments.render()[0].decode().splitlines() if line.startswith(names)]


def test_when_somebody_else_takes_the_lease_then_the_gauges_of_the_leader_go(
    database: Database, reconciler: Reconciler
) -> None:
    assert reconciler.tick()
    assert leader_gauges()
    expire(database)
    assert Leases(database).take(LEASE, "somebody else", LEASE_TIME)
    assert not reconciler.tick()
    assert leader_gauges() == []
    expire(database)
    assert reconciler.tick()
    assert leader_gauges()


def test_when_the_database_goes_away_then_the_leader_no_more_says_that_it_leads(
    database: Database, reconciler: Reconciler
) -> None:
    assert reconciler.tick()
    with database.write() as session:
        session.execute(text("ALTER TABLE leases RENAME TO gone"))
    with pytest.raises(Exception, match="leases"):
        reconciler.tick()
    with database.write() as session:
        session.execute(text("ALTER TABLE gone RENAME TO leases"))
    assert leader_gauges() == []
    assert reconciler.tick()
    assert leader_gauges()


def test_when_a_reconciler_ends_then_it_leaves_no_gauges_of_a_leader(reconciler: Reconciler) -> None:
    assert reconciler.tick()
    reconciler.close()
    assert leader_gauges() == []


def test_when_a_round_is_another_replicas_then_it_does_not_count_as_done(
    database: Database, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that hangs would else be hidden by the rounds of those that wait for its lease."""
    counted: list[str] = []
    ticked = threading.Event()

    def count(outcome: str) -> None:
        counted.append(outcome)
        ticked.set()

    monkeypatch.setattr(instruments, "count_tick", count)
    assert Leases(database).take(LEASE, "somebody else", LEASE_TIME)
    thread = threading.Thread(target=reconciler.run, args=(0.01,))
    thread.start()
    assert ticked.wait(10)
    reconciler.close()
    thread.join(10)
    assert set(counted) == {"not_leader"}

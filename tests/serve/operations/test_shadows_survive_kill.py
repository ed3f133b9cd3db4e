"""Loops killed between any two writes: each shadow is in the ledger and in the table of vintages once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import delete

from cluster.database.engine import Database
from cluster.database.tables import ForecastRow
from cluster.repositories.leases import Leases
from cluster.repositories.operations.online_experiments import StoredExperiment
from features.store.event_table import EventTable
from quantis.panel import DS, ID
from quantis.types.operations.live import VintageKind
from serve.operations import shadow_forecasts
from tests.serve.api_under_test import World
from tests.serve.operations.shadow_world import (
    issue,
    loop,
    move,
    progress,
    replaying,
    vintages,
)


@pytest.fixture
def world(trial_world: World) -> World:
    return trial_world


class KilledError(BaseException):
    """The end of a process."""


@contextmanager
def killing(database: Database, at: int) -> Iterator[list[int]]:
    """Kill the process at one of its writes, before and after which it is killed being two places to be killed at."""
    places: list[int] = []

    def reach() -> None:
        places.append(len(places))
        if len(places) - 1 == at:
            raise KilledError

    append, event_append = database.append, EventTable.append

    @contextmanager
    def transaction() -> Iterator[Any]:
        reach()
        with append() as session:
            yield session
            session.flush()
            reach()  # all is written, nothing is committed
        reach()

    def event_transaction(table: EventTable, *arguments: Any) -> bool:
        reach()
        done = event_append(table, *arguments)
        reach()
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "append", transaction)
        patch.setattr(EventTable, "append", event_transaction)
        yield places


def test_when_the_process_is_killed_between_any_two_writes_then_each_shadow_is_there_once(world, monkeypatch):
    monkeypatch.setattr(shadow_forecasts, "ENTRIES", 1)
    monkeypatch.setattr(Leases, "take", lambda *_: True)
    monkeypatch.setattr(Leases, "release", lambda *_: None)
    for _ in range(2):
        issue(world)
    move(world)
    at, unharmed = 0, False
    while not unharmed:
        trial = replaying(id=f"trial-{at}")
        unharmed = _killed(world, trial, at)
        if not unharmed:
            _make_and_move(world, trial)
        assert progress(world, trial).computed == 2, at
        with world.services.database.write() as session:
            session.execute(delete(ForecastRow).where(ForecastRow.kind == "replay"))
        at += 1
    assert at > 12, "there were places to be killed at"
    rows = vintages(world, VintageKind.replay)
    keys = zip(*(rows[name].to_pylist() for name in ("forecast_id", ID, DS)), strict=True)
    assert set(Counter(keys).values()) == {1}
    assert rows.num_rows == at * 2 * 48


def _make_and_move(world: World, trial: StoredExperiment) -> None:
    shadow_loop = loop(world, trial)
    shadow_loop.tick()
    shadow_loop.close()
    move(world)


def _killed(world: World, trial: StoredExperiment, at: int) -> bool:
    """Return True if the work was done before it could be killed at that place."""
    with killing(world.services.database, at) as places:
        try:
            _make_and_move(world, trial)
        except KilledError:
            return False
    return len(places) <= at

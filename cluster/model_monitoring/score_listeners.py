"""Listeners of the scorer: each is told every commit of scores once, in order, also after a kill between the two.

A listener has a counter in the database by dataset: `scored_at` of the last commit that it was told. It is written
after the listener has returned, so one that was killed is told the same again; a listener keeps with its own state what
it has seen (`calibrations.scored_to`, the time of a fact) and takes nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.model_monitoring.tables import MonitoringTables, scored_mark
from cluster.repositories.operations.facts import WorkCounters
from features.store.as_of import epoch_us
from quantis.panel import TIMESTAMP

log = logging.getLogger("quantis.scorer")


@dataclass(frozen=True)
class ScoresListener:
    """A name that its counters are kept under, and a function of team, dataset and the scores of one commit."""

    name: str
    receive: Callable[[str, str, pa.Table], None]


class ScoreListeners:
    def __init__(self, counters: WorkCounters, listeners: Sequence[ScoresListener]) -> None:
        self._counters = counters
        self._listeners = listeners
        self._told: dict[tuple[str, str, str], int] = {}  # listener, team and dataset -> scored_at

    def forget(self) -> None:
        """Ask the database again how far the listeners are, since another process may have told them more."""
        self._told.clear()

    def notify(
        self, team: str, dataset: str, tables: MonitoringTables, latest: pa.Table | None = None
    ) -> bool:
        """Tell every listener what it has not been told; False where one failed, which has to be tried again.

        `latest` are the scores of the last commit, which saves their reading.
        """
        newest = tables.scores.progress(scored_mark(dataset)) if self._listeners else None
        results = [
            newest is None or self._notify_one(listener, (team, dataset), tables, newest, latest)
            for listener in self._listeners
        ]
        return all(results)

    def _notify_one(
        self,
        listener: ScoresListener,
        subject: tuple[str, str],
        tables: MonitoringTables,
        newest: int,
        latest: pa.Table | None,
    ) -> bool:
        team, dataset = subject
        key = (listener.name, team, dataset)
        if key not in self._told:
            self._told[key] = self._counters.get(team, listener.name, dataset) or 0
        try:
            for scored_at in _commits_after(tables, dataset, self._told[key], newest):
                is_latest = (
                    latest is not None and latest.num_rows and epoch_us(latest["scored_at"])[0] == scored_at
                )
                scores = latest if is_latest else _commit(tables, dataset, scored_at)
                listener.receive(team, dataset, scores)
                self._counters.advance(team, listener.name, dataset, scored_at)
                self._told[key] = scored_at
        except Exception:
            log.exception("%s could not take the scores of %s; it is told again", listener.name, dataset)
            return False
        return True


def _commits_after(tables: MonitoringTables, dataset: str, after: int, newest: int) -> list[int]:
    """Return `scored_at` of a dataset's commits after one, oldest first, in microseconds since 1970."""
    if newest <= after:
        return []
    is_new = (pc.field("dataset") == dataset) & (pc.field("scored_at") > _timestamp(after))
    times = pc.unique(tables.scores.read(is_new, ["scored_at"])["scored_at"])
    return sorted(epoch_us(pa.chunked_array([times])).tolist())


def _commit(tables: MonitoringTables, dataset: str, scored_at: int) -> pa.Table:
    return tables.scores.read(
        (pc.field("dataset") == dataset) & (pc.field("scored_at") == _timestamp(scored_at))
    )


def _timestamp(microseconds: int) -> pa.Scalar:
    return pa.scalar(microseconds, pa.int64()).cast(TIMESTAMP)

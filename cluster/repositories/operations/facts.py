"""The newest facts of models and datasets, which conditions compare, and counters of the loops that measure."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.automation_tables import LatestFactRow, WorkCounterRow
from cluster.database.engine import Database
from quantis.types.operations.alerts import Fact

FactValues = dict[str, dict[str, float]]
"""Values by subject (a model or a dataset) and fact."""


class Facts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def values(self, team: str, since: datetime) -> FactValues:
        """Return what was measured at `since` or later; of a fact with parts, that of the whole or else the largest."""
        with self._database.read() as session:
            query = select(LatestFactRow).where(LatestFactRow.team_id == team, LatestFactRow.at >= since)
            values: FactValues = {}
            for row in session.scalars(query.order_by(LatestFactRow.key == "", LatestFactRow.value)):
                values.setdefault(row.subject, {})[row.name] = row.value
            return values


class WorkCounters:
    """Progress of loops in what belongs to a team: a number by loop and subject."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, team: str, name: str, subject: str) -> int | None:
        with self._database.read() as session:
            row = session.get(WorkCounterRow, (team, name, subject))
            return row.number if row else None

    def advance(self, team: str, name: str, subject: str, number: int) -> None:
        """Set a counter, unless it is there or beyond already."""
        with self._database.write() as session:
            row = session.get(WorkCounterRow, (team, name, subject))
            if row is None:
                session.add(WorkCounterRow(team_id=team, name=name, subject=subject, number=number))
            else:
                row.number = max(row.number, number)


def keep_newest(session: Session, team: str, fact: Fact) -> None:
    """Keep a fact under its model or dataset, or where it is about both under each, unless a newer one is there.

    Under the dataset it is then the model's part of the fact.
    """
    _keep_under(session, team, fact, fact.group, fact.key)
    if fact.model and fact.dataset:
        _keep_under(session, team, fact, fact.dataset, fact.model)


def _keep_under(session: Session, team: str, fact: Fact, subject: str, key: str) -> None:
    row = session.get(LatestFactRow, (team, subject, fact.name.value, key))
    if row is None:
        session.add(
            LatestFactRow(
                team_id=team,
                subject=subject,
                name=fact.name.value,
                key=key,
                value=fact.value,
                at=fact.at,
            )
        )
        session.flush()
    elif fact.at >= row.at:
        row.value, row.at = fact.value, fact.at

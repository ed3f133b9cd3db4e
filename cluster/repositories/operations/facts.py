"""The newest facts of a team's models and datasets, which conditions of pipelines compare."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.automation_tables import LatestFactRow
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


def keep_newest(session: Session, team: str, fact: Fact) -> None:
    """Keep a fact, under its model or else its dataset, unless a newer one is there."""
    subject = fact.group
    row = session.get(LatestFactRow, (team, subject, fact.name.value, fact.key))
    if row is None:
        session.add(
            LatestFactRow(
                team_id=team,
                subject=subject,
                name=fact.name.value,
                key=fact.key,
                value=fact.value,
                at=fact.at,
            )
        )
        session.flush()
    elif fact.at >= row.at:
        row.value, row.at = fact.value, fact.at

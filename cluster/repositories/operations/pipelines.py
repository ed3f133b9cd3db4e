"""Pipelines and their versions: applied by name, each change a version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cluster.database.automation_tables import (
    PipelineRow,
    PipelineRunRow,
    PipelineStepRow,
    PipelineVersionRow,
)
from cluster.database.engine import Database
from cluster.repositories import paging
from cluster.repositories.operations import job_rows
from cluster.repositories.principals import Author
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.operations.pipelines import (
    Pipeline,
    PipelineDefinition,
    PipelineState,
    PipelineTrigger,
    PipelineVersion,
)

MAX_PIPELINES = 200
"""Pipelines of a team."""


@dataclass(frozen=True)
class TriggeredPipeline:
    """A pipeline that starts runs by itself, for the runner."""

    team: str
    name: str
    trigger: PipelineTrigger
    author: Author
    latest_run_at: datetime | None
    created_at: datetime


class Pipelines:
    def __init__(self, database: Database) -> None:
        self._database = database

    def apply(self, team: str, author: Author, name: str, definition: PipelineDefinition) -> Pipeline:
        """Make a pipeline, or give it another definition as a new version; the same again makes none."""
        with self._database.write() as session:
            row, now = session.get(PipelineRow, (team, name)), job_rows.now()
            if row is None:
                _check_room(session, team)
                row = PipelineRow(
                    team_id=team, name=name, version=0, created_at=now, created_by=author.user_name
                )
                session.add(row)
            elif _definition(session, row) == definition:
                return _pipeline(session, row)
            row.version, row.author = row.version + 1, author.to_json()
            version = PipelineVersionRow(
                team_id=team,
                pipeline=name,
                version=row.version,
                definition=definition.model_dump(mode="json"),
                created_at=now,
                created_by=author.user_name,
            )
            session.add(version)
            session.flush()
            return _pipeline(session, row)

    def get(self, team: str, name: str) -> Pipeline:
        with self._database.read() as session:
            return _pipeline(session, find(session, team, name))

    def page(self, team: str, *, cursor: str | None = None, limit: int = 50) -> Page[Pipeline]:
        """Return a page, by name."""
        query = select(PipelineRow).where(PipelineRow.team_id == team).order_by(PipelineRow.name)
        if cursor:
            query = query.where(PipelineRow.name > paging.decode(cursor, 1)[0])
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, lambda row: _pipeline(session, row), lambda row: (row.name,))

    def versions(
        self, team: str, name: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[PipelineVersion]:
        """Return a page of definitions, newest first."""
        query = select(PipelineVersionRow).where(
            PipelineVersionRow.team_id == team, PipelineVersionRow.pipeline == name
        )
        if cursor:
            query = query.where(PipelineVersionRow.version < paging.integer(paging.decode(cursor, 1)[0]))
        with self._database.read() as session:
            find(session, team, name)
            rows = session.scalars(query.order_by(PipelineVersionRow.version.desc()).limit(limit + 1)).all()
            return paging.page(rows, limit, _version, lambda row: (str(row.version),))

    def triggered(self) -> list[TriggeredPipeline]:
        """Return the pipelines of all teams that start runs by themselves, with the time of their latest run."""
        latest = select(PipelineRunRow.team_id, PipelineRunRow.pipeline, func.max(PipelineRunRow.created_at))
        with self._database.read() as session:
            runs = session.execute(latest.group_by(PipelineRunRow.team_id, PipelineRunRow.pipeline))
            began = {(team, name): at for team, name, at in runs}
            rows = [(row, _definition(session, row).trigger) for row in session.scalars(select(PipelineRow))]
            return [
                TriggeredPipeline(
                    row.team_id,
                    row.name,
                    trigger,
                    Author(**row.author),
                    began.get((row.team_id, row.name)),
                    row.created_at,
                )
                for row, trigger in rows
                if trigger is not None
            ]

    def delete(self, team: str, name: str) -> None:
        """Delete a pipeline with its versions and the record of its runs; Conflict while one goes on."""
        with self._database.write() as session:
            row = find(session, team, name)
            of_pipeline = (PipelineRunRow.team_id == team, PipelineRunRow.pipeline == name)
            going_on = (*of_pipeline, PipelineRunRow.state == PipelineState.running)
            if running := session.scalar(select(PipelineRunRow.id).where(*going_on).limit(1)):
                raise Conflict(
                    f"run {running} of pipeline {name!r} goes on; stop it first, or wait for its end"
                )
            runs = select(PipelineRunRow.id).where(*of_pipeline)
            session.execute(
                delete(PipelineStepRow).where(
                    PipelineStepRow.team_id == team, PipelineStepRow.run_id.in_(runs)
                )
            )
            session.execute(delete(PipelineRunRow).where(*of_pipeline))
            versions = (PipelineVersionRow.team_id == team, PipelineVersionRow.pipeline == name)
            session.execute(delete(PipelineVersionRow).where(*versions))
            session.delete(row)


def find(session: Session, team: str, name: str) -> PipelineRow:
    row = session.get(PipelineRow, (team, name))
    if row is None:
        raise NotFound(f"no pipeline {name[:63]!r}; `quantis pipelines ls` lists them")
    return row


def definition_of(session: Session, team: str, pipeline: str, version: int) -> PipelineDefinition:
    row = session.get_one(PipelineVersionRow, (team, pipeline, version))
    return PipelineDefinition.model_validate(row.definition)


def _definition(session: Session, row: PipelineRow) -> PipelineDefinition:
    return definition_of(session, row.team_id, row.name, row.version)


def _check_room(session: Session, team: str) -> None:
    of_team = select(func.count()).select_from(PipelineRow).where(PipelineRow.team_id == team)
    if (session.scalar(of_team) or 0) >= MAX_PIPELINES:
        raise Conflict(f"the team has {MAX_PIPELINES} pipelines, the most it may; delete one first")


def _pipeline(session: Session, row: PipelineRow) -> Pipeline:
    version = session.get_one(PipelineVersionRow, (row.team_id, row.name, row.version))
    return Pipeline(
        name=row.name,
        version=row.version,
        definition=PipelineDefinition.model_validate(version.definition),
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=version.created_at,
        acts_for=row.author["user_name"],
    )


def _version(row: PipelineVersionRow) -> PipelineVersion:
    return PipelineVersion(
        version=row.version,
        definition=PipelineDefinition.model_validate(row.definition),
        created_at=row.created_at,
        created_by=row.created_by,
    )

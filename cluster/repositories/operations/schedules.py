"""Schedules and their planned runs: each planned time has one row, made together with the job that it starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from cluster.database.automation_tables import ScheduleRow, ScheduleRunRow
from cluster.database.engine import Database
from cluster.repositories import idempotency, paging
from cluster.repositories.operations import job_rows
from cluster.repositories.operations.started_work import StartOrder, outcome, start
from cluster.repositories.principals import Author
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.operations.schedules import NewSchedule, Overlap, Schedule, ScheduleRun, ScheduleRunState

MAX_SCHEDULES = 200
"""Schedules of a team."""
MAX_QUEUED_RUNS = 100
"""Runs of a schedule that wait for one another."""
_MISSED = "the platform did not run at its time"
_OVERLAPS = "the run before it has not ended (overlap: skip)"
_WAITS = "waits for the run before it"


@dataclass(frozen=True)
class PlannedTimes:
    """The next planned time of a schedule, and when it is due: later by the jitter."""

    at: datetime
    due: datetime


@dataclass(frozen=True)
class PlannedRun:
    """A planned time that has come, and the schedule's `following` one. `missed` ones are recorded and not started."""

    at: datetime
    following: PlannedTimes
    missed: bool = False
    made_up: bool = False


@dataclass(frozen=True)
class StoredSchedule:
    """A schedule with what only the scheduler needs."""

    team: str
    schedule: Schedule
    next_at: datetime
    author: Author


class Schedules:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, team: str, author: Author, new: NewSchedule, first: PlannedTimes, *, key: str | None = None
    ) -> Schedule:
        """Record a schedule; the same key with the same request returns the one that is there already."""
        hashed = idempotency.request_hash("schedule", new.model_dump_json())
        with self._database.write() as session:
            if key and (object_id := idempotency.find(session, team, author.user_name, key, hashed)):
                return _schedule(_find(session, team, object_id))
            _check_room(session, team, new.name)
            row = ScheduleRow(
                team_id=team,
                id=str(uuid4()),
                name=new.name,
                definition=_definition(new),
                author=author.to_json(),
                created_at=job_rows.now(),
                created_by=author.user_name,
                paused=new.paused,
                next_at=first.at,
                due_at=first.due,
            )
            session.add(row)
            if key:
                idempotency.save(session, team, author.user_name, key, hashed=hashed, object_id=row.id)
            return _schedule(row)

    def get(self, team: str, reference: str) -> Schedule:
        """Return a schedule by its id or name."""
        with self._database.read() as session:
            return _schedule(_find(session, team, reference))

    def page(self, team: str, *, cursor: str | None = None, limit: int = 50) -> Page[Schedule]:
        """Return a page, by name."""
        query = select(ScheduleRow).where(ScheduleRow.team_id == team).order_by(ScheduleRow.name)
        if cursor:
            query = query.where(ScheduleRow.name > paging.decode(cursor, 1)[0])
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _schedule, lambda row: (row.name,))

    def change(
        self, team: str, schedule_id: str, author: Author, changed: NewSchedule, first: PlannedTimes | None
    ) -> Schedule:
        """Give a schedule another definition and author; `first` is its next time, where that is planned anew."""
        with self._database.write() as session:
            row = _find(session, team, schedule_id)
            row.definition, row.author = _definition(changed), author.to_json()
            row.paused, row.pause_reason = changed.paused, None
            if first is not None:
                row.next_at, row.due_at = first.at, first.due
            return _schedule(row)

    def pause(self, team: str, schedule_id: str, reason: str | None) -> Schedule:
        with self._database.write() as session:
            row = _find(session, team, schedule_id)
            row.paused, row.pause_reason = True, reason
            return _schedule(row)

    def delete(self, team: str, reference: str) -> None:
        """Delete a schedule and the record of its runs; the jobs that it started stay."""
        with self._database.write() as session:
            row = _find(session, team, reference)
            session.execute(delete(ScheduleRunRow).where(*_runs_of(team, row.id)))
            session.delete(row)

    def runs(
        self, team: str, reference: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[ScheduleRun]:
        """Return a page of planned runs, newest first."""
        with self._database.read() as session:
            schedule_id = _find(session, team, reference).id
            query = select(ScheduleRunRow).where(*_runs_of(team, schedule_id))
            if cursor:
                before = paging.timestamp(paging.decode(cursor, 1)[0])
                query = query.where(ScheduleRunRow.planned_at < before)
            query = query.order_by(ScheduleRunRow.planned_at.desc()).limit(limit + 1)
            return paging.page(
                session.scalars(query).all(), limit, _run, lambda row: (row.planned_at.isoformat(),)
            )

    # What the scheduler needs.

    def due(self, now: datetime, limit: int = 100) -> list[StoredSchedule]:
        """Return the schedules of all teams whose time has come, longest due first."""
        with self._database.read() as session:
            is_due = (ScheduleRow.paused.is_(False), ScheduleRow.due_at <= now)
            query = select(ScheduleRow).where(*is_due).order_by(ScheduleRow.due_at).limit(limit)
            return [_stored(row) for row in session.scalars(query)]

    def with_queued_runs(self, limit: int = 100) -> list[StoredSchedule]:
        """Return the schedules that have a run to be started once the one before it has ended."""
        with self._database.read() as session:
            queued = select(ScheduleRunRow.team_id, ScheduleRunRow.schedule_id).where(
                ScheduleRunRow.state == ScheduleRunState.queued
            )
            pairs = {(team, schedule_id) for team, schedule_id in session.execute(queued.distinct())}
            rows = (session.get(ScheduleRow, pair) for pair in sorted(pairs))
            return [_stored(row) for row in rows if row is not None and not row.paused][:limit]

    def begin(
        self, item: StoredSchedule, planned: PlannedRun, waiting_limit: int | None
    ) -> ScheduleRun | None:
        """Record a planned run and what it starts, and plan the following one: all of it, or nothing.

        None where somebody else recorded it, or changed the schedule since it was read.
        """
        with self._database.write() as session:
            row = session.get(ScheduleRow, (item.team, item.schedule.id))
            if row is None or row.paused or row.next_at > planned.at:
                return None
            run = ScheduleRunRow(
                team_id=item.team,
                schedule_id=row.id,
                planned_at=planned.at,
                state=ScheduleRunState.missed,
                recorded_at=job_rows.now(),
            )
            if planned.missed:
                run.reason = _MISSED
            elif _may_start(session, row, (ScheduleRunState.running, ScheduleRunState.queued)):
                _start(session, row, run, waiting_limit)
            elif _may_queue(session, row, planned):
                _queue(run, row, _WAITS)
            else:
                run.state, run.reason = ScheduleRunState.skipped, _OVERLAPS
            session.add(run)
            row.next_at, row.due_at = planned.following.at, planned.following.due
            return _run(run)

    def begin_queued(self, item: StoredSchedule, waiting_limit: int | None) -> ScheduleRun | None:
        """Start the oldest queued run of a schedule, unless the one before it has not ended; None if none starts."""
        with self._database.write() as session:
            row = session.get(ScheduleRow, (item.team, item.schedule.id))
            if row is None or row.paused or not _may_start(session, row, (ScheduleRunState.running,)):
                return None
            queued = ScheduleRunRow.state == ScheduleRunState.queued
            query = select(ScheduleRunRow).where(*_runs_of(item.team, row.id), queued)
            run = session.scalars(query.order_by(ScheduleRunRow.planned_at).limit(1)).first()
            if run is None:
                return None
            _start(session, row, run, waiting_limit)
            return _run(run)

    def refuse(self, item: StoredSchedule, planned: PlannedRun, reason: str, *, pause: bool) -> None:
        """Record a run that may not be started, and pause the schedule where none of its runs may."""
        with self._database.write() as session:
            row = session.get(ScheduleRow, (item.team, item.schedule.id))
            if row is None or row.paused or row.next_at > planned.at:
                return
            refused = ScheduleRunRow(
                team_id=item.team,
                schedule_id=row.id,
                planned_at=planned.at,
                state=ScheduleRunState.refused,
                reason=reason,
                recorded_at=job_rows.now(),
            )
            session.add(refused)
            row.next_at, row.due_at = planned.following.at, planned.following.due
            if pause:
                row.paused, row.pause_reason = True, reason

    def follow(self, limit: int = 500) -> int:
        """Let runs end as what they started has ended; return how many did."""
        with self._database.read() as session:
            query = (
                select(ScheduleRunRow).where(ScheduleRunRow.state == ScheduleRunState.running).limit(limit)
            )
            finished = [row for row in session.scalars(query) if outcome(session, row) is not None]
            keys = [(row.team_id, row.schedule_id, row.planned_at) for row in finished]
        if not keys:
            return 0
        with self._database.write() as session:
            for key in keys:
                run = session.get(ScheduleRunRow, key)
                if run is not None and (state := outcome(session, run)) is not None:
                    run.state = state
        return len(keys)

    def forget_runs_before(self, time: datetime) -> None:
        """Delete the record of runs of long ago that have ended."""
        unfinished = (ScheduleRunState.queued, ScheduleRunState.running)
        with self._database.write() as session:
            old = ScheduleRunRow.planned_at < time
            session.execute(delete(ScheduleRunRow).where(old, ScheduleRunRow.state.not_in(unfinished)))


def _check_room(session: Session, team: str, name: str) -> None:
    of_team = ScheduleRow.team_id == team
    if session.scalar(select(ScheduleRow.id).where(of_team, ScheduleRow.name == name)):
        raise Conflict(f"there is a schedule {name!r} already; change it, or take another name")
    count = session.scalar(select(func.count()).select_from(ScheduleRow).where(of_team)) or 0
    if count >= MAX_SCHEDULES:
        raise Conflict(f"the team has {MAX_SCHEDULES} schedules, the most it may; delete one first")


def _find(session: Session, team: str, reference: str) -> ScheduleRow:
    by_reference = or_(ScheduleRow.id == reference, ScheduleRow.name == reference)
    row = session.scalars(select(ScheduleRow).where(ScheduleRow.team_id == team, by_reference)).first()
    if row is None:
        raise NotFound(f"no schedule {reference[:63]!r}; `quantis schedules ls` lists them")
    return row


def _definition(new: NewSchedule) -> dict[str, Any]:
    return new.model_dump(mode="json", exclude={"name", "paused"})


def _runs_of(team: str, schedule_id: str) -> tuple[Any, ...]:
    return (ScheduleRunRow.team_id == team, ScheduleRunRow.schedule_id == schedule_id)


def _may_start(session: Session, row: ScheduleRow, before: tuple[ScheduleRunState, ...]) -> bool:
    """Return True unless a run in one of these states comes before, and the next one may not start beside it."""
    if row.definition["overlap"] == Overlap.allow:
        return True
    query = select(ScheduleRunRow).where(*_runs_of(row.team_id, row.id), ScheduleRunRow.state.in_(before))
    return all(outcome(session, run) is not None for run in session.scalars(query))


def _may_queue(session: Session, row: ScheduleRow, planned: PlannedRun) -> bool:
    """Return True where a run may wait for the one before it, and not too many wait already."""
    if row.definition["overlap"] != Overlap.queue and not planned.made_up:
        return False
    queued = ScheduleRunRow.state == ScheduleRunState.queued
    query = select(func.count()).select_from(ScheduleRunRow).where(*_runs_of(row.team_id, row.id), queued)
    return (session.scalar(query) or 0) < MAX_QUEUED_RUNS


def _queue(run: ScheduleRunRow, row: ScheduleRow, reason: str) -> None:
    run.state, run.reason, run.target = ScheduleRunState.queued, reason, row.definition["starts"]


def _start(session: Session, row: ScheduleRow, run: ScheduleRunRow, waiting_limit: int | None) -> None:
    """Start what the run stands for."""
    order = StartOrder(
        team=row.team_id,
        author=Author(**row.author),
        target=run.target or row.definition["starts"],
        key=f"schedule {row.id} {run.planned_at.isoformat()}",
        started_by=f"schedule {row.name}",
        waiting_limit=waiting_limit,
    )
    start(session, order, run)


def _schedule(row: ScheduleRow) -> Schedule:
    return Schedule(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        created_by=row.created_by,
        acts_for=row.author["user_name"],
        paused=row.paused,
        pause_reason=row.pause_reason,
        next_at=None if row.paused else row.next_at,
        **row.definition,
    )


def _stored(row: ScheduleRow) -> StoredSchedule:
    return StoredSchedule(row.team_id, _schedule(row), row.next_at, Author(**row.author))


def _run(row: ScheduleRunRow) -> ScheduleRun:
    return ScheduleRun(
        planned_at=row.planned_at,
        state=ScheduleRunState(row.state),
        job_id=row.job_id,
        pipeline_run_id=row.pipeline_run_id,
        reason=row.reason,
        recorded_at=row.recorded_at,
    )

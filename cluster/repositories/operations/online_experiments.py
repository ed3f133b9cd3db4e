"""Online experiments: a change of state and the assessment that it follows from are one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.experiment_tables import ExperimentArmRow, ExperimentAssessmentRow, OnlineExperimentRow
from cluster.database.shadow_tables import ShadowProgressRow
from cluster.repositories import idempotency, paging
from cluster.repositories.audit import AuditedCall, append_sealed
from cluster.repositories.operations import job_rows
from cluster.repositories.principals import Author
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.operations.online_experiments import (
    ExperimentAction,
    ExperimentAssessment,
    NewOnlineExperiment,
    OnlineExperiment,
    OnlineExperimentState,
    OnlineExperimentWithHistory,
)

MAX_RUNNING, MAX_ENDED = 50, 1000
"""Experiments of a team: that run, and ended ones that are kept."""
_RUNNING = OnlineExperimentState.running


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment with what only the loop needs. `promoting`: that was decided and is not carried out yet."""

    team: str
    experiment: OnlineExperiment
    author: Author
    promoting: bool


class OnlineExperiments:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, team: str, author: Author, new: NewOnlineExperiment, incumbent: int, *, key: str | None = None
    ) -> OnlineExperiment:
        """Begin an experiment; the same key with the same request returns the one that is there already."""
        hashed = idempotency.request_hash("online experiment", new.model_dump_json())
        with self._database.write() as session:
            if key and (object_id := idempotency.find(session, team, author.user_name, key, hashed)):
                return _experiment(_find(session, team, object_id))
            _check_room(session, team, new)
            now = job_rows.now()
            row = OnlineExperimentRow(
                team_id=team,
                id=str(uuid4()),
                name=new.name,
                model=new.model,
                challenger=new.challenger,
                incumbent=incumbent,
                definition=_definition(new),
                author=author.to_json(),
                created_by=author.user_name,
                state=_RUNNING,
                step=0,
                traffic=0,
                promoting=False,
                assessments=0,
                started_at=now,
                step_started_at=None if new.steps else now,
            )
            session.add(row)
            if key:
                idempotency.save(session, team, author.user_name, key, hashed=hashed, object_id=row.id)
            return _experiment(row)

    def get(self, team: str, reference: str) -> OnlineExperiment:
        """Return an experiment by its id or name."""
        with self._database.read() as session:
            return _experiment(_find(session, team, reference))

    def page(
        self,
        team: str,
        *,
        model: str | None = None,
        state: OnlineExperimentState | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[OnlineExperiment]:
        """Return a page, newest first."""
        order = (OnlineExperimentRow.started_at, OnlineExperimentRow.id)
        query = select(OnlineExperimentRow).where(OnlineExperimentRow.team_id == team)
        query = query.order_by(*(key.desc() for key in order))
        if model:
            query = query.where(OnlineExperimentRow.model == model)
        if state:
            query = query.where(OnlineExperimentRow.state == state)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            before = (order[0] == timestamp) & (order[1] < last)
            query = query.where(or_(order[0] < timestamp, before))
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _experiment, lambda row: (row.started_at.isoformat(), row.id))

    def with_history(
        self, team: str, reference: str, *, cursor: str | None = None, limit: int = 50
    ) -> OnlineExperimentWithHistory:
        """Return an experiment and a page of its assessments, latest first."""
        with self._database.read() as session:
            row = _find(session, team, reference)
            query = select(ExperimentAssessmentRow).where(*_of(ExperimentAssessmentRow, team, row.id))
            if cursor:
                query = query.where(
                    ExperimentAssessmentRow.number < paging.integer(paging.decode(cursor, 1)[0])
                )
            query = query.order_by(ExperimentAssessmentRow.number.desc()).limit(limit + 1)
            page = paging.page(
                session.scalars(query).all(),
                limit,
                lambda assessment: ExperimentAssessment.model_validate(assessment.assessment),
                lambda assessment: (str(assessment.number),),
            )
            return OnlineExperimentWithHistory(
                experiment=_experiment(row), assessments=page.items, next_cursor=page.next_cursor
            )

    def end(self, team: str, reference: str, state: OnlineExperimentState, reason: str) -> OnlineExperiment:
        """End a running experiment; the loop withdraws its share of the requests. Conflict for an ended one."""
        with self._database.write() as session:
            row = _find(session, team, reference)
            if row.state != _RUNNING:
                raise Conflict(f"experiment {row.name!r} has ended already: {row.state}")
            _end(row, state, reason)
            return _experiment(row)

    # What serving needs.

    def running(self) -> list[StoredExperiment]:
        """Return the running experiments of all teams.

        For `share` of a hundred live requests the version that did not answer a series is forecast as well, and kept as
        a shadow vintage: the challenger, or in a canary the incumbent for the challenger's series. So both versions
        have the same points.
        """
        return self._stored(OnlineExperimentRow.state == _RUNNING)

    # What the loop needs.

    def unfinished(self) -> list[StoredExperiment]:
        """Return the experiments that run, and ended ones whose share or request for approval is still there."""
        row = OnlineExperimentRow
        return self._stored(or_(row.state == _RUNNING, row.traffic > 0, row.approval.is_not(None)))

    def stored(self, team: str, experiment_id: str) -> StoredExperiment:
        return self._stored(
            (OnlineExperimentRow.team_id == team) & (OnlineExperimentRow.id == experiment_id)
        )[0]

    def record(
        self, team: str, experiment: OnlineExperiment, assessment: ExperimentAssessment
    ) -> OnlineExperiment | None:
        """Keep an assessment and do what follows from it in one transaction; None where the state changed meanwhile.

        Of assessments without consequence the last one of each day is kept, and the latest of all.
        """
        with self._database.write() as session:
            row = session.get(OnlineExperimentRow, (team, experiment.id))
            if row is None or (row.state, row.step) != (_RUNNING, experiment.step):
                return None
            row.assessments += 1
            assessment = assessment.model_copy(update={"number": row.assessments})
            if assessment.action is ExperimentAction.wait:
                _forget_assessment_of_day(session, row, assessment.at)
            row.latest = assessment.model_dump(mode="json")
            session.add(
                ExperimentAssessmentRow(
                    team_id=team,
                    experiment_id=row.id,
                    number=row.assessments,
                    at=assessment.at,
                    action=assessment.action,
                    assessment=row.latest,
                )
            )
            if assessment.action is not ExperimentAction.wait:
                _apply(row, assessment)
                verdict = {"reason": assessment.reason, "assessment": row.assessments}
                _audit(session, row, assessment.action.value, verdict)
            return _experiment(row)

    def settle(self, team: str, experiment_id: str, state: OnlineExperimentState, reason: str) -> None:
        """Let an experiment end by itself, if it still runs."""
        with self._database.write() as session:
            row = session.get(OnlineExperimentRow, (team, experiment_id))
            if row is not None and row.state == _RUNNING:
                _end(row, state, reason)
                _audit(session, row, state.value, {"reason": reason})

    def set_traffic(self, team: str, experiment_id: str, percent: int, *, begins: bool = False) -> None:
        """Record the challenger's share that is in effect; `begins`: the time of its step runs from now on."""
        with self._database.write() as session:
            row = session.get(OnlineExperimentRow, (team, experiment_id))
            if row is None:
                return
            if row.traffic != percent:
                row.traffic = percent
                _audit(session, row, "traffic", {"percent": percent})
            row.approval = None
            if begins and row.state == _RUNNING:
                row.step_started_at = job_rows.now()
                row.reason = None

    def set_approval(self, team: str, experiment_id: str, approval: str | None, reason: str | None) -> None:
        """Record the request that a second person decides, None where none is left."""
        with self._database.write() as session:
            row = session.get(OnlineExperimentRow, (team, experiment_id))
            if row is not None:
                row.approval = approval
                if row.state == _RUNNING:
                    row.reason = reason

    def _stored(self, condition: Any) -> list[StoredExperiment]:
        query = select(OnlineExperimentRow).where(condition).order_by(OnlineExperimentRow.started_at)
        with self._database.read() as session:
            return [
                StoredExperiment(row.team_id, _experiment(row), Author(**row.author), row.promoting)
                for row in session.scalars(query)
            ]


def _check_room(session: Session, team: str, new: NewOnlineExperiment) -> None:
    row = OnlineExperimentRow
    of_team = row.team_id == team
    if session.scalar(select(row.id).where(of_team, row.name == new.name)):
        raise Conflict(f"there was an experiment {new.name!r} already; take another name")
    running = session.execute(select(row.model, row.name).where(of_team, row.state == _RUNNING)).all()
    for model, name in running:
        if model == new.model:
            raise Conflict(f"experiment {name!r} of {model!r} is running; stop it, or wait for its end")
    if len(running) >= MAX_RUNNING:
        raise Conflict(f"the team has {MAX_RUNNING} experiments that run, the most it may; stop one first")
    count = session.scalar(select(func.count()).select_from(row).where(of_team, row.state != _RUNNING)) or 0
    oldest = select(row).where(of_team, row.state != _RUNNING).order_by(row.started_at)
    for old in session.scalars(oldest.limit(max(0, count - MAX_ENDED))).all():
        for table in (ExperimentAssessmentRow, ExperimentArmRow, ShadowProgressRow):
            session.execute(delete(table).where(*_of(table, team, old.id)))
        session.delete(old)


def _of(table: Any, team: str, experiment_id: str) -> tuple[Any, ...]:
    return (table.team_id == team, table.experiment_id == experiment_id)


def _find(session: Session, team: str, reference: str) -> OnlineExperimentRow:
    row = OnlineExperimentRow
    query = select(row).where(row.team_id == team, or_(row.id == reference, row.name == reference))
    stored = session.scalars(query).first()
    if stored is None:
        raise NotFound(f"no experiment {reference[:63]!r}; GET /v1/experiments-online lists them")
    return stored


def _definition(new: NewOnlineExperiment) -> dict[str, Any]:
    definition = new.model_dump(mode="json", exclude={"name", "model", "challenger", "ramp"})
    return definition | {"ramp": [step.model_dump(mode="json") for step in new.steps]}


def _forget_assessment_of_day(session: Session, row: OnlineExperimentRow, at: datetime) -> None:
    assessment = ExperimentAssessmentRow
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    session.execute(
        delete(assessment).where(
            *_of(assessment, row.team_id, row.id),
            assessment.action == ExperimentAction.wait,
            assessment.at >= midnight,
        )
    )


def _apply(row: OnlineExperimentRow, assessment: ExperimentAssessment) -> None:
    """Do to the experiment what follows from an assessment."""
    match assessment.action:
        case ExperimentAction.advance:
            row.step, row.step_started_at = row.step + 1, None
        case ExperimentAction.promote:
            row.promoting = True
        case ExperimentAction.roll_back:
            _end(row, OnlineExperimentState.rolled_back, assessment.reason)
        case ExperimentAction.end:
            _end(row, OnlineExperimentState.inconclusive, assessment.reason)


def _audit(session: Session, row: OnlineExperimentRow, action: str, detail: dict[str, Any]) -> None:
    """Add what an experiment does by itself to the audit, under the account that it acts for."""
    author = Author(**row.author)
    call = AuditedCall(
        action=f"EXPERIMENT {action}",
        object=f"/v1/experiments-online/{row.id}",
        request_id="",
        address="",
        team=row.team_id,
        actor_kind=author.kind,
        actor_id=author.credential or author.user_id,
        actor=author.user_name,
        detail={"model": row.model, "challenger": row.challenger, "incumbent": row.incumbent} | detail,
    )
    append_sealed(session, call)


def _end(row: OnlineExperimentRow, state: OnlineExperimentState, reason: str | None) -> None:
    """End an experiment; a share that may be in effect stays on record until it is withdrawn for certain."""
    ramp = row.definition["ramp"]
    row.traffic = row.traffic or (ramp[row.step]["percent"] if ramp else 0)
    row.state, row.reason, row.ended_at, row.promoting = state, reason, job_rows.now(), False


def _experiment(row: OnlineExperimentRow) -> OnlineExperiment:
    values: Mapping[str, Any] = row.definition
    return OnlineExperiment(
        id=row.id,
        name=row.name,
        model=row.model,
        challenger=row.challenger,
        incumbent=row.incumbent,
        state=OnlineExperimentState(row.state),
        reason=row.reason,
        step=row.step,
        traffic=row.traffic,
        approval=row.approval,
        started_at=row.started_at,
        step_started_at=row.step_started_at,
        ended_at=row.ended_at,
        created_by=row.created_by,
        latest=ExperimentAssessment.model_validate(row.latest) if row.latest else None,
        **values,
    )

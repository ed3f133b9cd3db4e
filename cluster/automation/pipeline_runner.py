"""The pipeline runner: lets runs follow their jobs, and starts each step once what it needs has succeeded.

What a run does next follows from its steps, their jobs and the facts alone (`plan_steps`), and is done in one
transaction with the jobs that it starts: killed at any time, it goes on where it was.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cluster.automation import conditions
from cluster.automation.authority import admit
from cluster.backend import Backend
from cluster.repositories.leases import Leases
from cluster.repositories.operations.facts import FactValues
from cluster.repositories.operations.pipeline_runs import StepChange, StepProgress, UnfinishedRun
from cluster.repositories.operations.pipelines import TriggeredPipeline
from quantis.errors import Forbidden
from quantis.types.jobs import JobState
from quantis.types.operations.pipelines import PipelineDefinition, PipelineState

LEASE = "pipelines"
LEASE_TIME = timedelta(seconds=30)
TRIGGER_SECONDS = 10.0
"""Time between two looks at the triggers."""
FACTS_HOLD = timedelta(days=7)
"""A fact that was measured longer ago is not there for a condition."""
_STATES = {
    JobState.succeeded: PipelineState.succeeded,
    JobState.failed: PipelineState.failed,
    JobState.stopped: PipelineState.stopped,
}
log = logging.getLogger("quantis.pipelines")


class PipelineRunner:
    def __init__(self, backend: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._backend, self._clock = backend, clock
        self._triggered_at = 0.0
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex

    def tick(self) -> None:
        """Do one round, unless another process has the lease; a run in trouble does not hold up the others."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        if time.monotonic() - self._triggered_at > TRIGGER_SECONDS:
            self._triggered_at = time.monotonic()
            self.start_triggered()
        facts: dict[str, FactValues] = {}
        for run in self._backend.pipeline_runs.unfinished():
            try:
                if run.team not in facts:
                    facts[run.team] = self._backend.latest_facts.values(run.team, self._clock() - FACTS_HOLD)
                self._advance(run, facts[run.team])
            except Exception:
                log.exception("run %s of team %s could not go on; it is tried again", run.run_id, run.team)

    def start_triggered(self) -> None:
        """Start the runs whose triggers say so; of many alarms at once comes one run, and none in the cool-down."""
        now = self._clock()
        for item in self._backend.pipelines.triggered():
            reason = trigger_reason(item, self._backend.latest_facts.values(item.team, now - FACTS_HOLD), now)
            if reason is not None:
                self._backend.pipeline_runs.start_triggered(item, reason, now)

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _advance(self, run: UnfinishedRun, facts: FactValues) -> None:
        plan = partial(plan_steps, facts=facts)
        changes = plan(run.steps)
        if not changes:
            return
        limit, refusal = self._admit(run, changes)
        if refusal is not None:
            plan = partial(_refused, plan=plan, reason=refusal)
        self._backend.pipeline_runs.advance(run, plan, limit)

    def _admit(self, run: UnfinishedRun, changes: Sequence[StepChange]) -> tuple[int | None, str | None]:
        """Return how many jobs of the team may wait, and why the author may not start what is next."""
        starting = {change.name for change in changes if change.state == PipelineState.running}
        jobs = [each.step.job for each in run.steps if each.step.name in starting and each.step.job]
        try:
            return (admit(self._backend, run.team, run.author, jobs) if jobs else None), None
        except Forbidden as error:  # a quota that is used up, too
            return None, error.message


def plan_steps(progress: Sequence[StepProgress], facts: FactValues) -> list[StepChange]:
    """Return the changes of a run's steps, in their order; pure."""
    states = {each.step.name: each.state for each in progress}
    results = {each.step.name: each.result for each in progress}
    changes: list[StepChange] = []
    for each in progress:
        change = _next_state(each, states, results, facts)
        if change is not None:
            changes.append(change)
            states[change.name] = change.state
    return changes


def trigger_reason(item: TriggeredPipeline, facts: FactValues, now: datetime) -> str | None:
    """Return why a pipeline is to run now; None where nothing says so."""
    trigger = item.trigger
    if trigger.every is not None and now - (item.latest_run_at or item.created_at) >= trigger.every:
        return f"every {trigger.every}"
    if trigger.condition is None:
        return None
    outcome = conditions.evaluate(conditions.parse(trigger.condition), {"facts": facts})
    return str(outcome) if outcome.holds else None


def check_conditions(definition: PipelineDefinition) -> None:
    """Raise InvalidInput for a condition that cannot be read, or looks at a step that is not before its own."""
    before: set[str] = set()
    if definition.trigger is not None and definition.trigger.condition:
        for path in conditions.paths(conditions.parse(definition.trigger.condition)):
            conditions.require_known(path, (), "trigger")
    for step in definition.steps:
        for path in conditions.paths(conditions.parse(step.condition)) if step.condition else ():
            conditions.require_known(path, before, step.name)
        before.add(step.name)


def _next_state(
    each: StepProgress,
    states: Mapping[str, PipelineState],
    results: Mapping[str, dict[str, Any]],
    facts: FactValues,
) -> StepChange | None:
    name = each.step.name
    if each.state == PipelineState.running:
        return _after_job(each)
    if each.state != PipelineState.waiting or any(not states[need].final for need in each.step.needs):
        return None
    missing = [need for need in each.step.needs if states[need] != PipelineState.succeeded]
    if missing:
        return StepChange(
            name, PipelineState.skipped, f"it needs {missing[0]}, which is {states[missing[0]]}"
        )
    reason = None
    if each.step.condition:
        steps = {step: {"state": state.value, "result": results[step]} for step, state in states.items()}
        evaluation = conditions.evaluate(
            conditions.parse(each.step.condition), {"steps": steps, "facts": facts}
        )
        reason = f"if {each.step.condition}: {evaluation}"
        if not evaluation.holds:
            return StepChange(name, PipelineState.skipped, reason)
    begins = PipelineState.running if each.step.job else PipelineState.succeeded
    return StepChange(name, begins, reason)


def _after_job(each: StepProgress) -> StepChange | None:
    if each.job_state is None or not each.job_state.final:
        return None
    state = _STATES[each.job_state]
    if state == PipelineState.succeeded:
        return StepChange(each.step.name, state)
    if state == PipelineState.failed and each.attempt <= each.step.retries:
        reason = f"attempt {each.attempt} failed: {each.failure}"
        return StepChange(each.step.name, PipelineState.running, reason)
    return StepChange(each.step.name, state, each.failure)


def _refused(progress: Sequence[StepProgress], plan: Any, reason: str) -> list[StepChange]:
    """Return a plan's changes, with those steps failed that would start a job."""
    return [
        StepChange(change.name, PipelineState.failed, reason)
        if change.state == PipelineState.running
        else change
        for change in plan(progress)
    ]

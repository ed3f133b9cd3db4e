"""Pipelines run step by step: conditions, retries, rights, and killed at any time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from cluster.automation.pipeline_runner import PipelineRunner, check_conditions, plan_steps
from cluster.repositories.accounts import DEFAULT_TEAM, UserAccounts
from cluster.repositories.teams import Teams
from quantis.errors import Conflict, InvalidInput
from quantis.types.accounts import Role
from quantis.types.jobs import JobError, JobState
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.pipelines import PipelineDefinition
from quantis.types.teams import Quota

JOB = {"kind": "featurize", "dataset": "flights"}
NIGHTLY = {
    "steps": [
        {"name": "ingest", "job": JOB, "retries": 1},
        {"name": "check", "needs": ["ingest"], "if": "steps.ingest.result.rows > 10"},
        {"name": "forecast", "job": JOB, "needs": ["check"]},
        {"name": "train", "job": JOB, "needs": ["check"], "if": "facts.demand.live_wape_over_naive > 1"},
        {"name": "trial", "job": JOB, "needs": ["train"]},
    ]
}
ROWS = {"columns": [], "path": "x", "spec": {}}


class Nightly:
    """A pipeline and its run."""

    def __init__(self, automated, definition=NIGHTLY):
        self.automated, self.backend = automated, automated.backend
        self.runner = PipelineRunner(self.backend)
        definition = PipelineDefinition.model_validate(definition)
        check_conditions(definition)
        self.backend.pipelines.apply(DEFAULT_TEAM, automated.author, "nightly", definition)
        self.id = self.backend.pipeline_runs.start(DEFAULT_TEAM, automated.author, "nightly", "ada").id

    @property
    def run(self):
        return self.backend.pipeline_runs.get(DEFAULT_TEAM, "nightly", self.id)

    def step(self, name):
        return next(step for step in self.run.steps if step.name == name)

    def states(self):
        return [step.state.value for step in self.run.steps]

    def tick(self):
        self.runner.tick()
        return self.states()

    def succeed(self, name, rows=100):
        result = {**ROWS, "rows": rows}
        self.backend.jobs.finish(DEFAULT_TEAM, self.step(name).job_id, JobState.succeeded, "done", result)

    def fail(self, name):
        error = JobError(cause="The disk was full.", remedy="Free some.")
        self.backend.jobs.fail(DEFAULT_TEAM, self.step(name).job_id, error)


def tell(automated, value, model="demand", name=FactName.live_wape_over_naive):
    fact = Fact(name=name, value=value, at=datetime.now(UTC), model=model)
    automated.backend.alerts.record_facts(DEFAULT_TEAM, [fact])


def test_when_conditions_hold_then_every_step_runs_once_what_it_needs_has_succeeded(automated):
    nightly = Nightly(automated)
    tell(automated, 1.2)
    assert nightly.tick() == ["running", "waiting", "waiting", "waiting", "waiting"]
    assert nightly.tick() == ["running", "waiting", "waiting", "waiting", "waiting"]
    nightly.succeed("ingest")
    assert nightly.tick() == ["succeeded", "succeeded", "running", "running", "waiting"]
    nightly.succeed("train")
    assert nightly.tick() == ["succeeded", "succeeded", "running", "succeeded", "running"]
    nightly.succeed("forecast")
    nightly.succeed("trial")
    nightly.tick()
    assert (nightly.run.state, nightly.run.ended_at is not None) == ("succeeded", True)
    assert len(automated.jobs()) == 4
    assert "facts.demand.live_wape_over_naive = 1.2" in nightly.step("train").reason


def test_when_a_condition_does_not_hold_then_its_step_and_those_that_need_it_are_left_out_with_the_values(
    automated,
):
    nightly = Nightly(automated)
    tell(automated, 0.8)
    nightly.tick()
    nightly.succeed("ingest")
    nightly.tick()
    nightly.succeed("forecast")
    nightly.tick()
    assert nightly.states() == ["succeeded", "succeeded", "succeeded", "skipped", "skipped"]
    assert nightly.run.state == "succeeded"
    assert "live_wape_over_naive = 0.8" in nightly.step("train").reason
    assert nightly.step("trial").reason == "it needs train, which is skipped"


def test_when_no_fact_is_there_or_it_is_old_then_the_condition_does_not_hold(automated):
    nightly = Nightly(automated)
    old = Fact(
        name=FactName.live_wape_over_naive, value=9, at=datetime(2024, 1, 1, tzinfo=UTC), model="demand"
    )
    automated.backend.alerts.record_facts(DEFAULT_TEAM, [old])
    nightly.tick()
    nightly.succeed("ingest", rows=5)
    nightly.tick()
    assert nightly.states() == ["succeeded", "skipped", "skipped", "skipped", "skipped"]
    assert "steps.ingest.result.rows = 5" in nightly.step("check").reason


def test_when_a_step_fails_then_it_is_tried_again_with_the_reason_and_then_the_run_fails(automated):
    nightly = Nightly(automated)
    nightly.tick()
    first = nightly.step("ingest").job_id
    nightly.fail("ingest")
    nightly.tick()
    again = nightly.step("ingest")
    assert (again.attempt, again.state, again.job_id != first) == (2, "running", True)
    assert again.reason == "attempt 1 failed: The disk was full."
    nightly.fail("ingest")
    nightly.tick()
    assert nightly.states() == ["failed", "skipped", "skipped", "skipped", "skipped"]
    assert nightly.run.state == "failed"


def test_when_the_runner_is_replaced_or_doubled_then_no_step_starts_twice(automated):
    nightly = Nightly(automated)
    (run,) = automated.backend.pipeline_runs.unfinished()

    for _ in range(3):  # each acts on what it read before the others wrote
        automated.backend.pipeline_runs.advance(run, partial(plan_steps, facts={}), None)
    PipelineRunner(automated.backend).tick()
    assert len(automated.jobs()) == 1
    assert [item.job_id for item in automated.backend.jobs.due()] == [nightly.step("ingest").job_id]


def test_when_the_author_is_demoted_then_a_step_that_would_start_fails_with_the_reason(automated):
    UserAccounts(automated.backend.database).create(DEFAULT_TEAM, "root", "correct horse battery", Role.admin)
    nightly = Nightly(automated)
    nightly.tick()
    UserAccounts(automated.backend.database).change(DEFAULT_TEAM, automated.user.id, role=Role.viewer)
    nightly.succeed("ingest")
    nightly.tick()
    assert nightly.step("forecast").state == "failed"
    assert "has the role viewer" in nightly.step("forecast").reason
    nightly.tick()
    assert nightly.run.state == "failed"


def test_when_the_team_s_queue_is_full_then_a_step_waits(automated):
    Teams(automated.backend.database).set_quota(DEFAULT_TEAM, Quota(jobs_waiting=1))
    nightly = Nightly(automated)
    second = automated.backend.pipeline_runs.start(DEFAULT_TEAM, automated.author, "nightly", "ada")
    nightly.tick()
    waiting = automated.backend.pipeline_runs.get(DEFAULT_TEAM, "nightly", second.id).steps[0]
    assert (waiting.state, "jobs_waiting" in waiting.reason) == ("waiting", True)
    nightly.succeed("ingest", rows=1)
    nightly.tick()
    nightly.tick()
    assert automated.backend.pipeline_runs.get(DEFAULT_TEAM, "nightly", second.id).steps[0].state == "running"


def test_when_a_run_is_stopped_then_nothing_starts_and_it_ends_with_its_jobs(automated):
    nightly = Nightly(automated)
    nightly.tick()
    automated.backend.pipeline_runs.stop(DEFAULT_TEAM, "nightly", nightly.id)
    with pytest.raises(Conflict, match="goes on"):
        automated.backend.pipelines.delete(DEFAULT_TEAM, "nightly")
    automated.backend.jobs.request_stop(DEFAULT_TEAM, nightly.step("ingest").job_id)
    nightly.tick()
    assert nightly.states() == ["stopped"] * 5
    assert nightly.run.state == "stopped"
    automated.backend.pipelines.delete(DEFAULT_TEAM, "nightly")


def test_when_a_definition_is_applied_again_then_only_a_change_makes_a_version_and_runs_keep_theirs(
    automated,
):
    nightly = Nightly(automated)
    apply = automated.backend.pipelines.apply
    assert (
        apply(DEFAULT_TEAM, automated.author, "nightly", PipelineDefinition.model_validate(NIGHTLY)).version
        == 1
    )
    shorter = PipelineDefinition.model_validate({"steps": NIGHTLY["steps"][:2]})
    assert apply(DEFAULT_TEAM, automated.author, "nightly", shorter).version == 2
    assert (nightly.run.version, len(nightly.run.steps)) == (1, 5)
    nightly.tick()
    assert nightly.step("ingest").state == "running"


def test_when_a_schedule_starts_a_pipeline_then_its_run_is_there_once_and_the_schedule_follows_it(automated):
    nightly = Nightly(automated, {"steps": NIGHTLY["steps"][:1]})
    automated.schedule("0 * * * *", starts={"kind": "pipeline", "pipeline": "nightly"})
    automated.tick(automated.now.replace(minute=0) - automated.now)

    automated.tick(timedelta(hours=1))
    (planned,) = automated.runs()
    run = automated.backend.pipeline_runs.get(DEFAULT_TEAM, "nightly", planned.pipeline_run_id)
    assert (planned.state, run.started_by, run.state) == ("running", "schedule nightly", "running")
    nightly.id = run.id
    nightly.tick()
    nightly.succeed("ingest")
    nightly.tick()
    automated.tick()
    assert automated.states() == ["succeeded"]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"name": "a", "job": JOB, "needs": ["b"]}, {"name": "b", "job": JOB}], "no step before it"),
        ([{"name": "a", "job": JOB, "needs": ["a"]}], "no step before it"),
        ([{"name": "a", "job": JOB}, {"name": "a", "job": JOB}], "two steps"),
        ([{"name": "a"}], "does nothing"),
        ([{"name": "a", "job": JOB, "if": "steps.b.state == 'failed'"}], "steps.b is no step before it"),
        ([{"name": "a", "job": JOB, "if": "secrets.key == 'x'"}], "no such value"),
        ([{"name": "a", "job": JOB, "if": "os.system('x')"}], "cannot be read"),
        ([], "at least 1"),
    ],
)
def test_when_a_definition_could_not_run_then_it_is_refused_with_the_reason(steps, said):
    with pytest.raises((ValueError, InvalidInput), match=said):
        check_conditions(PipelineDefinition.model_validate({"steps": steps}))

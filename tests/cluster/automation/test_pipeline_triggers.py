"""Pipelines that train again by themselves: by facts, by time, and once under many alarms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.automation.pipeline_runner import PipelineRunner, check_conditions
from cluster.repositories.accounts import DEFAULT_TEAM
from quantis.errors import InvalidInput
from quantis.types.jobs import JobState
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.pipelines import PipelineDefinition
from tests.cluster.concurrency import at_once

TRAIN = {"name": "train", "job": {"kind": "train", "dataset": "flights", "model": "demand"}}
DAY = timedelta(days=1)


class Retraining:
    def __init__(self, automated, **trigger):
        self.backend, self.now = automated.backend, datetime.now(UTC)
        self.runner = PipelineRunner(self.backend, lambda: self.now)
        definition = PipelineDefinition.model_validate({"trigger": trigger, "steps": [TRAIN]})
        check_conditions(definition)
        self.backend.pipelines.apply(DEFAULT_TEAM, automated.author, "retrain", definition)

    def tell(self, **facts):
        self.backend.alerts.record_facts(
            DEFAULT_TEAM,
            [
                Fact(name=FactName(name), value=value, at=self.now, model="demand")
                for name, value in facts.items()
            ],
        )

    def runs(self, later=timedelta(0)):
        self.now += later
        self.runner.start_triggered()
        return self.backend.pipeline_runs.page(DEFAULT_TEAM, "retrain").items

    def end_all(self):
        self.runner.tick()
        for job in self.backend.jobs.page(DEFAULT_TEAM).items:
            self.backend.jobs.finish(DEFAULT_TEAM, job.id, JobState.succeeded, "done")
        self.runner.tick()


@pytest.mark.parametrize(
    ("condition", "facts"),
    [
        ("facts.demand.live_wape_over_naive > 1", {"live_wape_over_naive": 1.3}),
        ("facts.demand.coverage_80 < 0.75", {"coverage_80": 0.6}),
        ("facts.demand.drift > 0.25", {"drift": 0.4}),
    ],
)
def test_when_a_fact_passes_its_border_then_one_run_begins_and_says_which(automated, condition, facts):
    retraining = Retraining(automated, **{"if": condition})
    assert retraining.runs() == []
    retraining.tell(**dict.fromkeys(facts, 0.8 if "coverage" in condition else 0.1))
    assert retraining.runs() == []
    retraining.tell(**facts)
    (run,) = retraining.runs()
    name, value = next(iter(facts.items()))
    assert run.started_by == f"trigger: facts.demand.{name} = {value}"


def test_when_fifty_alarms_come_at_once_then_one_job_trains_and_no_other_within_the_cool_down(automated):
    retraining = Retraining(automated, **{"if": "facts.demand.drift > 0.25", "cool_down": "P2D"})
    runners = [PipelineRunner(automated.backend, lambda: retraining.now) for _ in range(5)]

    def alarm(number):
        for _ in range(10):
            retraining.tell(drift=0.3 + number / 10)
            runners[number].start_triggered()

    assert at_once(5, alarm) == [None] * 5
    assert len(retraining.runs()) == 1
    retraining.end_all()
    assert len(automated.jobs()) == 1
    retraining.tell(drift=0.9)
    assert len(retraining.runs(DAY)) == 1
    assert len(retraining.runs(DAY + timedelta(minutes=5))) == 2


def test_when_a_run_goes_on_then_no_other_begins_however_long_it_takes(automated):
    retraining = Retraining(automated, **{"if": "facts.demand.drift > 0.25"})
    retraining.tell(drift=0.5)
    assert len(retraining.runs()) == 1
    assert len(retraining.runs(3 * DAY)) == 1


def test_when_it_is_time_then_a_run_begins_without_any_fact(automated):
    retraining = Retraining(automated, every="P7D")
    assert retraining.runs(6 * DAY) == []
    (run,) = retraining.runs(2 * DAY)
    assert run.started_by.startswith("trigger: every 7 days")
    retraining.end_all()
    assert len(retraining.runs(timedelta(hours=1))) == 1


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({}, "needs a condition"),
        ({"if": "steps.train.state == 'failed'"}, "no step before it"),
        ({"if": "facts.demand.drift >"}, "cannot be read"),
        ({"every": "PT1M"}, "every"),
        ({"every": "P1D", "cool_down": "PT1S"}, "cool_down"),
    ],
)
def test_when_a_trigger_could_never_be_right_then_it_is_refused_with_the_reason(trigger, said):
    with pytest.raises((ValueError, InvalidInput), match=said):
        check_conditions(PipelineDefinition.model_validate({"trigger": trigger, "steps": [TRAIN]}))

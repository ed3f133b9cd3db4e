"""The loop of online experiments on real tables, a real registry and real approvals: what it decides and does."""

from __future__ import annotations

import pytest

from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.principals import Author
from quantis.errors import Conflict
from quantis.types.approvals import ApprovalState, Policy
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import (
    ExperimentAction,
    NewOnlineExperiment,
    OnlineExperimentState,
)
from tests.serve.operations.experiment_stage import TEAM, Stage


def test_when_a_shadow_is_worse_then_it_is_rolled_back_with_its_evidence_and_the_champion_stays(
    stage: Stage,
) -> None:
    stage.start()
    assert stage.tick().state is OnlineExperimentState.running
    stage.score(0.15)
    ended = stage.tick()
    assert ended.state is OnlineExperimentState.rolled_back
    assert ended.ended_at is not None
    history = stage.services.online_experiments.with_history(TEAM, stage.model)
    assert [kept.action for kept in history.assessments] == [
        ExperimentAction.roll_back,
        ExperimentAction.wait,
    ]
    verdict = history.assessments[0].verdict
    assert (verdict.state, verdict.pairs) == ("worse", 100)
    assert "confidence sequence" in (ended.reason or "")
    assert stage.champion == 1
    assert stage.audit() == ["roll_back"]
    stage.score(-0.5)
    assert stage.tick() == ended


def test_when_a_shadow_is_better_then_it_becomes_the_champion(stage: Stage) -> None:
    stage.start()
    stage.score(-0.2)
    assert stage.tick().state is OnlineExperimentState.promoted
    assert (stage.champion, stage.traffic) == (2, {})
    assert stage.audit() == ["promote", "promoted"]
    assert stage.services.audit.verify().intact


def test_when_nothing_is_decided_then_it_goes_on_and_each_new_score_is_assessed_once(stage: Stage) -> None:
    stage.start()
    for days in (1, 2):
        stage.score(0.0, days=1)
        running = stage.tick()
        assert running.latest is not None
        assert (running.state, running.latest.verdict.pairs) == (OnlineExperimentState.running, 4 * days)
        assert stage.tick() == running  # nothing came meanwhile
    stage.services.online_experiments.create("other", Author("user", "1", "eve"), _new(stage.model), 1)
    assert stage.tick() == running  # what fails for one team stops no other
    assert stage.audit() == []


def test_when_scores_do_not_count_for_live_accuracy_then_they_do_not_count_here_but_replays_do(
    stage: Stage,
) -> None:
    stage.start()
    for mark in ("learned", "scenario", "hindsight"):
        stage.score(0.5, days=10, mark=mark)
    counted = stage.tick().latest
    assert counted is not None
    assert counted.verdict.pairs == 0
    stage.score(0.5, kind=VintageKind.replay)
    assert stage.tick().state is OnlineExperimentState.rolled_back


def test_when_a_guard_rail_breaks_then_it_rolls_back_before_any_score(stage: Stage) -> None:
    started = stage.start()
    arms = stage.services.experiment_arms
    arms.count(TEAM, started, 1, VintageKind.online, ArmCounts(requests=30, series=60, seconds=3.0))
    arms.count(TEAM, started, 2, VintageKind.shadow, ArmCounts(requests=19, failed=19))
    assert stage.tick().state is OnlineExperimentState.running
    arms.count(TEAM, started, 2, VintageKind.shadow, ArmCounts(failed=1))
    ended = stage.tick()
    assert ended.state is OnlineExperimentState.rolled_back
    assert "100.0% of the challenger's requests failed" in (ended.reason or "")


def test_when_a_canary_is_better_then_its_share_grows_step_by_step_until_it_has_all(stage: Stage) -> None:
    stage.start(mode="canary", ramp=[{"percent": 1, "pairs": 4}, {"percent": 20, "pairs": 100}])
    assert stage.tick().traffic == 1
    assert stage.traffic == {2: 1}
    stage.score(-0.2, days=1)
    assert (stage.tick().step, stage.traffic) == (1, {2: 20})
    assert stage.tick().traffic == 20
    stage.score(-0.2, days=24)
    ended = stage.tick()
    assert (ended.state, ended.traffic) == (OnlineExperimentState.promoted, 0)
    assert (stage.champion, stage.traffic) == (2, {})
    assert stage.audit() == ["traffic", "advance", "traffic", "promote", "promoted", "traffic"]


def test_when_a_canary_is_worse_then_its_share_goes_at_once_even_where_two_people_decide(
    stage: Stage,
) -> None:
    stage.services.approvals.set_policy(TEAM, stage.model, Policy.two_person)
    stage.start(mode="canary", ramp=[{"percent": 30, "lasts": "P1D"}])
    asked = stage.tick()
    assert (asked.traffic, stage.traffic) == (0, {})
    assert asked.approval is not None
    assert asked.reason == f"waits for the approval of request {asked.approval}"
    assert stage.tick().approval == asked.approval
    stage.services.promotion(TEAM).approve("admin", asked.approval)
    begun = stage.tick()
    assert (begun.traffic, begun.approval, begun.reason, stage.traffic) == (30, None, None, {2: 30})
    assert begun.step_started_at is not None
    stage.score(0.15)
    assert (stage.tick().state, stage.traffic) == (OnlineExperimentState.rolled_back, {})


def test_when_two_people_decide_then_a_better_challenger_is_asked_for_and_not_promoted(stage: Stage) -> None:
    stage.services.approvals.set_policy(TEAM, stage.model, Policy.two_person)
    stage.start()
    stage.score(-0.2)
    waiting = stage.tick()
    assert (waiting.state, stage.champion) == (OnlineExperimentState.running, 1)
    assert waiting.approval is not None
    pending = stage.services.approvals.page(TEAM, state=ApprovalState.pending).items
    assert [(each.id, each.requested_by) for each in pending if each.model == stage.model] == [
        (waiting.approval, "ml_engineer")
    ]
    assert stage.tick().approval == waiting.approval
    stage.services.promotion(TEAM).approve("admin", waiting.approval)
    ended = stage.tick()
    assert (ended.state, ended.approval, stage.champion) == (OnlineExperimentState.promoted, None, 2)
    assert stage.audit() == ["promote", "promoted"]


def test_when_the_second_person_refuses_then_it_ends_and_asks_no_more(stage: Stage) -> None:
    stage.services.approvals.set_policy(TEAM, stage.model, Policy.two_person)
    stage.start()
    stage.score(-0.2)
    approval = stage.tick().approval
    assert approval is not None
    stage.services.promotion(TEAM).refuse("admin", approval)
    ended = stage.tick()
    assert ended.state is OnlineExperimentState.inconclusive
    assert "admin has refused its request" in (ended.reason or "")
    assert stage.tick() == ended
    assert stage.champion == 1


def test_when_it_turns_worse_while_a_second_person_is_awaited_then_the_request_is_withdrawn(
    stage: Stage,
) -> None:
    stage.services.approvals.set_policy(TEAM, stage.model, Policy.two_person)
    started = stage.start()
    stage.score(-0.2)
    approval = stage.tick().approval
    assert approval is not None
    arms = stage.services.experiment_arms
    arms.count(TEAM, started, 2, VintageKind.shadow, ArmCounts(requests=20, failed=20))
    ended = stage.tick()
    assert (ended.state, ended.approval) == (OnlineExperimentState.rolled_back, None)
    assert stage.services.approvals.get(TEAM, approval).state is ApprovalState.withdrawn
    with pytest.raises(Conflict):
        stage.services.promotion(TEAM).approve("admin", approval)
    assert stage.champion == 1


def test_when_an_experiment_was_rolled_back_then_an_alert_says_why(stage: Stage) -> None:
    stage.start()
    stage.score(0.15)
    stage.tick()
    alerts = stage.services.alerts
    measurement = stage.services.measurement_loop()
    measurement.tick()
    (opened,) = [alert for alert in alerts.page(TEAM).items if alert.model == stage.model]
    assert opened.rule == "default-experiment-rolled-back"
    assert "was rolled back" in opened.summary
    assert "worse" in opened.summary


def _new(model: str) -> NewOnlineExperiment:
    return NewOnlineExperiment(name=model, model=model, challenger=2)

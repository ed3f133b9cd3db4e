"""Online experiments in the database: one a model, assessments with what follows from them, counts of the versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.database.engine import Database
from cluster.repositories.operations import online_experiments as module
from cluster.repositories.operations.experiment_arms import FADE_AT, ArmCounts, ExperimentArms
from cluster.repositories.operations.online_experiments import OnlineExperiments
from cluster.repositories.principals import Author
from monitoring.accuracy.scoring import SCORES
from monitoring.experiments.verdict import decide_verdict
from quantis.errors import Conflict, NotFound
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import (
    ArmFigures,
    ExperimentAction,
    ExperimentAssessment,
    ExperimentMode,
    NewOnlineExperiment,
    OnlineExperimentState,
)
from tests.cluster.concurrency import at_once

TEAM = "default"
ADA = Author("user", "1", "ada")
NOTHING = ArmFigures(requests=0, error_share=None, fallback_share=None, seconds=None)


@pytest.fixture
def experiments(database: Database) -> OnlineExperiments:
    return OnlineExperiments(database)


def new(name: str = "trial", **values: Any) -> NewOnlineExperiment:
    return NewOnlineExperiment.model_validate({"name": name, "model": "demand", "challenger": 2} | values)


def assessment(action: ExperimentAction, at: datetime | None = None) -> ExperimentAssessment:
    verdict = decide_verdict(SCORES.empty_table(), SCORES.empty_table())
    return ExperimentAssessment(
        number=1,
        at=at or datetime.now(UTC),
        verdict=verdict,
        challenger=NOTHING,
        incumbent=NOTHING,
        action=action,
        reason="as the figures say",
    )


def test_when_an_experiment_runs_then_its_model_gets_no_second_one_and_its_name_stays_taken(
    experiments: OnlineExperiments,
) -> None:
    first = experiments.create(TEAM, ADA, new(), 1)
    with pytest.raises(Conflict, match="is running; stop it"):
        experiments.create(TEAM, ADA, new("second"), 1)
    assert experiments.create("other", ADA, new(), 1).model == "demand"
    experiments.end(TEAM, first.id, OnlineExperimentState.stopped, "enough")
    with pytest.raises(Conflict, match="another name"):
        experiments.create(TEAM, ADA, new(), 1)
    with pytest.raises(Conflict, match="has ended already: stopped"):
        experiments.end(TEAM, "trial", OnlineExperimentState.stopped, "again")
    second = experiments.create(TEAM, ADA, new("second"), 1)
    assert [each.name for each in experiments.page(TEAM).items] == ["second", "trial"]
    running = experiments.page(TEAM, model="demand", state=OnlineExperimentState.running)
    assert [each.id for each in running.items] == [second.id]
    assert {stored.team for stored in experiments.running()} == {TEAM, "other"}
    with pytest.raises(NotFound, match="no experiment"):
        experiments.get("third", second.id)


def test_when_a_request_comes_again_with_its_key_then_one_experiment_is_there(
    experiments: OnlineExperiments,
) -> None:
    ids = {experiments.create(TEAM, ADA, new(), 1, key="k").id for _ in range(2)}
    assert len(ids) == 1


def test_when_many_start_at_once_then_one_of_them_runs(experiments: OnlineExperiments) -> None:
    started: list[str] = []

    def start(number: int) -> None:
        try:
            started.append(experiments.create(TEAM, ADA, new(f"trial-{number}"), 1).name)
        except Conflict:
            return

    at_once(6, start)
    assert len(started) == 1


def test_when_many_experiments_have_ended_then_the_oldest_go_with_their_looks(
    experiments: OnlineExperiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENDED", 2)
    for number in range(4):
        started = experiments.create(TEAM, ADA, new(f"trial-{number}"), 1)
        experiments.record(TEAM, started, assessment(ExperimentAction.roll_back))
    assert [each.name for each in experiments.page(TEAM).items] == ["trial-3", "trial-2", "trial-1"]
    with pytest.raises(NotFound):
        experiments.with_history(TEAM, "trial-0")


def test_when_assessments_have_no_consequence_then_the_last_of_each_day_is_kept(
    experiments: OnlineExperiments,
) -> None:
    started = experiments.create(TEAM, ADA, new(), 1)
    day = datetime(2026, 5, 1, 8, tzinfo=UTC)
    for days, hours in ((0, 0), (0, 3), (0, 5), (1, 0), (1, 1)):
        made_at = day + timedelta(days=days, hours=hours)
        assert experiments.record(TEAM, started, assessment(ExperimentAction.wait, made_at)) is not None
    history = experiments.with_history(TEAM, "trial")
    assert [(kept.number, kept.at) for kept in history.assessments] == [
        (5, day + timedelta(days=1, hours=1)),
        (3, day + timedelta(hours=5)),
    ]
    assert history.experiment.latest == history.assessments[0]
    first = experiments.with_history(TEAM, "trial", limit=1)
    rest = experiments.with_history(TEAM, "trial", limit=1, cursor=first.next_cursor)
    assert [kept.number for kept in (*first.assessments, *rest.assessments)] == [5, 3]


def test_when_a_assessment_ends_an_experiment_then_state_and_evidence_come_together_and_no_later_assessment_counts(
    experiments: OnlineExperiments,
) -> None:
    started = experiments.create(TEAM, ADA, new(mode=ExperimentMode.canary), 1)
    advanced = experiments.record(TEAM, started, assessment(ExperimentAction.advance))
    assert advanced is not None
    assert (advanced.step, advanced.step_started_at) == (1, None)
    assert (
        experiments.record(TEAM, started, assessment(ExperimentAction.advance)) is None
    )  # of the step before
    promoting = experiments.record(TEAM, advanced, assessment(ExperimentAction.promote))
    assert promoting is not None
    assert [stored.promoting for stored in experiments.unfinished()] == [True]
    experiments.set_traffic(TEAM, started.id, 10)
    ended = experiments.record(TEAM, advanced, assessment(ExperimentAction.roll_back))
    assert ended is not None
    assert (ended.state, ended.reason) == (OnlineExperimentState.rolled_back, "as the figures say")
    assert experiments.record(TEAM, advanced, assessment(ExperimentAction.promote)) is None
    assert [entry.action for entry in experiments.with_history(TEAM, started.id).assessments] == [
        ExperimentAction.roll_back,
        ExperimentAction.promote,
        ExperimentAction.advance,
    ]
    assert experiments.running() == []
    assert [stored.experiment.id for stored in experiments.unfinished()] == [
        started.id
    ]  # its share is still there
    experiments.settle(TEAM, started.id, OnlineExperimentState.promoted, "too late")
    experiments.set_traffic(TEAM, started.id, 0)
    assert experiments.get(TEAM, started.id).state == OnlineExperimentState.rolled_back
    assert experiments.unfinished() == []


def test_when_several_processes_count_then_nothing_is_lost_and_old_counts_fade(database: Database) -> None:
    arms = ExperimentArms(database)
    experiment = OnlineExperiments(database).create(TEAM, ADA, new(), 1)
    some = ArmCounts(requests=2, failed=1, series=4, fallbacks=2, seconds=0.5)
    at_once(8, lambda number: arms.count(TEAM, experiment, 2, VintageKind.shadow, some))
    counts = arms.of_step(TEAM, experiment)[(2, VintageKind.shadow)]
    assert counts == ArmCounts(requests=16, failed=8, series=32, fallbacks=16, seconds=4.0)
    assert counts.figures() == ArmFigures(requests=16, error_share=0.5, fallback_share=0.5, seconds=0.5)
    arms.count(TEAM, experiment, 1, VintageKind.online, ArmCounts(requests=FADE_AT, series=FADE_AT))
    arms.count(TEAM, experiment, 1, VintageKind.online, ArmCounts(requests=FADE_AT, failed=FADE_AT))
    share = arms.of_step(TEAM, experiment)[(1, VintageKind.online)].figures().error_share
    assert share == pytest.approx(2 / 3)
    later = experiment.model_copy(update={"step": 1})
    assert arms.of_step(TEAM, later) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ramp": [{"percent": 1, "pairs": 5}]}, "has no ramp"),
        ({"mode": "canary", "replay_days": 3}, "replays nothing"),
        ({"mode": "canary", "ramp": [{"percent": 1}]}, "never ends"),
        ({"mode": "canary", "ramp": [{"percent": 5, "pairs": 1}, {"percent": 5, "pairs": 2}]}, "do not grow"),
    ],
)
def test_when_a_specification_contradicts_itself_then_it_is_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        new(**values)

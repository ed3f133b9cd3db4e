"""The loop of online experiments on real tables, a real registry and real approvals: what it decides, and does once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.model_monitoring.tables import MonitoringTables, batch_counter, version_counter
from cluster.model_ops.experiment_loop import ExperimentLoop
from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.principals import Author
from monitoring.accuracy.scoring import SCORES
from quantis.errors import Conflict
from quantis.types.accounts import Role
from quantis.types.approvals import ApprovalState, Policy
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import (
    ExperimentAction,
    NewOnlineExperiment,
    OnlineExperiment,
    OnlineExperimentState,
)
from quantis.types.registry import Share, Traffic
from serve.services import Services
from tests.serve.api_under_test import PASSED, World

TEAM = "default"
_NUMBERS = count(1)


@dataclass
class Stage:
    """A model with a champion, 1, and a challenger, 2, whose scores a test writes day by day."""

    world: World
    model: str
    loop: ExperimentLoop
    day: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def services(self) -> Services:
        return self.world.services

    def start(self, **values: Any) -> OnlineExperiment:
        new = NewOnlineExperiment.model_validate(
            {"name": self.model, "model": self.model, "challenger": 2, "promote": "when_better"} | values
        )
        author = Author("user", self.world.user_id("ml_engineer"), "ml_engineer")
        return self.services.online_experiments.create(TEAM, author, new, 1)

    def score(
        self, excess: float, days: int = 25, kind: VintageKind = VintageKind.shadow, mark: str | None = None
    ) -> None:
        """Write scores of `days` more: four series a day, the challenger's errors larger by `excess`."""
        rows = []
        now = datetime.now(UTC)
        for day in range(self.day, self.day + days):
            for series in ("a", "b", "c", "d"):
                ds = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day)
                for version, factor, of_kind in ((2, 1 + excess, kind), (1, 1.0, VintageKind.online)):
                    error = factor * abs(1 + 0.2 * self.rng.normal())
                    rows.append(
                        {
                            "kind": of_kind.value,
                            "scenario": False,
                            "learned": False,
                            "model": self.model,
                            "version": version,
                            "method": "model",
                            "dataset": "flights",
                            "unique_id": series,
                            "cutoff": ds - timedelta(days=1),
                            "ds": ds,
                            "step": 1,
                            "as_of": ds - timedelta(days=1),
                            "issued_at": now,
                            "mean": 10 - error,
                            "levels": [0.1, 0.5, 0.9],
                            "values": [9 - error, 10 - error, 11 - error],
                            "forecast_id": f"{version}-{day}",
                            "y": 10.0,
                            "known_at": ds,
                            "recorded_at": now,
                            "dataset_version": 1,
                            "correction": False,
                            "hindsight": False,
                            "naive": 9.0,
                            "scale": 2.0,
                            "scored_at": now,
                        }
                        | ({mark: True} if mark and version == 2 else {})
                    )
        self.day += days
        tables = MonitoringTables.of_team(self.services.data_layout, TEAM)
        tables.scores.append(
            pa.Table.from_pylist(rows, SCORES),
            {version_counter("flights"): 1, batch_counter("flights"): self.day},
        )

    def tick(self) -> OnlineExperiment:
        self.loop.tick()
        return self.experiment

    @property
    def experiment(self) -> OnlineExperiment:
        return self.services.online_experiments.get(TEAM, self.model)

    @property
    def champion(self) -> int:
        return self.services.registry(TEAM).resolve(self.model).version

    @property
    def traffic(self) -> dict[int, int]:
        shares = self.services.registry(TEAM).traffic(self.model).shares
        return {share.version: share.percent for share in shares}

    def audit(self) -> list[str]:
        events = self.services.audit.page([TEAM], action="EXPERIMENT", limit=100).items
        return [event.action.removeprefix("EXPERIMENT ") for event in reversed(events)]


@pytest.fixture
def stage(world: World, template: Path) -> Iterator[Stage]:
    registry, model = world.services.registry(TEAM), f"trial-{next(_NUMBERS)}"
    for _ in range(3):
        registry.publish(model, template / "bundle", metrics={"mase": 0.5}, gate=PASSED)
    registry.promote(model, 1)
    loop = ExperimentLoop(world.services, rest=0.0)
    yield Stage(world, model, loop)
    loop.close()


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
    stage.score(0.5, kind=VintageKind.replay, mark="hindsight")
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


def test_when_it_was_killed_after_the_decision_then_the_next_tick_does_what_was_decided_once(
    stage: Stage,
) -> None:
    started = stage.start(mode="canary", ramp=[{"percent": 30, "pairs": 1}])
    stage.tick()
    stage.score(0.0, days=1)
    latest = stage.tick().latest
    assert latest is not None
    decided = latest.model_copy(update={"action": ExperimentAction.roll_back})
    assert stage.services.online_experiments.record(TEAM, started, decided) is not None
    assert stage.traffic == {2: 30}  # the process died here
    for _ in range(2):
        assert (stage.tick().state, stage.traffic) == (OnlineExperimentState.rolled_back, {})
    assert stage.experiment.traffic == 0
    assert stage.audit() == ["traffic", "roll_back", "traffic"]


def test_when_it_was_killed_after_a_change_of_the_registry_then_the_change_is_not_made_again(
    stage: Stage,
) -> None:
    registry = stage.services.registry(TEAM)
    stage.start(mode="canary", ramp=[{"percent": 30, "pairs": 1}])
    registry.set_traffic(stage.model, Traffic(shares=(Share(version=2, percent=30),)))  # it died here
    changes = _changes(stage)
    assert stage.tick().traffic == 30
    assert _changes(stage) == changes
    stage.score(-0.2)
    latest = stage.experiment.latest
    assert latest is not None
    promoted = latest.model_copy(update={"action": ExperimentAction.promote, "reason": "better"})
    stage.services.online_experiments.record(TEAM, stage.experiment, promoted)
    registry.promote(stage.model, 2)  # and here
    ended = stage.tick()
    assert (ended.state, ended.reason, stage.traffic) == (OnlineExperimentState.promoted, "better", {})


def test_when_it_is_stopped_before_its_share_is_on_record_then_the_share_goes_all_the_same(
    stage: Stage,
) -> None:
    stage.start(mode="canary", ramp=[{"percent": 30, "pairs": 1}])
    registry = stage.services.registry(TEAM)
    registry.set_traffic(stage.model, Traffic(shares=(Share(version=2, percent=30),)))  # it died here
    stage.services.online_experiments.end(TEAM, stage.model, OnlineExperimentState.stopped, "by ada")
    assert (stage.tick().traffic, stage.traffic) == (0, {})
    assert stage.services.online_experiments.unfinished() == []


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        ("promote 2", OnlineExperimentState.promoted, "promoted by hand"),
        ("promote 3", OnlineExperimentState.stopped, "version 3 is the champion now"),
        ("divide", OnlineExperimentState.stopped, "divided the model's requests otherwise"),
        ("delete", OnlineExperimentState.stopped, "no version 2"),
    ],
)
def test_when_somebody_changes_the_model_then_the_experiment_ends_and_leaves_their_change(
    stage: Stage, change: str, state: OnlineExperimentState, words: str
) -> None:
    registry = stage.services.registry(TEAM)
    stage.start(mode="canary", ramp=[{"percent": 30, "pairs": 1}])
    stage.tick()
    theirs = Traffic(shares=(Share(version=2, percent=30), Share(version=3, percent=5)))
    match change.split():
        case ["promote", version]:
            registry.promote(stage.model, int(version))
        case ["divide"]:
            registry.set_traffic(stage.model, theirs)
        case _:
            registry.hide_version(stage.model, 2)
    ended = stage.tick()
    assert ended.state is state
    assert words in (ended.reason or "")
    assert stage.traffic == ({2: 30, 3: 5} if change == "divide" else {})


def test_when_its_author_may_not_promote_any_more_then_it_stops_and_the_share_goes(stage: Stage) -> None:
    stage.start(mode="canary", ramp=[{"percent": 1, "pairs": 4}, {"percent": 20, "pairs": 100}])
    stage.tick()
    user_id = stage.world.user_id("ml_engineer")
    stage.services.accounts.change(TEAM, user_id, role=Role.analyst)
    stage.score(0.0, days=1)
    ended = stage.tick()
    assert (ended.state, stage.traffic) == (OnlineExperimentState.stopped, {})
    assert "has the role analyst" in (ended.reason or "")


def test_when_two_processes_tick_then_one_of_them_works(stage: Stage) -> None:
    stage.start()
    stage.tick()
    stage.score(0.15)
    other = ExperimentLoop(stage.services, rest=0.0)
    other.tick()
    assert stage.experiment.state is OnlineExperimentState.running
    assert stage.tick().state is OnlineExperimentState.rolled_back
    stage.loop.close()
    other.tick()
    other.close()
    assert stage.audit() == ["roll_back"]


def _new(model: str) -> NewOnlineExperiment:
    return NewOnlineExperiment(name=model, model=model, challenger=2)


def _changes(stage: Stage) -> int:
    """Return the number of recorded changes of who serves the model."""
    registered = stage.services.registry(TEAM)._registered(stage.model)
    return sum(name.startswith("quantis.served.") for name in registered.tags)

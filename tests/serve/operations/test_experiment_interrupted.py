"""Experiments that are interrupted: by a kill, by people who change the model, by an author without rights."""

from __future__ import annotations

import pytest

from cluster.model_ops.experiment_loop import ExperimentLoop
from quantis.types.accounts import Role
from quantis.types.operations.online_experiments import (
    ExperimentAction,
    OnlineExperimentState,
)
from quantis.types.registry import Share, Traffic
from tests.serve.operations.experiment_stage import TEAM, Stage


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
    other = ExperimentLoop(stage.services, pause_factor=0.0)
    other.tick()
    assert stage.experiment.state is OnlineExperimentState.running
    assert stage.tick().state is OnlineExperimentState.rolled_back
    stage.loop.close()
    other.tick()
    other.close()
    assert stage.audit() == ["roll_back"]


def _changes(stage: Stage) -> int:
    """Return the number of recorded changes of who serves the model."""
    registered = stage.services.registry(TEAM)._registered(stage.model)
    return sum(name.startswith("quantis.served.") for name in registered.tags)

"""Online experiments over HTTP, from the SDK and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cluster.model_ops.experiment_loop import ExperimentLoop
from quantis.client import Client
from quantis.errors import Conflict, Forbidden, NotFound
from quantis.types.approvals import Policy
from quantis.types.operations.online_experiments import OnlineExperimentState
from tests.serve.api_under_test import FAILED, PASSED, World

TEAM = "default"
ROUTE = "/v1/experiments-online"
_NUMBERS = count(1)
Problem = Callable[..., dict[str, Any]]


@pytest.fixture
def model(world: World, template: Path) -> str:
    """A model whose version 1 is the champion, 2 has passed the gate too, and 3 has not."""
    registry, name = world.services.registry(TEAM), f"tried-{next(_NUMBERS)}"
    for gate in (PASSED, PASSED, FAILED):
        registry.publish(name, template / "bundle", metrics={"mase": 0.5}, gate=gate)
    registry.promote(name, 1)
    return name


@pytest.fixture
def loop(world: World) -> Iterator[ExperimentLoop]:
    loop = ExperimentLoop(world.services, pause_factor=0.0)
    yield loop
    loop.close()


def test_when_an_experiment_is_started_then_it_reads_back_and_the_same_key_starts_one(
    client: TestClient, model: str
) -> None:
    new = {"name": "trial", "model": model, "challenger": 2, "replay_days": 7, "promote": "when_not_worse"}
    answers = [client.post(ROUTE, json=new, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    body = answers[0].json()
    assert answers[1].json() == body
    assert (body["incumbent"], body["mode"], body["state"], body["lasts"]) == (1, "shadow", "running", "P60D")
    history = client.get(answers[0].headers["location"]).json()
    assert (history["experiment"], history["assessments"], history["next_cursor"]) == (body, [], None)
    assert (history["shadows"]["computed"], history["shadows"]["waiting"]) == (0, 0)
    assert client.get(f"{ROUTE}/trial").json() == history
    assert client.get(ROUTE, params={"model": model}).json()["items"] == [body]
    assert client.get(ROUTE, params={"state": "promoted"}).json()["items"] == []
    assert client.post(ROUTE, json=new | {"name": "other"}).status_code == 409
    assert client.post(f"{ROUTE}/trial/stop").json()["state"] == "stopped"
    assert client.post(f"{ROUTE}/trial/stop").status_code == 409


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"challenger": 1}, 422, "the champion itself"),
        ({"challenger": 9}, 404, "no version 9"),
        ({"model": "nothing"}, 404, "of model 'nothing'"),
        ({"challenger": 3, "mode": "canary"}, 409, "did not pass the gate"),
        ({"challenger": 3, "promote": "when_better"}, 409, "did not pass the gate"),
        ({"mode": "canary", "replay_days": 1}, 422, ""),
        ({"mode": "canary", "ramp": [{"percent": 5}]}, 422, ""),
        ({"ramp": [{"percent": 5, "pairs": 2}]}, 422, ""),
        ({"share": 0}, 422, ""),
        ({"lasts": "PT1M"}, 422, ""),
        ({"alpha": 0.6}, 422, ""),
    ],
)
def test_when_a_trial_could_not_be_held_then_it_is_refused_with_the_reason(
    client: TestClient, model: str, changes: dict[str, Any], status: int, words: str
) -> None:
    answer = client.post(ROUTE, json={"name": "trial", "model": model, "challenger": 2} | changes)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert client.get(ROUTE).json()["items"] == []


def test_when_the_gate_rejected_a_version_then_it_may_still_be_watched_in_the_shadow(
    client: TestClient, model: str
) -> None:
    answer = client.post(ROUTE, json={"name": "trial", "model": model, "challenger": 3})
    assert answer.status_code == 201, answer.text


def test_when_the_requests_are_divided_or_no_version_serves_then_there_is_no_canary(
    world: World, client: TestClient, model: str, problem: Problem
) -> None:
    divided = {"shares": [{"version": 2, "percent": 5}]}
    assert client.put(f"/v1/models/{model}/traffic", json=divided).status_code == 200
    canary = {"name": "trial", "model": model, "challenger": 2, "mode": "canary"}
    assert "divided already" in problem(client.post(ROUTE, json=canary), 409, "conflict")["detail"]
    client.put(f"/v1/models/{model}/traffic", json={"shares": []})
    assert client.delete(f"/v1/models/{model}/aliases/champion").status_code == 204
    assert "no champion" in problem(client.post(ROUTE, json=canary), 409, "conflict")["detail"]


def test_when_a_canary_is_stopped_then_the_champion_answers_everything_at_once(
    world: World, client: TestClient, model: str, loop: ExperimentLoop
) -> None:
    ramp = [{"percent": 10, "lasts": "P1D"}, {"percent": 50, "pairs": 500}]
    new = {"name": "trial", "model": model, "challenger": 2, "mode": "canary", "ramp": ramp}
    assert client.post(ROUTE, json=new).status_code == 201
    loop.tick()
    running = client.get(f"{ROUTE}/trial").json()["experiment"]
    assert (running["traffic"], running["step"]) == (10, 0)
    shares = client.get(f"/v1/models/{model}/traffic").json()["shares"]
    assert shares == [{"version": 2, "percent": 10}]
    in_use = client.delete(f"/v1/models/{model}/versions/2")
    assert in_use.status_code == 409
    assert "experiment trial is running" in in_use.text
    stopped = client.post(f"{ROUTE}/trial/stop").json()
    assert (stopped["state"], stopped["traffic"], stopped["reason"]) == ("stopped", 0, "stopped by admin")
    assert client.get(f"/v1/models/{model}/traffic").json()["shares"] == []
    actions = [event["action"] for event in client.get("/v1/audit-events").json()["items"]]
    assert f"POST {ROUTE}" in actions
    assert f"POST {ROUTE}/{{experiment_id}}/stop" in actions
    assert actions.count("EXPERIMENT traffic") == 2


def test_when_two_people_decide_then_the_first_share_waits_for_the_second_one(
    world: World, client: TestClient, model: str, loop: ExperimentLoop
) -> None:
    world.services.approvals.set_policy(TEAM, model, Policy.two_person)
    canary = {"name": "trial", "model": model, "challenger": 2, "mode": "canary"}
    world.client("ml_engineer").post(ROUTE, json=canary)
    loop.tick()
    waiting = client.get(f"{ROUTE}/trial").json()["experiment"]
    assert (waiting["traffic"], waiting["step_started_at"]) == (0, None)
    assert client.post(f"/v1/approvals/{waiting['approval']}/approve").status_code == 200
    loop.tick()
    begun = client.get(f"{ROUTE}/trial").json()["experiment"]
    assert (begun["traffic"], begun["approval"], begun["state"]) == (1, None, "running")


def test_when_the_sdk_is_used_then_every_call_has_its_method(
    sdk_of: Callable[[str], Client], model: str
) -> None:
    with sdk_of("ml_engineer") as api, sdk_of("analyst") as analyst:
        with pytest.raises(Forbidden):
            analyst.start_experiment("trial", model, 2)
        started = api.start_experiment("trial", model, 2, share=20, guard_rails={"latency_ratio": 2.0})
        assert (started.share, started.guard_rails.latency_ratio) == (20, 2.0)
        assert analyst.online_experiments(model, state="running") == [started]
        assert analyst.online_experiment("trial").experiment == started
        with pytest.raises(Forbidden):
            analyst.stop_experiment("trial")
        with pytest.raises(Conflict):
            api.start_experiment("second", model, 2)
        assert api.stop_experiment(started.id).state is OnlineExperimentState.stopped
        with pytest.raises(NotFound, match="no experiment 'nothing'"):
            api.online_experiment("nothing")


def test_when_the_command_line_is_used_then_a_trial_is_started_shown_and_stopped(
    cli: Callable[..., tuple[int, str, str]], model: str, tmp_path: Path
) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("ramp:\n- {percent: 5, pairs: 200}\nguard_rails: {error_share: 0.01}\n")
    code, out, _ = cli(
        "experiments", "start", "trial", model, "2", "--canary", "--options", str(options), "--json"
    )
    assert code == 0
    started = json.loads(out)
    assert (started["mode"], started["guard_rails"]["error_share"]) == ("canary", 0.01)
    code, out, _ = cli("experiments", "ls", model)
    assert code == 0
    assert "canary 5 %, now 0 %" in out
    code, out, _ = cli("experiments", "show", "trial")
    assert code == 0
    assert f"{model}:1, when it began" in out
    assert cli("experiments", "show", "nothing")[0] == 4
    code, _, err = cli("experiments", "stop", "trial")
    assert code == 0
    assert "is stopped" in err
    code, out, _ = cli("experiments", "ls", "--running", "--json")
    assert json.loads(out) == {"items": []} or json.loads(out) == []

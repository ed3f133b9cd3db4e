from __future__ import annotations

import pytest

from quantis.types.accounts import Role
from tests.serve.api_under_test import PASSWORD

ADDRESS = "/v1/models/demand/aliases/"


@pytest.fixture
def strict(world):
    """A platform of the production kind: two people decide."""
    world.settings = world.settings.model_copy(update={"policy": "two_person"})
    world.services.accounts.create("default", "second", PASSWORD, Role.ml_engineer)
    return world


def meaning(world, alias):
    versions = world.client("viewer").get("/v1/models/demand/versions").json()["items"]
    return next((one["version"] for one in versions if alias in one["aliases"]), None)


def ask(world, who="ml_engineer", alias="canary", version=1):
    return world.client(who).put(ADDRESS + alias, json={"version": version})


def test_when_one_person_asks_then_another_approves_and_only_then_it_changes(strict, problem):
    before = meaning(strict, "canary")
    version = 2 if before == 1 else 1
    answer = ask(strict, version=version)
    request = answer.json()
    assert (answer.status_code, request["state"], request["requested_by"]) == (202, "pending", "ml_engineer")
    assert request["change"] == {"kind": "alias", "alias": "canary", "version": version, "instead_of": before}
    assert meaning(strict, "canary") == before
    own = strict.client("ml_engineer").post(f"/v1/approvals/{request['id']}/approve")
    assert "another person must approve" in problem(own, 403, "forbidden")["detail"]
    assert meaning(strict, "canary") == before
    assert ask(strict, version=version).json()["id"] == request["id"]  # the same again is the same
    done = strict.client("second").post(f"/v1/approvals/{request['id']}/approve").json()
    assert (done["state"], done["decided_by"]) == ("approved", "second")
    assert meaning(strict, "canary") == version
    problem(strict.client("second").post(f"/v1/approvals/{request['id']}/approve"), 409, "conflict")


def test_when_the_requester_has_a_key_or_a_machine_then_it_does_not_approve_either(strict, problem):
    request = ask(strict, version=2 if meaning(strict, "canary") == 1 else 1).json()["id"]
    made = (
        strict.client("ml_engineer")
        .post("/v1/api-keys", json={"name": "k", "scopes": ["models", "read"]})
        .json()
    )
    account = (
        strict.client("admin")
        .post("/v1/clients", json={"name": "robot", "role": "admin", "scopes": ["models", "read"]})
        .json()
    )
    form = {
        "grant_type": "client_credentials",
        "client_id": account["id"],
        "client_secret": account["client_secret"],
    }
    token = strict.client().post("/v1/oauth/token", data=form).json()["access_token"]
    for credential in (made["key"], token):
        client = strict.client()
        client.headers["Authorization"] = f"Bearer {credential}"
        problem(client.post(f"/v1/approvals/{request}/approve"), 403, "forbidden")
    problem(strict.client("analyst").post(f"/v1/approvals/{request}/approve"), 403, "forbidden")


def test_when_it_is_refused_or_withdrawn_then_nothing_changes(strict, problem):
    before = meaning(strict, "canary")
    version = 2 if before == 1 else 1
    first = ask(strict, version=version).json()["id"]
    assert strict.client("second").post(f"/v1/approvals/{first}/refuse").json()["state"] == "refused"
    second = ask(strict, version=version).json()["id"]
    assert strict.client("ml_engineer").post(f"/v1/approvals/{second}/refuse").json()["state"] == "withdrawn"
    assert meaning(strict, "canary") == before
    problem(strict.client("second").post(f"/v1/approvals/{second}/approve"), 409, "conflict")
    listed = strict.client("viewer").get("/v1/approvals").json()["items"]
    assert [one["state"] for one in listed] == ["withdrawn", "refused"]
    assert strict.client("viewer").get("/v1/approvals", params={"state": "pending"}).json()["items"] == []


def test_when_two_ask_for_different_things_then_the_second_must_wait(strict, problem):
    request = ask(strict, alias="waiting", version=1).json()["id"]
    body = problem(ask(strict, "second", alias="waiting", version=2), 409, "conflict")
    assert request in body["detail"]
    assert ask(strict, alias="other", version=1).json()["id"] != request
    newer = ask(strict, alias="waiting", version=2).json()  # one's own earlier wish is withdrawn
    assert newer["state"] == "pending"
    assert strict.client("viewer").get(f"/v1/approvals/{request}").json()["state"] == "withdrawn"


def test_when_the_alias_moved_meanwhile_then_the_approval_is_refused(strict, problem):
    before = meaning(strict, "canary")
    version = 2 if before == 1 else 1
    request = ask(strict, version=version).json()["id"]
    strict.registry.promote("demand", version, "canary")
    strict.registry.promote("demand", version, "canary")
    body = problem(strict.client("second").post(f"/v1/approvals/{request}/approve"), 409, "conflict")
    assert "another version than when this was asked for" in body["detail"]
    assert strict.client("viewer").get(f"/v1/approvals/{request}").json()["state"] == "pending"


def test_when_the_gate_says_no_then_it_cannot_even_be_asked_for(strict, problem):
    problem(ask(strict, alias="champion", version=2), 409, "conflict")
    assert strict.client("viewer").get("/v1/approvals").json()["items"] == []


def test_when_the_policy_is_loosened_then_two_people_do_that_too(strict, problem):
    admin, second = strict.client("admin"), strict.client("second")
    assert admin.get("/v1/models/demand/policy").json() == {"policy": "two_person"}
    answer = admin.put("/v1/models/demand/policy", json={"policy": "gate"})
    request = answer.json()
    assert (answer.status_code, request["change"]) == (202, {"kind": "policy", "policy": "gate"})
    assert admin.get("/v1/models/demand/policy").json() == {"policy": "two_person"}
    problem(admin.post(f"/v1/approvals/{request['id']}/approve"), 403, "forbidden")
    assert second.post(f"/v1/approvals/{request['id']}/approve").status_code == 200
    assert admin.get("/v1/models/demand/policy").json() == {"policy": "gate"}
    assert ask(strict, version=1).status_code == 200  # at once now
    assert admin.put("/v1/models/demand/policy", json={"policy": "two_person"}).status_code == 200
    problem(admin.put("/v1/models/nothing/policy", json={"policy": "gate"}), 404, "not_found")


def test_when_the_platform_is_embedded_then_the_gate_decides_and_a_model_can_be_stricter(world):
    assert world.client("viewer").get("/v1/models/demand/policy").json() == {"policy": "gate"}
    assert ask(world, version=1).status_code == 200
    assert (
        world.client("admin").put("/v1/models/demand/policy", json={"policy": "two_person"}).status_code
        == 200
    )
    assert ask(world, version=2).status_code == 202

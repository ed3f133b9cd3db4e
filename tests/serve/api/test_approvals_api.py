from __future__ import annotations

import pytest
from sqlalchemy import null, update

from cluster.database.tables import ClientRow
from quantis.types.accounts import Role
from quantis.types.approvals import AliasChange
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


# One person behind a service account


def machine(world, maker="admin", name="robot"):
    """(id, client): a service account that its maker can act as."""
    account = (
        world.client(maker)
        .post("/v1/clients", json={"name": name, "role": "admin", "scopes": ["models", "read"]})
        .json()
    )
    return account["id"], signed_in_as(world, account)


def signed_in_as(world, account):
    form = {
        "grant_type": "client_credentials",
        "client_id": account["id"],
        "client_secret": account["client_secret"],
    }
    client = world.client()
    token = client.post("/v1/oauth/token", data=form).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def other_version(world):
    return 2 if meaning(world, "canary") == 1 else 1


def approve(world, who, request):
    return world.client(who).post(f"/v1/approvals/{request}/approve")


@pytest.mark.parametrize("what", ["alias", "traffic"])
def test_when_ones_own_service_account_asks_then_one_does_not_approve_and_somebody_else_does(
    strict, problem, what
):
    _, robot = machine(strict)
    path, body = {
        "alias": (f"{ADDRESS}canary", {"version": other_version(strict)}),
        "traffic": ("/v1/models/demand/traffic", {"shares": [{"version": 1, "percent": 10}]}),
    }[what]
    answer = robot.put(path, json=body)
    if what == "traffic" and answer.status_code != 202:
        pytest.skip("the champion takes no share of its own traffic")
    request = answer.json()["id"]
    detail = problem(approve(strict, "admin", request), 403, "forbidden")["detail"]
    assert "'robot'" in detail
    assert "you were shown its secret" in detail
    assert approve(strict, "second", request).json()["state"] == "approved"


def test_when_somebody_renewed_the_secret_then_neither_holder_approves_what_it_asked_for(strict, problem):
    strict.services.accounts.create("default", "boss", PASSWORD, Role.admin)
    account, _ = machine(strict)
    renewed = signed_in_as(strict, strict.client("boss").post(f"/v1/clients/{account}/secret").json())
    request = renewed.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    for holder in ("admin", "boss"):  # the first might have asked before the secret was renewed
        problem(approve(strict, holder, request), 403, "forbidden")
    assert approve(strict, "second", request).json()["state"] == "approved"


def test_when_the_service_account_of_another_asks_then_one_may_approve(strict):
    _, robot = machine(strict)
    request = robot.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    assert approve(strict, "ml_engineer", request).json()["decided_by"] == "ml_engineer"


def test_when_the_service_account_goes_then_what_it_asked_for_goes_with_it(strict, problem):
    account, robot = machine(strict)
    request = robot.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    assert strict.client("admin").delete(f"/v1/clients/{account}").status_code == 204
    problem(approve(strict, "admin", request), 409, "conflict")
    shown = strict.client("viewer").get(f"/v1/approvals/{request}").json()
    assert (shown["state"], shown["decided_by"]) == ("withdrawn", "robot")


def test_when_nobody_can_tell_who_asked_then_nobody_approves(strict, problem):
    """As for a job whose service account was deleted before it ended."""
    change = AliasChange(alias="canary", version=other_version(strict), instead_of=meaning(strict, "canary"))
    request = strict.services.approvals.request("default", "demand", "gone", change).id
    for anybody in ("admin", "ml_engineer", "second"):
        detail = problem(approve(strict, anybody, request), 403, "forbidden")["detail"]
        assert "'gone'" in detail
    refused = strict.client("second").post(f"/v1/approvals/{request}/refuse")
    assert refused.json()["state"] == "refused"


def test_when_the_holder_refuses_what_its_service_account_asked_for_then_it_is_withdrawn(strict):
    _, robot = machine(strict)
    request = robot.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    refused = strict.client("admin").post(f"/v1/approvals/{request}/refuse").json()
    assert refused["state"] == "withdrawn"


def test_when_the_row_of_a_service_account_is_from_before_then_its_maker_counts(strict, problem):
    _, robot = machine(strict)
    with strict.database.write() as session:
        session.execute(update(ClientRow).values(holders=null()))
    request = robot.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    problem(approve(strict, "admin", request), 403, "forbidden")


def test_when_a_key_asks_then_its_owner_does_not_approve(strict, problem):
    made = strict.client("ml_engineer").post("/v1/api-keys", json={"name": "k", "scopes": ["models"]}).json()
    by_key = strict.client()
    by_key.headers["Authorization"] = f"Bearer {made['key']}"
    request = by_key.put(f"{ADDRESS}canary", json={"version": other_version(strict)}).json()["id"]
    problem(approve(strict, "ml_engineer", request), 403, "forbidden")
    assert approve(strict, "admin", request).json()["state"] == "approved"

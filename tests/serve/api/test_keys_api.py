from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from cluster.database.tables import ApiKeyRow
from serve.security import authentication
from tests.serve.api_under_test import PASSWORD


def bearer(world, credential):
    client = world.client()
    client.headers["Authorization"] = f"Bearer {credential}"
    return client


def new_key(world, owner="ml_engineer", **wanted):
    answer = world.client(owner).post("/v1/api-keys", json={"name": "nightly", **wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


def new_client(world, **wanted):
    answer = world.client("admin").post("/v1/clients", json={"name": "etl", **wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


def client_token(world, account, secret=None):
    form = {"grant_type": "client_credentials", "client_id": account["id"],
            "client_secret": secret or account["client_secret"]}  # fmt: skip
    return world.client().post("/v1/oauth/token", data=form)


# API keys


def test_when_a_key_is_made_then_it_is_shown_once_kept_as_a_hash_and_opens_what_its_scopes_say(
    world, problem
):
    made = new_key(world, scopes=["read", "models"])
    key = made["key"]
    assert key.startswith("qk_")
    assert len(key) == 46
    listed = world.client("ml_engineer").get("/v1/api-keys").json()["items"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert "key" not in listed[0]
    assert key.startswith(listed[0]["hint"])
    assert len(listed[0]["hint"]) == 8
    with world.database.read() as session:
        assert key not in str(session.query(ApiKeyRow).one().__dict__)
    mine = bearer(world, key)
    assert mine.get("/v1/users/me").json()["user_name"] == "ml_engineer"
    assert mine.get("/v1/datasets").status_code == 200
    assert mine.put("/v1/models/demand/aliases/challenger", json={"version": 1}).status_code == 200
    body = problem(mine.post("/v1/jobs", json={}), 403, "forbidden")
    assert "needs the scope jobs" in body["detail"]


def test_when_a_key_asks_for_what_only_people_may_do_then_it_is_refused_whatever_its_scopes(world, problem):
    everything = ["read", "forecast", "data", "jobs", "models", "audit"]
    key = bearer(world, new_key(world, "admin", scopes=everything)["key"])
    for method, path in (
        ("POST", "/v1/api-keys"), ("POST", "/v1/users"), ("POST", "/v1/clients"), ("GET", "/v1/users/me/sessions"),
        ("POST", "/v1/users/me/password"), ("PUT", "/v1/models/demand/policy"), ("POST", "/v1/teams"),
    ):  # fmt: skip
        assert "only a person" in problem(key.request(method, path, json={}), 403, "forbidden")["detail"]


def test_when_a_key_s_scope_allows_more_than_its_owner_s_role_then_the_role_decides(world, problem):
    key = bearer(world, new_key(world, "viewer", scopes=["models", "read"])["key"])
    body = problem(key.put("/v1/models/demand/aliases/challenger", json={"version": 1}), 403, "forbidden")
    assert "the role viewer" in body["detail"]


def test_when_a_key_is_revoked_or_has_ended_then_it_opens_nothing_within_a_second(
    world, problem, monkeypatch
):
    made, ending = new_key(world), new_key(world)
    one, two = bearer(world, made["key"]), bearer(world, ending["key"])
    assert one.get("/v1/datasets").status_code == two.get("/v1/datasets").status_code == 200
    world.client("ml_engineer").delete(f"/v1/api-keys/{made['id']}")
    problem(one.get("/v1/datasets"), 401, "unauthenticated")
    with world.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(ApiKeyRow).where(ApiKeyRow.id == ending["id"]).values(expires_at=past))
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    problem(two.get("/v1/datasets"), 401, "unauthenticated")
    shown = {one["id"]: one for one in world.client("ml_engineer").get("/v1/api-keys").json()["items"]}
    assert shown[made["id"]]["revoked_at"]


def test_when_a_key_is_used_then_the_list_says_when(world):
    made = new_key(world)
    assert bearer(world, made["key"]).get("/v1/datasets").status_code == 200
    (listed,) = world.client("ml_engineer").get("/v1/api-keys").json()["items"]
    used = datetime.fromisoformat(listed["used_at"])
    assert abs((datetime.now(UTC) - used).total_seconds()) < 60


def test_when_the_owner_is_disabled_then_the_key_is_worth_nothing(world, problem):
    key = bearer(world, new_key(world)["key"])
    address = f"/v1/users/{world.user_id('ml_engineer')}"
    world.client("admin").patch(address, json={"disabled": True})
    problem(key.get("/v1/datasets"), 401, "unauthenticated")


def test_when_somebody_else_revokes_a_key_then_only_an_admin_can(world, problem):
    made = new_key(world)
    problem(world.client("analyst").delete(f"/v1/api-keys/{made['id']}"), 404, "not_found")
    assert world.client("analyst").get("/v1/api-keys", params={"of": "team"}).json()["items"] == []
    admin = world.client("admin")
    assert [one["owner"] for one in admin.get("/v1/api-keys", params={"of": "team"}).json()["items"]] == [
        "ml_engineer"
    ]
    assert admin.delete(f"/v1/api-keys/{made['id']}").json()["revoked_at"]


@pytest.mark.parametrize(
    "wanted",
    [{"scopes": []}, {"scopes": ["root"]}, {"expires_in": "PT1S"}, {"expires_in": "P400D"}, {"name": "A b"},
     {"expires_in": None}],
)  # fmt: skip
def test_when_the_wish_for_a_key_is_odd_then_there_is_none(world, problem, wanted):
    answer = world.client("viewer").post("/v1/api-keys", json={"name": "nightly", **wanted})
    problem(answer, 422, "invalid_input")
    assert world.client("viewer").get("/v1/api-keys").json()["items"] == []


@pytest.mark.parametrize("key", ["qk_", "qk_x", "qk_" + "A" * 43, "qk_" + "é" * 43, "qk_" + "A" * 7000])
def test_when_a_key_is_made_up_then_it_is_401(world, problem, key):
    header = {"Authorization": f"Bearer {key}".encode()}
    problem(world.client().get("/v1/datasets", headers=header), 401, "unauthenticated")


# Service accounts


def test_when_a_machine_has_an_account_then_its_secret_gives_a_token_without_a_refresh(world):
    account = new_client(world, role="analyst", scopes=["read", "data"])
    answer = client_token(world, account)
    body = answer.json()
    assert (answer.status_code, body["refresh_token"]) == (200, None)
    machine = bearer(world, body["access_token"])
    me = machine.get("/v1/users/me").json()
    assert (me["user_name"], me["role"], me["id"]) == ("etl", "analyst", account["id"])
    made = machine.post("/v1/datasets", json={"name": "sales", "freq": "D"})
    assert (made.status_code, made.json()["created_by"]) == (201, "etl")
    listed = world.client("admin").get("/v1/clients").json()["items"]
    assert [(one["name"], one["created_by"]) for one in listed] == [("etl", "admin")]
    assert "client_secret" not in listed[0]


def test_when_the_secret_is_wrong_or_renewed_or_the_account_disabled_then_there_is_no_token(world, problem):
    account = new_client(world)
    for wrong in ("nonsense", "qs_" + "A" * 43, account["id"]):
        body = problem(client_token(world, account, wrong), 401, "unauthenticated")
        assert body["detail"] == "client id or client secret is wrong"
    problem(client_token(world, {"id": "unknown", "client_secret": "x"}), 401, "unauthenticated")
    admin = world.client("admin")
    renewed = admin.post(f"/v1/clients/{account['id']}/secret").json()
    problem(client_token(world, account), 401, "unauthenticated")
    token = client_token(world, renewed).json()["access_token"]
    machine = bearer(world, token)
    assert machine.get("/v1/datasets").status_code == 200
    admin.patch(f"/v1/clients/{account['id']}", json={"disabled": True})
    problem(machine.get("/v1/datasets"), 401, "unauthenticated")
    problem(client_token(world, renewed), 401, "unauthenticated")
    admin.patch(
        f"/v1/clients/{account['id']}", json={"disabled": False, "role": "viewer", "scopes": ["forecast"]}
    )
    assert "needs the scope read" in problem(machine.get("/v1/datasets"), 403, "forbidden")["detail"]
    assert admin.delete(f"/v1/clients/{account['id']}").status_code == 204
    problem(machine.get("/v1/users/me"), 401, "unauthenticated")


def test_when_names_of_people_and_machines_would_collide_then_the_second_is_refused(world, problem):
    problem(world.client("admin").post("/v1/clients", json={"name": "viewer"}), 409, "conflict")
    new_client(world)
    new = {"user_name": "etl", "password": PASSWORD, "role": "viewer"}
    problem(world.client("admin").post("/v1/users", json=new), 409, "conflict")
    problem(world.client("admin").post("/v1/clients", json={"name": "etl"}), 409, "conflict")


def test_when_a_secret_is_renewed_then_the_tokens_of_the_one_before_end_at_once(world, problem):
    account = new_client(world)
    machine = bearer(world, client_token(world, account).json()["access_token"])
    assert machine.get("/v1/datasets").status_code == 200
    renewed = world.client("admin").post(f"/v1/clients/{account['id']}/secret").json()
    problem(machine.get("/v1/datasets"), 401, "unauthenticated")
    again = bearer(world, client_token(world, renewed).json()["access_token"])
    assert again.get("/v1/datasets").status_code == 200


@pytest.mark.parametrize("second", ["good", "bad", "Basic abc", ""])
@pytest.mark.parametrize("good_first", [True, False])
def test_when_a_request_has_two_authorization_headers_then_neither_counts(world, problem, second, good_first):
    good = f"Bearer {world.token('viewer')}"
    pair = [good, good if second == "good" else second]
    headers = [("Authorization", value) for value in (pair if good_first else pair[::-1])]
    body = problem(world.client().get("/v1/datasets", headers=headers), 401, "unauthenticated")
    assert body["detail"] == "the request has 2 Authorization headers; send exactly one"

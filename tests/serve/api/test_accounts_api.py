from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import update

from cluster.database.tables import RefreshTokenRow, SessionRow
from quantis.errors import Unauthenticated
from serve.security import tokens
from tests.serve.api_under_test import PASSWORD

COOKIE = "__Host-quantis-refresh"


def sign_in(client, name="viewer", password=PASSWORD, **more):
    form = {"grant_type": "password", "username": name, "password": password, **more}
    return client.post("/v1/oauth/token", data=form)


def refresh(client, token=None, **more):
    form = {"grant_type": "refresh_token", **({"refresh_token": token} if token else {}), **more}
    return client.post("/v1/oauth/token", data=form)


def living(world, user):
    """How many refresh tokens of a user could still be used."""
    with world.database.read() as session:
        rows = session.query(RefreshTokenRow).filter_by(user_id=world.user_id(user)).all()
        ended = {row.id for row in session.query(SessionRow).filter(SessionRow.revoked_at.is_not(None))}
        return sum(row.used_at is None and row.family not in ended for row in rows)


# Signing in


def test_when_the_password_is_right_then_the_token_opens_the_api_for_as_long_as_it_says(world):
    client = world.client()
    answer = sign_in(client)
    body = answer.json()
    assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "bearer", 600)
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    claims = tokens.read(body["access_token"], *world.services.token_keys)
    assert claims.subject == world.user_id("viewer")
    assert 590 < claims.expires_at - time.time() <= 600
    me = client.get("/v1/users/me", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert me.json()["user_name"] == "viewer"


@pytest.mark.parametrize(
    ("name", "password"),
    [("viewer", "wrong password"), ("nobody", PASSWORD), ("VIEWER", PASSWORD), ("viewer", PASSWORD + " "),
     ("a\0b", PASSWORD)],
)  # fmt: skip
def test_when_name_or_password_is_wrong_then_the_refusal_does_not_say_which(world, problem, name, password):
    body = problem(sign_in(world.client(), name, password), 401, "unauthenticated")
    assert body["detail"] == "user name or password is wrong"


def test_when_the_account_is_disabled_then_the_refusal_is_the_same(world, problem):
    world.client("admin").patch(f"/v1/users/{world.user_id('viewer')}", json={"disabled": True})
    body = problem(sign_in(world.client()), 401, "unauthenticated")
    assert body["detail"] == "user name or password is wrong"


@pytest.mark.parametrize(
    "form",
    [{}, {"grant_type": "password"}, {"grant_type": "password", "username": "viewer"}, {"grant_type": "implicit"},
     {"grant_type": "password", "username": "viewer", "password": "p" * 301}],
)  # fmt: skip
def test_when_the_form_is_incomplete_or_odd_then_it_is_422(world, problem, form):
    problem(world.client().post("/v1/oauth/token", data=form), 422, "invalid_input")


def test_when_a_name_is_unknown_then_the_answer_takes_about_as_long_as_for_a_wrong_password(world):
    accounts = world.services.accounts

    def seconds(name):
        started = time.perf_counter()
        with pytest.raises(Unauthenticated):
            accounts.authenticate(name, "wrong password")
        return time.perf_counter() - started

    for name in ("viewer", "nobody"):
        seconds(name)
    pairs = [(seconds("viewer"), seconds("nobody")) for _ in range(7)]
    ratio = statistics.median(unknown for _, unknown in pairs) / statistics.median(
        known for known, _ in pairs
    )
    assert 0.4 < ratio < 2.5  # without the dummy hash it is below 0.05


def test_when_signing_in_then_the_outcome_is_counted(world):
    def counted(outcome):
        text = world.client().get("/metrics").text
        return float(text.split(f'quantis_sign_ins_total{{outcome="{outcome}"}} ')[1].split("\n")[0])

    before = counted("success"), counted("refused")
    sign_in(world.client())
    sign_in(world.client(), password="wrong password")
    assert (counted("success"), counted("refused")) == (before[0] + 1, before[1] + 1)


# Refreshing


def test_when_a_refresh_token_is_used_then_it_is_replaced_and_never_works_again(world, problem):
    client = world.client()
    first = sign_in(client).json()["refresh_token"]
    answer = refresh(client, first)
    second = answer.json()["refresh_token"]
    assert answer.status_code == 200
    assert second != first
    assert refresh(client, second).status_code == 200


def test_when_a_used_refresh_token_comes_again_then_its_whole_family_ends(world, problem):
    client = world.client()
    first = sign_in(client).json()["refresh_token"]
    other_session = sign_in(client).json()["refresh_token"]
    second = refresh(client, first).json()["refresh_token"]
    body = problem(refresh(client, first), 401, "unauthenticated")
    assert "used before" in body["detail"]
    problem(refresh(client, second), 401, "unauthenticated")
    assert refresh(client, other_session).status_code == 200


def test_when_two_refresh_at_once_then_never_two_tokens_live(world):
    client = world.client()
    for _ in range(5):
        token, barrier = sign_in(client, "analyst").json()["refresh_token"], Barrier(2)

        def attempt(_, token=token, barrier=barrier):
            barrier.wait()
            return refresh(world.client(), token).status_code

        before = living(world, "analyst") - 1
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, range(2))) == [200, 401]
        assert living(world, "analyst") == before


@pytest.mark.parametrize("token", ["nonsense", "%ED%A0%80", "%FF", "x" * 300, "a%00b"])
def test_when_a_refresh_token_is_unknown_then_it_is_401(world, problem, token):
    answer = world.client().post(
        "/v1/oauth/token",
        content=f"grant_type=refresh_token&refresh_token={token}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    problem(answer, 401, "unauthenticated")


def test_when_a_refresh_token_has_expired_then_it_is_401(world, problem):
    client = world.client()
    token = sign_in(client).json()["refresh_token"]
    with world.database.write() as session:
        row = session.query(RefreshTokenRow).one()
        session.execute(update(RefreshTokenRow).values(expires_at=row.created_at - timedelta(seconds=1)))
    problem(refresh(client, token), 401, "unauthenticated")


def test_when_the_database_is_stolen_then_no_token_or_password_is_in_it(world):
    body = sign_in(world.client()).json()
    world.database.close()
    files = world.settings.data_layout.root.glob("quantis.db*")
    content = b"".join(file.read_bytes() for file in files)
    assert body["refresh_token"].encode() not in content
    assert PASSWORD.encode() not in content
    assert b"$argon2id$" in content


# The browser


def test_when_the_web_client_signs_in_then_the_refresh_token_is_in_a_cookie_that_scripts_cannot_read(world):
    client = world.client()
    answer = sign_in(client, client_id="web")
    assert "refresh_token" not in answer.json() or answer.json()["refresh_token"] is None
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert value.startswith(f"{COOKIE}=")
    assert {one.lower() for one in attributes} == {
        "httponly", "secure", "samesite=strict", "path=/", f"max-age={14 * 86400}",
    }  # fmt: skip
    first = client.cookies[COOKIE]
    again = refresh(client, client_id="web")
    assert again.status_code == 200
    assert client.cookies[COOKIE] != first


def test_when_the_cookie_is_there_but_the_client_is_not_the_web_then_it_is_not_used(world, problem):
    client = world.client()
    sign_in(client, client_id="web")
    problem(refresh(client), 401, "unauthenticated")
    problem(refresh(client, client.cookies[COOKIE] + "x"), 401, "unauthenticated")


def test_when_signing_out_then_the_session_ends_and_the_cookie_is_taken_back(world, problem):
    client = world.client()
    sign_in(client, client_id="web")
    kept = client.cookies[COOKIE]
    answer = client.post("/v1/oauth/revoke", data={"client_id": "web"})
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith(f'{COOKIE}=""')
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert COOKIE not in client.cookies
    problem(refresh(client, kept), 401, "unauthenticated")
    assert client.post("/v1/oauth/revoke", data={"token": "unknown"}).status_code == 204


# Administration


def new_user(client, **changes):
    return client.post(
        "/v1/users", json={"user_name": "ada", "password": PASSWORD, "role": "analyst"} | changes
    )


def test_when_an_admin_makes_a_user_then_that_user_can_sign_in(world):
    made = new_user(world.client("admin"))
    assert made.status_code == 201
    assert made.json()["role"] == "analyst"
    assert "password" not in made.text
    assert sign_in(world.client(), "ada").status_code == 200


def test_when_a_user_name_is_taken_then_it_is_a_conflict(world, problem):
    assert "'admin'" in problem(new_user(world.client("admin"), user_name="admin"), 409, "conflict")["detail"]


@pytest.mark.parametrize(
    "changes",
    [{"user_name": "Ada"}, {"user_name": "ada\n"}, {"user_name": ""}, {"user_name": "a" * 64}, {"role": "root"},
     {"password": "short"}, {"team": "other"}, {"user_name": None}],
)  # fmt: skip
def test_when_a_new_user_is_odd_then_nobody_is_made(world, problem, changes):
    problem(new_user(world.client("admin"), **changes), 422, "invalid_input")
    assert len(world.services.accounts.all("default")) == 4


def test_when_a_user_is_disabled_then_its_sessions_end_and_do_not_come_back(world, problem):
    client, admin = world.client(), world.client("admin")
    token = sign_in(client).json()["refresh_token"]
    address = f"/v1/users/{world.user_id('viewer')}"
    assert admin.patch(address, json={"disabled": True}).json()["disabled"] is True
    problem(refresh(client, token), 401, "unauthenticated")
    admin.patch(address, json={"disabled": False})
    problem(refresh(client, token), 401, "unauthenticated")
    assert sign_in(client).status_code == 200


def test_when_a_password_changes_then_the_old_one_and_all_sessions_end(world, problem):
    client = world.client()
    token = sign_in(client).json()["refresh_token"]
    changed = {"password": "another long password"}
    assert (
        world.client("admin").patch(f"/v1/users/{world.user_id('viewer')}", json=changed).status_code == 200
    )
    problem(refresh(client, token), 401, "unauthenticated")
    problem(sign_in(client), 401, "unauthenticated")
    assert sign_in(client, password="another long password").status_code == 200


@pytest.mark.parametrize(
    "change", [{"disabled": True}, {"role": "viewer"}, {"role": "viewer", "disabled": False}]
)
def test_when_the_last_admin_would_go_then_it_is_a_conflict(world, problem, change):
    client, me = world.client("admin"), f"/v1/users/{world.user_id('admin')}"
    problem(client.patch(me, json=change), 409, "conflict")
    assert client.get("/v1/users/me").json()["role"] == "admin"
    new_user(client, user_name="second", role="admin")
    assert client.patch(me, json=change).status_code == 200


def test_when_an_admin_who_is_disabled_changes_role_then_the_enabled_one_is_no_obstacle(world):
    client = world.client("admin")
    second = new_user(client, user_name="second", role="admin").json()["id"]
    assert client.patch(f"/v1/users/{second}", json={"disabled": True}).status_code == 200
    assert client.patch(f"/v1/users/{second}", json={"role": "viewer"}).json()["role"] == "viewer"


def test_when_the_user_is_unknown_then_it_is_404(client, problem):
    problem(client.patch("/v1/users/nobody", json={"role": "viewer"}), 404, "not_found")

from __future__ import annotations

import base64
import re
import threading
import time

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from cluster.database.tables import UserRow
from cluster.repositories import sessions
from quantis.errors import InvalidInput
from quantis.types.job_specs import FeaturizeSpec
from serve.security import authentication, rate_limits
from tests.serve.api.test_accounts_api import refresh, sign_in
from tests.serve.api_under_test import PASSWORD, reauthenticate


def signed_in(world, name="viewer", **headers):
    """(client, answer): a client with the token of a real sign-in."""
    client = world.client()
    client.headers.update(headers)
    answer = sign_in(client, name).json()
    client.headers["Authorization"] = f"Bearer {answer['access_token']}"
    return client, answer


# Sessions


def test_when_somebody_is_signed_in_twice_then_both_are_listed_and_one_can_end_the_other(world, problem):
    laptop, _ = signed_in(world, **{"User-Agent": "Firefox/140"})
    phone, answer = signed_in(world, **{"User-Agent": "phone"})
    listed = laptop.get("/v1/users/me/sessions").json()["items"]
    assert {one["agent"]: one["current"] for one in listed} == {"Firefox/140": True, "phone": False}
    other = next(one["id"] for one in listed if not one["current"])
    assert laptop.delete(f"/v1/users/me/sessions/{other}").status_code == 204
    problem(phone.get("/v1/users/me"), 401, "unauthenticated")  # the access token, too
    problem(refresh(phone, answer["refresh_token"]), 401, "unauthenticated")
    assert laptop.get("/v1/users/me").status_code == 200
    assert len(laptop.get("/v1/users/me/sessions").json()["items"]) == 1


def test_when_a_session_is_somebody_else_s_then_it_is_not_found(world, problem):
    laptop, _ = signed_in(world)
    (theirs,) = signed_in(world, "analyst")[0].get("/v1/users/me/sessions").json()["items"]
    problem(laptop.delete(f"/v1/users/me/sessions/{theirs['id']}"), 404, "not_found")
    problem(laptop.delete("/v1/users/me/sessions/unknown"), 404, "not_found")


def test_when_all_others_are_ended_then_this_one_stays(world, problem):
    first, _ = signed_in(world)
    second, _ = signed_in(world)
    assert second.delete("/v1/users/me/sessions").status_code == 204
    problem(first.get("/v1/users/me"), 401, "unauthenticated")
    assert second.get("/v1/users/me").status_code == 200


def test_when_a_used_refresh_token_returns_then_the_access_tokens_of_its_session_end_within_a_second(
    world, problem
):
    client, answer = signed_in(world)
    refresh(client, answer["refresh_token"])
    assert client.get("/v1/users/me").status_code == 200
    problem(refresh(world.client(), answer["refresh_token"]), 401, "unauthenticated")
    time.sleep(authentication.PRINCIPAL_SECONDS)
    assert client.get("/v1/users/me").status_code == 401


def test_when_the_own_password_changes_then_other_sessions_end_and_the_wrong_one_changes_nothing(
    world, problem
):
    here, _ = signed_in(world)
    there, _ = signed_in(world)
    change = {"current": "not the password", "new": "another long password"}
    problem(here.post("/v1/users/me/password", json=change), 401, "unauthenticated")
    assert here.post("/v1/users/me/password", json={**change, "current": PASSWORD}).status_code == 204
    problem(there.get("/v1/users/me"), 401, "unauthenticated")
    assert here.get("/v1/users/me").status_code == 200
    problem(sign_in(world.client()), 401, "unauthenticated")
    assert sign_in(world.client(), password="another long password").status_code == 200


def test_when_a_user_is_changed_elsewhere_then_it_takes_effect_within_five_seconds(world, problem):
    """Another replica has changed the database; this one has the principal in its hand."""
    client, _ = signed_in(world, "ml_engineer")
    assert client.get("/v1/users/me").status_code == 200
    with world.database.write() as session:
        session.execute(update(UserRow).where(UserRow.user_name == "ml_engineer").values(role="viewer"))
    time.sleep(authentication.PRINCIPAL_SECONDS)
    assert client.put("/v1/models/demand/aliases/challenger", json={"version": 1}).status_code == 403
    with world.database.write() as session:
        session.execute(update(UserRow).where(UserRow.user_name == "ml_engineer").values(disabled=True))
    time.sleep(authentication.PRINCIPAL_SECONDS)
    assert client.get("/v1/datasets").status_code == 401


def test_when_a_reader_of_a_stream_is_disabled_then_the_stream_ends(world, monkeypatch):
    job = world.services.jobs.request("default", "viewer", FeaturizeSpec(dataset="flights"))
    client, _ = signed_in(world)
    lines, ended, asked, told = [], [], threading.Event(), world.services.jobs.events

    def events(*arguments):
        found = told(*arguments)
        asked.set()
        return found

    def read():
        with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            lines.extend(answer.iter_lines())
        ended.append(time.monotonic())

    monkeypatch.setattr(world.services.jobs, "events", events)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert asked.wait(60)  # the stream has begun
    time.sleep(1.0)
    assert not ended
    with world.database.write() as session:
        session.execute(update(UserRow).where(UserRow.user_name == "viewer").values(disabled=True))
    reader.join(timeout=60)
    assert ended
    assert any("requested" in line for line in lines)


# Throttling


def test_when_passwords_are_guessed_then_it_is_429_from_there_and_the_owner_signs_in_from_elsewhere(
    world, problem
):
    guesser = world.client()
    answers = [sign_in(guesser, password=f"wrong password {n}").status_code for n in range(10)]
    assert answers == [401] * 10
    refused = sign_in(guesser)  # the right one, too, does not come through any more
    body = problem(refused, 429, "too_many_requests")
    assert "too many wrong sign-ins" in body["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 300
    from fastapi.testclient import TestClient

    owner = TestClient(world.app, base_url="https://quantis.test", client=("10.1.2.3", 1))
    assert sign_in(owner).status_code == 200
    assert sign_in(world.client(), "analyst").status_code == 200


def test_when_right_passwords_come_then_they_are_never_throttled(world):
    assert {sign_in(world.client()).status_code for _ in range(25)} == {200}


def test_when_an_unknown_account_is_guessed_then_it_is_throttled_just_the_same(world, problem):
    for _ in range(10):
        problem(sign_in(world.client(), "nobody"), 401, "unauthenticated")
    problem(sign_in(world.client(), "nobody"), 429, "too_many_requests")


# The second factor


@pytest.fixture
def guarded(world):
    """(client, secret) of the viewer, with a second factor that counts."""
    client, _ = signed_in(world)
    reauthenticate(client)
    shown = client.post("/v1/users/me/second-factor").json()
    secret = shown["secret"]
    assert shown["uri"].startswith("otpauth://totp/Quantis:viewer?secret=")
    code = {"code": pyotp.TOTP(secret).now()}
    assert client.put("/v1/users/me/second-factor", json=code).status_code == 204
    forget(world)
    return client, secret


def forget(world):
    """As if half a minute had passed: a code works once."""
    with world.database.write() as session:
        session.execute(update(UserRow).values(totp_step=0))


def test_when_a_second_factor_is_on_then_the_password_alone_says_that_a_code_is_missing(
    world, problem, guarded
):
    _, secret = guarded
    body = problem(sign_in(world.client()), 401, "second_factor_required")
    assert "otp" in body["detail"]
    problem(sign_in(world.client(), password="wrong password"), 401, "unauthenticated")
    right = pyotp.TOTP(secret).now()
    assert sign_in(world.client(), otp=right).status_code == 200
    problem(sign_in(world.client(), otp=right), 401, "unauthenticated")  # it works once
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    problem(sign_in(world.client(), otp=wrong), 401, "unauthenticated")
    me = signed_in_with(world, secret).get("/v1/users/me").json()
    assert me["second_factor"] is True


def signed_in_with(world, secret):
    forget(world)
    client = world.client()
    answer = sign_in(client, otp=pyotp.TOTP(secret).now()).json()
    client.headers["Authorization"] = f"Bearer {answer['access_token']}"
    return client


def test_when_the_factor_was_not_confirmed_then_it_does_not_count(world):
    client, _ = signed_in(world)
    reauthenticate(client)
    assert client.post("/v1/users/me/second-factor").status_code == 201
    assert sign_in(world.client()).status_code == 200


def test_when_it_is_taken_away_then_with_a_code_or_by_an_admin(world, problem, guarded):
    client, secret = guarded
    problem(client.post("/v1/users/me/second-factor"), 409, "conflict")
    reauthenticate(client, otp=pyotp.TOTP(secret).now())
    assert client.delete("/v1/users/me/second-factor").status_code == 204
    assert sign_in(world.client()).status_code == 200
    client.post("/v1/users/me/second-factor")
    address = f"/v1/users/{world.user_id('viewer')}"
    assert (
        world.client("admin").patch(address, json={"second_factor": False}).json()["second_factor"] is False
    )
    problem(client.delete("/v1/users/me/second-factor"), 404, "not_found")
    problem(world.client("admin").patch(address, json={"second_factor": True}), 422, "invalid_input")


def test_when_the_database_is_read_then_the_secret_of_the_factor_is_sealed(world, guarded):
    _, secret = guarded
    with world.database.read() as session:
        kept = session.scalar(select(UserRow.totp).where(UserRow.user_name == "viewer"))
    assert secret.encode() not in kept
    assert base64.b32decode(secret) not in kept


def test_when_the_key_that_sealed_is_gone_then_the_platform_does_not_start(world, guarded):
    world.services.check_secrets()
    world.services.__dict__.pop("second_factors")
    world.services.settings = world.settings.model_copy(update={"encryption_key": None})
    with pytest.raises(InvalidInput, match="there is no encryption key"):
        world.services.check_secrets()


def test_when_codes_are_computed_then_they_are_those_of_rfc_6238():
    key = b"12345678901234567890"
    expected = {
        59: "287082",
        1111111109: "081804",
        1111111111: "050471",
        1234567890: "005924",
        2000000000: "279037",
    }
    totp = pyotp.TOTP(base64.b32encode(key).decode())
    assert {timestamp: totp.at(timestamp) for timestamp in expected} == expected


def test_when_a_second_factor_is_required_then_a_password_alone_opens_nothing_but_its_own_account(
    world, problem
):
    world.settings = world.settings.model_copy(update={"require_second_factor": True})
    client, _ = signed_in(world, "admin")
    reauthenticate(client)
    for method, path in (("GET", "/v1/datasets"), ("GET", "/v1/users"), ("POST", "/v1/api-keys")):
        body = problem(client.request(method, path, json={"name": "key"}), 403, "forbidden")
        assert "second factor" in body["detail"]
    assert client.get("/v1/users/me").status_code == 200
    secret = client.post("/v1/users/me/second-factor").json()["secret"]
    code = pyotp.TOTP(secret).now()
    assert client.put("/v1/users/me/second-factor", json={"code": code}).status_code in (200, 204)
    world.services.authenticator.forget()
    assert client.get("/v1/datasets").status_code == 200


def test_when_a_session_is_short_then_its_cookie_is_no_longer(world):
    world.settings = world.settings.model_copy(update={"session_days": 2})
    form = {"grant_type": "password", "username": "viewer", "password": PASSWORD, "client_id": "web"}
    cookie = world.client().post("/v1/oauth/token", data=form).headers["set-cookie"]
    (seconds,) = map(int, re.findall(r"Max-Age=(\d+)", cookie))
    assert 2 * 86400 - 60 < seconds <= 2 * 86400


@pytest.mark.parametrize(
    "media_type",
    ["application/x-www-form-urlencoded", "Application/X-Www-Form-Urlencoded", "APPLICATION/X-WWW-FORM-URLENCODED",
     " application/x-www-form-urlencoded ; charset=utf-8", "Multipart/Form-Data; boundary=x"],
)  # fmt: skip
def test_when_a_form_is_large_then_it_is_refused_however_its_media_type_is_written(
    world, problem, media_type
):
    body = b"grant_type=password&username=viewer&password=" + b"x" * 20_000
    answer = world.client().post("/v1/oauth/token", content=body, headers={"Content-Type": media_type})
    problem(answer, 413, "too_large")


def test_when_a_session_is_refreshed_without_end_then_it_has_to_wait(world, problem, monkeypatch):
    monkeypatch.setattr(sessions, "REFRESHES", 4)
    _, answer = signed_in(world)
    token = answer["refresh_token"]
    for _ in range(3):
        token = refresh(world.client(), token).json()["refresh_token"]
    refused = refresh(world.client(), token)
    assert "refreshed 4 times within 5 minutes" in problem(refused, 429, "too_many_requests")["detail"]
    assert int(refused.headers["retry-after"]) >= 1


def test_when_others_guess_a_password_from_everywhere_then_the_owner_signs_in_from_where_they_did(
    world, problem, monkeypatch
):
    monkeypatch.setattr(rate_limits, "WRONG_PER_ACCOUNT", 6)
    assert sign_in(world.client()).status_code == 200
    for number in range(8):
        stranger = TestClient(world.app, base_url="https://quantis.test", client=(f"10.1.1.{number}", 1))
        sign_in(stranger, password="a wrong password")
    elsewhere = TestClient(world.app, base_url="https://quantis.test", client=("10.2.2.2", 1))
    problem(sign_in(elsewhere), 429, "too_many_requests")
    assert sign_in(world.client()).status_code == 200
    for _ in range(rate_limits.WRONG_PER_PAIR):  # a familiar address guesses no more than others
        sign_in(world.client(), password="a wrong password")
    problem(sign_in(world.client()), 429, "too_many_requests")

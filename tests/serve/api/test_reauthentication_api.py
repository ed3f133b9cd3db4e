"""Calls that hand out or change credentials ask for the password again: an access token alone is not enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy import update

from cluster.database.tables import SessionRow
from cluster.repositories.sessions import SessionLifetime
from quantis.types.accounts import REAUTHENTICATION_HEADER
from serve.security import rate_limits, tokens
from serve.security.policy import POLICY
from tests.serve.api.test_accounts_api import sign_in
from tests.serve.api.test_sessions_api import forget, guarded, signed_in  # noqa: F401 - a fixture
from tests.serve.api_under_test import PASSWORD, reauthenticate

YEAR = {"name": "nightly", "expires_in": "P365D"}
GUARDED = [key for key, rule in POLICY.items() if rule is not None and rule.reauthenticate]
HAND_OUT = {
    ("POST", "/v1/api-keys"), ("POST", "/v1/clients"), ("POST", "/v1/clients/{client_id}/secret"),
    ("PATCH", "/v1/clients/{client_id}"), ("POST", "/v1/users"), ("PATCH", "/v1/users/{user_id}"),
    ("POST", "/v1/users/me/second-factor"), ("DELETE", "/v1/users/me/second-factor"), ("POST", "/v1/teams"),
}  # fmt: skip


def ask(client, **body):
    return client.post("/v1/users/me/reauthentication", json=body)


def test_when_the_table_is_read_then_every_route_that_hands_out_credentials_asks_again():
    assert set(GUARDED) == HAND_OUT


@pytest.mark.parametrize(("method", "path"), sorted(HAND_OUT))
def test_when_only_the_access_token_was_stolen_then_it_makes_no_credential(world, problem, method, path):
    thief, _ = signed_in(world, "admin")
    address = path.replace("{client_id}", "any").replace("{user_id}", world.user_id("viewer"))
    body = problem(thief.request(method, address, json=YEAR), 403, "reauthentication_required")
    assert "/v1/users/me/reauthentication" in body["detail"]
    for value in ("", "x", thief.headers["Authorization"].removeprefix("Bearer ")):
        header = {REAUTHENTICATION_HEADER: value}
        problem(thief.request(method, address, json=YEAR, headers=header), 403, "reauthentication_required")


def test_when_the_password_is_given_again_then_credentials_are_made_for_a_few_minutes(world, problem):
    client, _ = signed_in(world)
    reauthenticate(client)
    assert client.post("/v1/api-keys", json=YEAR).status_code == 201
    assert client.post("/v1/users/me/second-factor").status_code == 201
    over = tokens.issue(
        world.user_id("viewer"), world.services.token_keys[0], -10, audience="quantis-reauthentication"
    )
    client.headers[REAUTHENTICATION_HEADER] = over
    problem(client.post("/v1/api-keys", json=YEAR), 403, "reauthentication_required")


def test_when_a_reauthentication_is_of_another_session_or_person_then_it_does_not_count(world, problem):
    here, _ = signed_in(world)
    there, _ = signed_in(world)
    other, _ = signed_in(world, "admin")
    reauthenticate(here)
    for client in (there, other):
        header = {REAUTHENTICATION_HEADER: here.headers[REAUTHENTICATION_HEADER]}
        problem(client.post("/v1/api-keys", json=YEAR, headers=header), 403, "reauthentication_required")
    twice = [(REAUTHENTICATION_HEADER, header[REAUTHENTICATION_HEADER])] * 2
    twice.append(("Authorization", here.headers["Authorization"]))
    problem(world.client().post("/v1/api-keys", json=YEAR, headers=twice), 403, "reauthentication_required")


def test_when_it_is_sent_as_an_access_token_then_it_opens_nothing(world, problem):
    client, _ = signed_in(world)
    reauthenticate(client)
    client.headers["Authorization"] = f"Bearer {client.headers[REAUTHENTICATION_HEADER]}"
    problem(client.get("/v1/users/me"), 401, "unauthenticated")


def test_when_the_password_is_wrong_then_it_counts_as_a_wrong_sign_in(world, problem):
    client, _ = signed_in(world)
    problem(ask(client), 422, "invalid_input")
    for _ in range(rate_limits.WRONG_PER_PAIR - 1):
        problem(ask(client, password="wrong password"), 403, "reauthentication_required")
    problem(sign_in(world.client(), password="wrong password"), 401, "unauthenticated")
    problem(ask(client, password=PASSWORD), 429, "too_many_requests")
    problem(sign_in(world.client()), 429, "too_many_requests")


def test_when_a_second_factor_is_on_then_its_code_is_asked_for_too(world, problem, guarded):  # noqa: F811
    client, secret = guarded
    del client.headers[REAUTHENTICATION_HEADER]
    problem(ask(client, password=PASSWORD), 401, "second_factor_required")
    right = pyotp.TOTP(secret).now()
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    problem(ask(client, password=PASSWORD, otp=wrong), 403, "reauthentication_required")
    reauthenticate(client, otp=right)
    problem(ask(client, password=PASSWORD, otp=right), 403, "reauthentication_required")  # it works once
    assert client.post("/v1/api-keys", json=YEAR).status_code == 201


def test_when_a_second_factor_is_on_then_a_new_password_needs_its_code(world, problem, guarded):  # noqa: F811
    client, secret = guarded
    change = {"current": PASSWORD, "new": "another long password"}
    problem(client.post("/v1/users/me/password", json=change), 401, "second_factor_required")
    assert sign_in(world.client(), otp=pyotp.TOTP(secret).now()).status_code == 200  # the old one still holds
    forget(world)
    change["otp"] = pyotp.TOTP(secret).now()
    assert client.post("/v1/users/me/password", json=change).status_code == 204


def test_when_a_password_is_reset_then_sessions_and_keys_end_and_a_change_of_ones_own_leaves_the_keys(
    world, problem
):
    client, answer = signed_in(world)
    reauthenticate(client)
    key = client.post("/v1/api-keys", json=YEAR).json()["key"]
    by_key = world.client()
    by_key.headers["Authorization"] = f"Bearer {key}"
    change = {"current": PASSWORD, "new": "another long password"}
    assert client.post("/v1/users/me/password", json=change).status_code == 204
    assert by_key.get("/v1/datasets").status_code == 200
    address = f"/v1/users/{world.user_id('viewer')}"
    assert world.client("admin").patch(address, json={"password": PASSWORD}).status_code == 200
    problem(by_key.get("/v1/datasets"), 401, "unauthenticated")
    problem(client.get("/v1/datasets"), 401, "unauthenticated")
    form = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    problem(world.client().post("/v1/oauth/token", data=form), 401, "unauthenticated")


def test_when_somebody_signs_in_at_a_provider_then_a_recent_sign_in_there_counts(world, problem):
    user = world.services.accounts.find_or_create_external("https://issuer", "1", "eve", "default", "admin")
    session = world.services.sessions.start(user, SessionLifetime()).session_id
    client = world.client()
    token = tokens.issue(user.id, world.services.token_keys[0], 600, session)
    client.headers["Authorization"] = f"Bearer {token}"
    problem(client.post("/v1/api-keys", json=YEAR), 403, "reauthentication_required")
    client.headers[REAUTHENTICATION_HEADER] = ask(client).json()["token"]
    assert client.post("/v1/api-keys", json=YEAR).status_code == 201
    with world.database.write() as transaction:
        long_ago = datetime.now(UTC) - timedelta(minutes=6)
        transaction.execute(update(SessionRow).where(SessionRow.id == session).values(created_at=long_ago))
    body = problem(ask(client, password=PASSWORD), 403, "reauthentication_required")
    assert "identity provider" in body["detail"]

"""Sign-in at an identity provider that runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from cluster.local.processes import free_ports
from cluster.settings import Settings
from quantis.errors import InvalidInput, Unavailable
from serve.api.oauth import COOKIE, OIDC_COOKIE
from serve.security.oidc import OidcProvider
from tests.serve.issuer import CLIENT_ID, CLIENT_SECRET

ROOT = Path(__file__).parents[3]
HOME = "https://quantis.test"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "tests.serve.issuer", str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/.well-known/openid-configuration")
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def federated(world, issuer):
    """The platform with that provider; nothing is wrong with the next token."""
    world.settings = world.settings.model_copy(
        update={
            "oidc_issuer": issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": SecretStr(CLIENT_SECRET),
            "oidc_role": "analyst",
            "public_url": HOME,
        }
    )
    httpx.post(f"{issuer}/next", json={})
    return world


def begin(client):
    answer = client.get("/v1/oauth/oidc/start", follow_redirects=False)
    assert answer.status_code == 302
    return answer


def come_back(client, asked, issuer):
    """What the browser brings back from the provider."""
    there = httpx.get(asked.headers["location"], follow_redirects=False)
    assert there.status_code == 302, there.text
    back = urlsplit(there.headers["location"])
    assert f"{back.scheme}://{back.netloc}" == HOME
    return client.get(f"{back.path}?{back.query}", follow_redirects=False)


def test_when_somebody_signs_in_at_the_provider_then_a_session_begins_and_the_account_is_made_once(
    federated, issuer
):
    client = federated.client()
    assert client.get("/v1/setup").json() == {"open": False, "oidc": True}
    asked = begin(client)
    query = parse_qs(urlsplit(asked.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    cookie = asked.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "secure", "samesite=lax", "path=/", "__host-"))
    answer = come_back(client, asked, issuer)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    assert COOKIE in client.cookies
    assert OIDC_COOKIE not in client.cookies
    form = {"grant_type": "refresh_token", "client_id": "web"}
    token = client.post("/v1/oauth/token", data=form).json()["access_token"]
    me = client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert (me["user_name"], me["role"], me["external"], me["team"]) == ("ann", "analyst", True, "default")
    again = federated.client()
    assert come_back(again, begin(again), issuer).status_code == 302
    assert [user.user_name for user in federated.services.accounts.all("default")].count("ann") == 1
    trail = federated.client("admin").get("/v1/audit-events", params={"action": "oidc"}).json()["items"]
    assert [(one["actor"], one["outcome"]) for one in trail] == [("ann", "done")] * 2


def test_when_the_provider_calls_somebody_like_a_user_of_ours_then_it_is_another_account(federated, issuer):
    httpx.post(f"{issuer}/next", json={"user": {"sub": "evil", "preferred_username": "admin"}})
    client = federated.client()
    come_back(client, begin(client), issuer)
    made = [user for user in federated.services.accounts.all("default") if user.external]
    assert [(user.role, user.user_name.startswith("admin-")) for user in made] == [("analyst", True)]


def test_when_the_account_is_disabled_then_the_provider_does_not_open_it(federated, issuer, problem):
    client = federated.client()
    come_back(client, begin(client), issuer)
    ann = next(user for user in federated.services.accounts.all("default") if user.external)
    federated.client("admin").patch(f"/v1/users/{ann.id}", json={"disabled": True})
    again = federated.client()
    problem(come_back(again, begin(again), issuer), 401, "unauthenticated")
    assert COOKIE not in again.cookies


def test_when_an_external_user_tries_a_password_then_there_is_none(federated, issuer, problem):
    client = federated.client()
    come_back(client, begin(client), issuer)
    for password in ("", "x", "no password is this one"):
        form = {"grant_type": "password", "username": "ann", "password": password or " "}
        problem(federated.client().post("/v1/oauth/token", data=form), 401, "unauthenticated")


@pytest.mark.parametrize("key", ["RS256", "ES256"])
def test_when_the_provider_rotates_its_keys_then_the_new_one_is_found(federated, issuer, monkeypatch, key):
    monkeypatch.setattr("serve.security.oidc.NEW_KEYS_SECONDS", 0.0)
    client = federated.client()
    come_back(client, begin(client), issuer)
    httpx.post(f"{issuer}/next", json={"rotate": key})
    again = federated.client()
    assert come_back(again, begin(again), issuer).status_code == 302


NOW = int(time.time())
WRONG = {
    "another audience": {"claims": {"aud": "somebody-else"}},
    "two audiences": {"claims": {"aud": [CLIENT_ID, "somebody-else"]}},
    "another issuer": {"claims": {"iss": "http://127.0.0.1:1"}},
    "another nonce": {"claims": {"nonce": "x" * 43}},
    "no nonce": {"claims": {"nonce": "absent"}},
    "ended": {"claims": {"exp": NOW - 600}},
    "no end": {"claims": {"exp": "absent"}},
    "end as text": {"claims": {"exp": "9999999999"}},
    "from the future": {"claims": {"iat": NOW + 6000}},
    "no subject": {"claims": {"sub": "absent"}},
    "subject a number": {"claims": {"sub": 7}},
    "alg none": {"forge": "none"},
    "the public key as a secret": {"forge": "HS256"},
    "unknown key": {"header": {"kid": "unknown"}},
    "key in the header": {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    "critical extension": {"header": {"crit": ["exp"]}},
}


@pytest.mark.parametrize("name", WRONG)
def test_when_the_identity_token_is_wrong_then_nobody_is_signed_in(federated, issuer, problem, name):
    client = federated.client()
    asked = begin(client)
    httpx.post(f"{issuer}/next", json=WRONG[name])
    problem(come_back(client, asked, issuer), 401, "unauthenticated")
    assert COOKIE not in client.cookies
    assert not [user for user in federated.services.accounts.all("default") if user.external]


def test_when_the_answer_belongs_to_another_browser_or_comes_twice_then_it_is_refused(
    federated, issuer, problem
):
    client, victim = federated.client(), federated.client()
    asked = begin(client)
    back = urlsplit(httpx.get(asked.headers["location"], follow_redirects=False).headers["location"])
    address = f"{back.path}?{back.query}"
    problem(victim.get(address, follow_redirects=False), 401, "unauthenticated")
    begin(victim)
    problem(victim.get(address, follow_redirects=False), 401, "unauthenticated")
    kept = client.cookies[OIDC_COOKIE]
    assert client.get(address, follow_redirects=False).status_code == 302
    client.cookies.set(OIDC_COOKIE, kept, domain="quantis.test")
    problem(client.get(address, follow_redirects=False), 401, "unauthenticated")


def test_when_the_provider_is_gone_or_another_then_it_says_so(federated, issuer, problem, monkeypatch):
    httpx.post(f"{issuer}/next", json={"issuer": "http://127.0.0.1:1"})
    problem(federated.client().get("/v1/oauth/oidc/start", follow_redirects=False), 503, "unavailable")
    (port,) = free_ports(1)
    with pytest.raises(Unavailable):
        OidcProvider(f"http://127.0.0.1:{port}", "x", None, HOME).begin()


@pytest.mark.parametrize(
    "wrong", [{"oidc_issuer": "http://elsewhere.test"}, {"public_url": None}, {"oidc_client_id": ""}]
)
def test_when_the_settings_are_not_complete_or_not_https_then_the_platform_does_not_start(tmp_path, wrong):
    right: dict[str, Any] = {"oidc_issuer": "https://issuer.test", "oidc_client_id": "x", "public_url": HOME}
    with pytest.raises(InvalidInput):
        OidcProvider.from_settings(Settings(data_dir=tmp_path, **(right | wrong)))
    assert OidcProvider.from_settings(Settings(data_dir=tmp_path, **right))
    assert OidcProvider.from_settings(Settings(data_dir=tmp_path)) is None


def test_when_the_password_is_needed_again_then_the_provider_is_told_to_ask_for_it(federated, issuer):
    client = federated.client()
    asked = client.get("/v1/oauth/oidc/start?prompt=login", follow_redirects=False)
    assert parse_qs(urlsplit(asked.headers["location"]).query)["prompt"] == ["login"]
    assert "prompt" not in parse_qs(urlsplit(begin(client).headers["location"]).query)
    assert client.get("/v1/oauth/oidc/start?prompt=none", follow_redirects=False).status_code == 422

"""Signing in, staying signed in, and where the login is kept."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from quantis.client import Client
from quantis.errors import InvalidInput, Unauthenticated, Unavailable
from quantis.testing import FakeApi, serving
from quantis.types.accounts import Role

USER, PASSWORD = "ann", "correct horse battery"
URL = "http://test"


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.add_user(USER, PASSWORD, Role.ml_engineer)
    return api


def grants(api: FakeApi) -> list[str]:
    """The kinds of grant asked for so far."""
    asked = [r.content.decode() for r in api.requests if r.url.path == "/v1/oauth/token"]
    return ["refresh" if "grant_type=refresh_token" in form else "password" for form in asked]


def test_when_the_access_token_ends_then_it_is_renewed_once_and_the_call_goes_on(api: FakeApi) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD)
        api.expire_tokens()
        assert client.me().user_name == USER
    assert grants(api) == ["password", "refresh"]


def test_when_the_token_is_known_to_have_ended_then_it_is_renewed_before_the_call(api: FakeApi) -> None:
    api.accounts.token_seconds = 1
    with Client(URL, user=USER, password=PASSWORD, transport=api.transport()) as client:
        client.me()
        client.me()
    assert grants(api) == ["password", "refresh"]
    assert [r.url.path for r in api.requests].count("/v1/users/me") == 2


def test_when_the_refresh_token_is_void_too_then_the_password_given_signs_in_again(api: FakeApi) -> None:
    with Client(URL, user=USER, password=PASSWORD, transport=api.transport()) as client:
        client.me()
        api.expire_tokens()
        api.accounts.refresh.clear()
        assert client.me().user_name == USER
    assert grants(api) == ["password", "refresh", "password"]


def test_when_a_fixed_token_is_refused_then_nothing_is_renewed(api: FakeApi) -> None:
    with Client(URL, "not a token", transport=api.transport()) as client, pytest.raises(Unauthenticated):
        client.me()
    assert grants(api) == []
    assert len(api.requests) == 1


def test_when_signed_in_then_a_wrong_password_does_not_sign_out(api: FakeApi) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD)
        with pytest.raises(Unauthenticated):
            client.login(USER, "wrong wrong wrong")
        assert client.me().user_name == USER


def test_when_a_login_is_saved_then_only_its_owner_can_read_it_and_it_holds_no_password(
    api: FakeApi, private_settings: Path
) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)
    path = private_settings / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(private_settings.stat().st_mode) == 0o700
    assert PASSWORD not in path.read_text()
    with Client(URL, transport=api.transport()) as later:
        assert later.me().user_name == USER
    with Client("http://other", transport=api.transport()) as other, pytest.raises(Unauthenticated):
        other.me()


def test_when_a_saved_login_is_renewed_then_the_file_holds_the_new_one(
    api: FakeApi, private_settings: Path
) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)
        before = json.loads((private_settings / "credentials.json").read_text())["servers"][URL]
    api.expire_tokens()
    with Client(URL, transport=api.transport()) as client:
        client.me()
    after = json.loads((private_settings / "credentials.json").read_text())["servers"][URL]
    assert after["refresh_token"] != before["refresh_token"]
    with Client(URL, transport=api.transport()) as client:
        client.me()
    assert grants(api) == ["password", "refresh"]


def test_when_many_clients_meet_an_ended_token_then_the_refresh_token_is_used_once(api: FakeApi) -> None:
    """A refresh token that is used twice would sign everybody out."""
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)
    clients = [Client(URL, transport=api.transport()) for _ in range(8)]
    api.expire_tokens()
    failed: list[Exception] = []

    def ask(client: Client) -> None:
        try:
            client.me()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert grants(api) == ["password", "refresh"]


def test_when_two_processes_meet_an_ended_token_then_both_go_on(api: FakeApi, private_settings: Path) -> None:
    with serving(api) as url:
        with Client(url) as client:
            client.login(USER, PASSWORD, save=True)
        api.expire_tokens()
        code = f"from quantis import Client; print(Client({url!r}).me().user_name)"
        started = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=60)[0].strip() for process in started]
    assert said == [USER, USER]
    assert grants(api) == ["password", "refresh"]


def test_when_signed_out_then_the_login_is_void_here_and_there(api: FakeApi, private_settings: Path) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)
        client.logout()
    assert api.accounts.refresh == {}
    assert URL not in json.loads((private_settings / "credentials.json").read_text())["servers"]
    with Client(URL, transport=api.transport()) as client, pytest.raises(Unauthenticated):
        client.me()


def test_when_the_server_is_gone_then_signing_out_still_forgets_the_login(
    api: FakeApi, private_settings: Path, pauses: list[float]
) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)

    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with Client(URL, transport=httpx.MockTransport(gone)) as client, pytest.raises(Unavailable):
        client.logout()
    assert URL not in json.loads((private_settings / "credentials.json").read_text())["servers"]


def test_when_the_credentials_file_is_damaged_then_the_remedy_is_named(private_settings: Path) -> None:
    private_settings.mkdir()
    (private_settings / "credentials.json").write_text("{half")
    with pytest.raises(InvalidInput, match="quantis login"):
        Client(URL)


def test_when_a_token_is_in_the_environment_then_it_goes_before_the_file(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(URL, transport=api.transport()) as client:
        client.login(USER, PASSWORD, save=True)
    monkeypatch.setenv("QUANTIS_TOKEN", "from the environment")
    with Client(URL, transport=api.transport()) as client, pytest.raises(Unauthenticated):
        client.me()
    assert api.requests[-1].headers["Authorization"] == "Bearer from the environment"


def test_when_the_address_is_in_the_environment_then_it_is_read_at_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Client().url == "http://127.0.0.1:8000"
    monkeypatch.setenv("QUANTIS_URL", "https://forecasts.example/base/")
    assert Client().url == "https://forecasts.example/base"
    monkeypatch.setenv("QUANTIS_URL", "forecasts.example")
    with pytest.raises(InvalidInput, match="http://"):
        Client()


@pytest.mark.parametrize("url", ["http:///v1", "http://a:notaport"])
def test_when_an_address_is_no_url_then_invalid_input(url: str) -> None:
    with pytest.raises(InvalidInput, match="not a URL"):
        Client(url)

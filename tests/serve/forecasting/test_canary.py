"""A secret that goes through the whole API is nowhere but where secrets are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from fastapi.testclient import TestClient

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from cluster.settings import Settings
from monitoring import logs
from quantis.types.accounts import REAUTHENTICATION_HEADER
from serve.api.application import create_app
from serve.services import Services
from tests.serve.api_under_test import Failing, reauthenticate

PASSWORD, NEXT, WRONG = "canary-password-4711", "canary-next-password-4712", "canary-wrong-password-4713"
TOKENS = ("access_token", "refresh_token")
MISPLACED = "canary-misplaced-4714"
CSV = b"unique_id,ds,y\n" + b"".join(b"a,2024-01-%02d,%d\n" % (day, day) for day in range(1, 31))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A platform of its own whose log takes everything."""
    settings = Settings(
        data_dir=tmp_path / "data", web_dist=tmp_path / "none", webhook_hosts="hooks.example.org"
    )
    settings.data_layout.prepare()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client, who is not part of the platform
    before = set(logging.getLogger().handlers)
    logs.configure("api", file=settings.data_layout.logs / "api.log", level="DEBUG")
    yield settings
    for handler in set(logging.getLogger().handlers) - before:
        logging.getLogger().removeHandler(handler)
        handler.close()


def found(secrets: list[str], folder: Path, *, beside: Path) -> list[str]:
    """Where any of the secrets stands: in a name or the bytes of a file outside of `beside`."""
    places = []
    for path in folder.rglob("*"):
        if beside in (path, *path.parents):
            continue
        text = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        places += [f"{path.name}: {secret[:12]}..." for secret in secrets if secret.encode() in text]
    return places


def test_when_secrets_go_through_the_api_then_they_are_in_no_file_log_or_metric(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    database = Database(settings.sql_url)
    database.migrate()
    known = [
        settings.make_secret("setup-secret"),
        settings.make_secret("jwt-secret"),
        settings.make_secret("encryption-key"),
        PASSWORD,
        NEXT,
        WRONG,
    ]
    app = create_app(Services(settings, database, Failing(RuntimeError("broken")), FakeJobs()))
    client = TestClient(app, base_url="https://quantis.test", raise_server_exceptions=False)
    known += _use(client, known[0])
    metrics = client.get("/metrics").text
    logging.getLogger("quantis.api").warning("signed in", extra={"password": PASSWORD})
    database.close()
    written = (settings.data_layout.logs / "api.log").read_text()
    assert "request" in written or written.count("\n") > 3
    said = "".join(capfd.readouterr())
    assert found([*known, MISPLACED], settings.data_layout.root, beside=settings.data_layout.secrets) == []
    assert [secret for secret in (*known, MISPLACED) if secret in metrics or secret in said] == []


def _use(client: TestClient, setup: str) -> list[str]:
    """Every route that takes a secret, rightly and wrongly; the tokens that came back."""
    first = {"secret": setup, "user_name": "root", "password": PASSWORD}
    assert client.post("/v1/setup", json={**first, "secret": [MISPLACED]}).status_code == 422
    assert client.post("/v1/setup", json={**first, MISPLACED: MISPLACED}).status_code == 422
    assert client.post("/v1/setup", json={**first, "secret": WRONG}).status_code == 403
    assert client.post("/v1/setup", json=first).status_code == 201
    sign_in = {"grant_type": "password", "username": "root"}
    assert client.post("/v1/oauth/token", data={**sign_in, "password": WRONG}).status_code == 401
    assert (
        client.post("/v1/oauth/token", data={**sign_in, "username": MISPLACED, "password": WRONG}).status_code
        == 401
    )
    answer = client.post("/v1/oauth/token", data={**sign_in, "password": PASSWORD}).json()
    access, refresh = answer["access_token"], answer["refresh_token"]
    rotated = client.post(
        "/v1/oauth/token", data={"grant_type": "refresh_token", "refresh_token": refresh}
    ).json()
    assert client.get("/v1/users/me", headers={"Authorization": f"Bearer {MISPLACED}"}).status_code == 401
    client.headers["Authorization"] = f"Bearer {access}"
    user = client.get("/v1/users/me", params={"token": access}).json()
    reauthenticate(client, PASSWORD)
    reauthentication = client.headers[REAUTHENTICATION_HEADER]
    made = client.post("/v1/users", json={"user_name": "ann", "password": NEXT, "role": "viewer"})
    assert made.status_code == 201
    assert client.patch(f"/v1/users/{user['id']}", json={"password": NEXT}).status_code == 200
    again = client.post("/v1/oauth/token", data={**sign_in, "password": NEXT}).json()
    client.headers["Authorization"] = f"Bearer {again['access_token']}"
    reauthenticate(client, NEXT)
    machines = _use_machines(client)
    assert client.post("/v1/datasets", json={"name": "sales", "freq": "D"}).status_code == 201
    upload = client.post("/v1/datasets/sales/versions", content=CSV, headers={"Content-Type": "text/csv"})
    assert upload.status_code == 201, upload.text
    assert (
        client.post("/v1/models/demand/forecasts", json={"series": [{"unique_id": "a"}]}).status_code == 500
    )
    assert client.post("/v1/oauth/revoke", data={"token": again["refresh_token"]}).status_code == 204
    return [
        access,
        refresh,
        reauthentication,
        *machines,
        *(one[name] for one in (rotated, again) for name in TOKENS),
    ]


def _use_machines(client: TestClient) -> list[str]:
    """Keys, service accounts and the second factor: made, used, misused."""
    key = client.post("/v1/api-keys", json={"name": "canary"}).json()["key"]
    assert client.get("/v1/usage", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert client.get(f"/v1/api-keys/{key}").status_code == 405
    assert client.delete(f"/v1/api-keys/{key}").status_code == 404  # its id was meant
    account = client.post("/v1/clients", json={"name": "machine"}).json()
    grant = {"grant_type": "client_credentials", "client_id": account["id"]}
    answer = client.post("/v1/oauth/token", data={**grant, "client_secret": account["client_secret"]}).json()
    assert client.post("/v1/oauth/token", data={**grant, "client_secret": MISPLACED}).status_code == 401
    assert (
        client.post(
            "/v1/oauth/token", data={**grant, "client_id": MISPLACED, "client_secret": "x"}
        ).status_code
        == 401
    )
    renewed = client.post(f"/v1/clients/{account['id']}/secret").json()
    factor = client.post("/v1/users/me/second-factor").json()["secret"]
    right = {"code": pyotp.TOTP(factor).now()}
    assert client.put("/v1/users/me/second-factor", json={"code": MISPLACED}).status_code in (401, 422)
    assert client.put("/v1/users/me/second-factor", json=right).status_code == 204
    team = {"name": "rivals", "admin_name": "boss", "admin_password": NEXT}
    assert client.post("/v1/teams", json=team).status_code == 201
    assert client.post("/v1/users/me/password", json={"current": WRONG, "new": NEXT}).status_code == 401
    return [
        *_use_channels(client),
        key,
        account["client_secret"],
        renewed["client_secret"],
        answer["access_token"],
        factor,
    ]


def _use_channels(client: TestClient) -> list[str]:
    """Use the routes that take addresses and secrets of channels; return these."""
    token, secret = "canary-token-in-an-address-4715", "canary-signing-secret-4716"
    hook = {"kind": "webhook", "name": "pager", "url": f"https://hooks.example.org/{token}", "secret": secret}
    made = client.post("/v1/alert-channels", json=hook)
    assert made.status_code == 201, made.text
    assert (
        client.post("/v1/alert-channels", json={**hook, "url": f"https://evil.org/{token}"}).status_code
        == 403
    )
    assert client.post("/v1/alert-channels", json={**hook, "url": f"ftp:{token}"}).status_code == 422
    path = f"/v1/alert-channels/{made.json()['id']}"
    assert client.patch(path, json={"url": hook["url"], "secret": secret}).status_code == 200
    assert client.post(f"{path}/test").status_code == 202
    assert not any(part in client.get("/v1/alert-channels").text for part in (token, secret))
    return [token, secret]


def test_when_a_secret_stands_in_a_file_then_the_search_finds_it(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "jwt-secret").write_text(PASSWORD)
    assert found([PASSWORD], tmp_path, beside=tmp_path / "secrets") == []
    (tmp_path / "quantis.db").write_bytes(b"\0\0" + PASSWORD.encode() + b"\0")
    assert len(found([PASSWORD], tmp_path, beside=tmp_path / "secrets")) == 1

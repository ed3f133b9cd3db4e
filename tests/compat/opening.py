"""A data folder with the API on top of it, as the platform opens one, less Ray; and questions to it."""

from __future__ import annotations

import base64
import hmac
import json
import struct
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from cluster.database.dumps import relocate_artifacts
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.model_ops.open_registry import open_registry
from cluster.ray.submission import FakeJobs
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings
from serve.api.application import create_app
from serve.forecasting.engine import Engine
from serve.services import Services
from tests.serve.api_under_test import InThisProcess

FIXTURES = Path(__file__).with_name("fixtures")
ARCHIVE, EXPECTED = FIXTURES / "data_folder.tar.xz", FIXTURES / "expected.json"
ROOT = Path("/srv/quantis/data")
"""The folder's place when it was packed: the registry holds absolute paths."""
TEAM = "default"
Question = dict[str, Any]


@dataclass
class Opened:
    """An open data folder. Everybody signs in once, with what `expected.json` says of them."""

    services: Services
    client: TestClient
    people: dict[str, dict[str, str]]
    _tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, question: Question) -> dict[str, Any]:
        """The status and the body of an answer, less what differs from one time to the next."""
        response = self.client.request(
            question["method"],
            question["path"],
            json=question.get("body"),
            headers={"Authorization": f"Bearer {self.token(question['as'])}", **question.get("headers", {})},
        )
        return {
            "status": response.status_code,
            "body": without(_body(response), {"request_id", *question.get("leave_out", ())}),
        }

    def token(self, who: str) -> str:
        """An API key as it is, or an access token for a password, with a second factor, or a client secret."""
        secrets = self.people[who]
        if "key" in secrets:
            return secrets["key"]
        if who not in self._tokens:
            form = {name: value for name, value in secrets.items() if name != "totp"}
            if "totp" in secrets:
                form["otp"] = code_of(secrets["totp"])
            answer = self.client.post("/v1/oauth/token", data=form)
            assert answer.status_code == 200, answer.text
            self._tokens[who] = answer.json()["access_token"]
        return self._tokens[who]

    def sign_out(self) -> None:
        """Everybody signs in anew when they ask next."""
        self._tokens.clear()


@contextmanager
def opened(folder: Path, people: dict[str, dict[str, str]]) -> Iterator[Opened]:
    """Migrate the folder's databases as a start of the platform does, and serve it in this process."""
    settings = Settings(data_dir=folder)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    registry = open_registry(settings, TEAM)
    vintages = Vintages(database, settings.data_layout.waiting)
    engine = Engine(lambda team: registry, Catalogue(database, settings.data_layout), vintages)
    services = Services(settings, database, InThisProcess(engine), FakeJobs(), registries={TEAM: registry})
    services.check_secrets()
    app = create_app(services)
    with TestClient(app, base_url="https://quantis.test", raise_server_exceptions=False) as client:
        yield Opened(services, client, people)
    database.close()


def unpacked(archive: Path, folder: Path) -> Path:
    """The packed folder at a new place: models lie elsewhere now, which is said as `quantis restore` does."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    assert relocate_artifacts(folder / "mlflow.db", ROOT / "artifacts", folder / "artifacts")
    return folder


def without(body: Any, names: set[str]) -> Any:
    """The body less the fields of these names, however deep they lie."""
    if isinstance(body, dict):
        return {name: without(value, names) for name, value in body.items() if name not in names}
    return [without(value, names) for value in body] if isinstance(body, list) else body


def code_of(secret: str) -> str:
    """Return the code of an authenticator app now (RFC 6238)."""
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    number = struct.unpack(">I", mac[mac[-1] & 15 :][:4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def _body(response: httpx.Response) -> Any:
    """JSON, or the data of every event of a stream."""
    if response.headers["content-type"].startswith("text/event-stream"):
        lines = response.text.splitlines()
        return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return response.json()

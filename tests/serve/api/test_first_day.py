"""The first day on a cluster: an empty volume, secrets that nobody may write, a user that is nobody special."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.api_under_test import PASSWORD

ROOT = Path(__file__).resolve().parents[3]
USER = "10001"
SECRETS = {
    "jwt-secret": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978",
    "setup-secret": "5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2",
    "encryption-key": "a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d",
}
FIRST_DAY = """
import json, os, sys
from fastapi.testclient import TestClient
from cluster.database.engine import Database
from cluster.migrate import main as migrate
from cluster.ray.submission import FakeJobs
from cluster.settings import Settings
from serve.api.application import create_app
from serve.services import Services

settings, answers = Settings(), {"uid": os.getuid()}
if sys.argv[1] == "migrated":
    migrate()
else:  # by a release that made no folders
    Database(settings.sql_url).migrate()
services = Services(settings, Database(settings.sql_url), None, FakeJobs())
services.check_secrets()
client = TestClient(create_app(services), raise_server_exceptions=False)

def tell(name, response):
    answers[name] = [response.status_code, response.json() if response.content else None]
    return answers[name][1]

secret, password = settings.secret_path("setup-secret").read_text(), sys.argv[2]
body = {"secret": secret, "user_name": "root", "password": password}
tell("setup", client.post("/v1/setup", json=body))
tell("again", client.post("/v1/setup", json=body | {"user_name": "another"}))
form = {"grant_type": "password", "username": "root", "password": password}
token = tell("token", client.post("/v1/oauth/token", data=form)).get("access_token")
client.headers["Authorization"] = f"Bearer {token}"
tell("dataset", client.post("/v1/datasets", json={"name": "sales", "freq": "D"}))
days = "".join(f"a,2024-01-{day:02},{day}\\n" for day in range(1, 29))
csv = {"Content-Type": "text/csv"}
panel = "unique_id,ds,y\\n" + days
tell("upload", client.post("/v1/datasets/sales/versions", content=panel, headers=csv))
tell("check", client.post("/v1/datasets/sales/check", content=panel, headers=csv))
again = client.post("/v1/users/me/reauthentication", json={"password": password}).json()
client.headers["Quantis-Reauthentication"] = again["token"]
tell("factor", client.post("/v1/users/me/second-factor"))
answers["incoming"] = [path.name for path in settings.data_layout.incoming.glob("*")]
print(json.dumps(answers))
"""


@pytest.fixture
def volume() -> Iterator[Path]:
    """An empty data folder that the user of the pods may write, and a secrets folder that they may not."""
    folder = Path(tempfile.mkdtemp(prefix="quantis-first-day-"))
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o770)
    (folder / "secrets").mkdir()
    for name, text in SECRETS.items():
        (folder / "secrets" / name).write_text(text + "\n")
        (folder / "secrets" / name).chmod(0o440)
    if os.geteuid() == 0:
        os.chown(folder / "data", int(USER), int(USER))
        for path in (folder / "secrets").iterdir():
            os.chown(path, 0, int(USER))
    (folder / "secrets").chmod(0o555)
    yield folder
    (folder / "secrets").chmod(0o755)
    shutil.rmtree(folder)


def as_nobody_special(volume: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the user of the manifests; where code lies in somebody's home, it may still read that."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTIS_", "PROMETHEUS_"))}
    environment = clean | {
        "QUANTIS_DATA_DIR": str(volume / "data"),
        "QUANTIS_SECRETS_DIR": str(volume / "secrets"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(volume / "data"),
        **more,
    }
    prefix: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv") or pytest.skip("setpriv is not installed, and this user is root")
        reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        prefix = [setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *reads]
    return subprocess.run(
        [*prefix, sys.executable, *words],
        env=environment, cwd=volume / "data", text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip


def first_day(volume: Path, how: str) -> dict[str, Any]:
    done = as_nobody_special(volume, "-c", FIRST_DAY, how, PASSWORD)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("how", ["migrated", "without folders"])
def test_when_secrets_are_read_only_and_the_volume_is_empty_then_setup_and_the_first_upload_are_made(
    volume: Path, how: str
) -> None:
    answers = first_day(volume, how)
    assert answers["uid"] == (int(USER) if os.geteuid() == 0 else os.geteuid())
    statuses = {name: answer[0] for name, answer in answers.items() if name not in ("uid", "incoming")}
    assert statuses == {
        "setup": 201, "again": 409, "token": 200, "dataset": 201, "upload": 201, "check": 200, "factor": 201,
    }, answers  # fmt: skip
    assert answers["setup"][1]["role"] == "admin"
    assert answers["incoming"] == []
    assert {path.name for path in (volume / "secrets").iterdir()} == set(SECRETS)


def test_when_a_secret_is_missing_and_none_can_be_made_then_the_error_names_it_and_the_remedy(
    volume: Path,
) -> None:
    code = "from cluster.settings import Settings; Settings().make_secret('ray-token')"
    done = as_nobody_special(volume, "-c", code)
    assert done.returncode == 1
    assert "Unavailable: there is no secret ray-token, and " in done.stderr
    assert "openssl rand -hex 32" in done.stderr


def test_when_a_secret_is_in_the_environment_then_no_file_is_made(volume: Path) -> None:
    code = "from cluster.settings import Settings; print(Settings().make_secret('encryption-key'))"
    (volume / "secrets").chmod(0o755)
    (volume / "secrets" / "encryption-key").unlink()
    (volume / "secrets").chmod(0o555)
    done = as_nobody_special(volume, "-c", code, QUANTIS_ENCRYPTION_KEY=SECRETS["encryption-key"])
    assert done.stdout == SECRETS["encryption-key"] + "\n", done.stderr

"""A whole platform, started as a newcomer would: `quantis demo`, in an empty folder, on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import processes
from cluster.processes import free_ports
from cluster.storage import Storage
from quantis.client import Client

ROOT = Path(__file__).resolve().parents[2]
QUANTIS = Path(sys.executable).with_name("quantis")


@dataclass(frozen=True)
class Live:
    """The running platform and what the demo reported."""

    folder: Path
    port: int
    report: dict[str, Any]
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def login_file(self) -> Path:
        return self.folder / "demo-login.json"

    @property
    def ray_environment(self) -> dict[str, str]:
        """What `source run/env` gives a shell."""
        lines = (self.folder / "run" / "env").read_text().splitlines()
        return self.environment | dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def client(self) -> Client:
        return Client.from_login_file(self.login_file, self.url)

    def quantis(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(QUANTIS), *arguments], env=self.environment, cwd=ROOT, text=True, capture_output=True,
            timeout=timeout, check=False,
        )  # fmt: skip


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("platform") / "data"
    port = free_ports(1)[0]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTIS_", "RAY_", "PYTHON"))}
    environment = {
        **clean,
        "QUANTIS_DATA_DIR": str(folder),
        "QUANTIS_URL": f"http://127.0.0.1:{port}",
        "QUANTIS_CONFIG_DIR": str(folder.parent / "config"),
    }
    new = Live(folder, port, {}, environment)
    instance = ""
    try:
        done = new.quantis("demo", "--quick", "--port", str(port), "--json")
        if done.returncode:
            logs = "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in (folder / "logs").glob("*.log"))
            pytest.fail(f"quantis demo ended with {done.returncode}\n{done.stderr}\n{done.stdout}\n{logs}")
        platform = processes.load(Storage(folder))
        assert platform is not None
        instance = platform.instance
        yield Live(folder, port, json.loads(done.stdout), environment)
    finally:
        down = new.quantis("down", timeout=120)
    assert down.returncode == 0, down.stderr
    assert processes.marked(instance) == []

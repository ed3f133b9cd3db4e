"""A running platform, as the tests see it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

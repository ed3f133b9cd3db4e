"""On a real Serve: who hangs up, and whose time is over, leaves no work behind in the replica."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.local.processes import free_ports
from quantis.types.accounts import Role
from tests.serve.api_under_test import World

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
ROOT = Path(__file__).resolve().parents[3]
SECONDS = 120


@dataclass(frozen=True)
class Host:
    folder: Path
    port: int
    token: str

    def ask(self, name: str, **options: int) -> socket.socket:
        """Send a request for a forecast and return its connection."""
        more = "".join(f', "{key}": {value}' for key, value in options.items())
        body = f'{{"series": [{{"unique_id": "{name}"}}]{more}}}'.encode()
        head = (
            f"POST /v1/models/demand/forecasts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        raw = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        raw.sendall(head.encode() + body)
        return raw

    def wait_for(self, mark: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not (self.folder / mark).exists():
            assert time.monotonic() < deadline, sorted(path.name for path in self.folder.iterdir())
            time.sleep(0.05)


@pytest.fixture
def host(world: World) -> Iterator[Host]:
    folder = world.settings.data_layout.root
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "QUANTIS_"))}
    environment = clean | {"PYTHONPATH": str(ROOT)}
    for _ in range(3):  # somebody else may take the port before Serve does
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "tests.serve.forecasting.serve_host", str(folder), str(port)]
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                assert process.stdout is not None
                if any(line.strip() == "ready" for line in process.stdout):
                    yield Host(folder, port, world.token(Role.viewer))
                    return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(SECONDS)
    pytest.fail("Serve did not start on any of three ports")


def test_when_callers_hang_up_or_their_time_is_over_then_what_runs_ends_and_what_waits_never_begins(
    host: Host,
) -> None:
    running = host.ask("running")
    host.wait_for("begun-running")
    waiting = [host.ask(f"waiting-{number}") for number in range(5)]
    time.sleep(1)  # they are on their way to the replica, or in it: told they are, either way
    for raw in (*waiting, running):
        raw.close()
    host.wait_for("told-running")
    with host.ask("late", deadline_ms=1500) as raw:
        host.wait_for("begun-late")
        assert b" 504 " in raw.recv(65536)
    host.wait_for("told-late")
    assert not list(host.folder.glob("begun-waiting-*"))

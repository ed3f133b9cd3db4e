"""A private PostgreSQL that a test may start, stop and start again, by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local.processes import free_ports


class Server:
    """A server in a folder of its own; `url` lacks the database's name."""

    def __init__(self, binaries: Path, folder: Path, user: str) -> None:
        self.folder, self._binaries = folder, binaries
        self._prefix = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
        if self._prefix:
            shutil.chown(folder, user)
        self.port = free_ports(1)[0]
        self.url = f"postgresql+psycopg://quantis@127.0.0.1:{self.port}/"
        self._run("initdb", "-D", self._data, "--auth=trust", "--no-sync", "-U", "quantis", "--encoding=UTF8")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in order, SIGQUIT at once as a crash would."""
        file = self.folder / "data" / "postmaster.pid"
        if not file.exists():
            return
        pid = int(file.read_text().split("\n")[0])
        os.kill(pid, how)
        deadline = time.monotonic() + 20
        while _lives(pid) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._binaries / name), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=120)


@contextmanager
def running() -> Iterator[Server]:
    """A started server; the test is skipped where there is no PostgreSQL."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0 and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="quantis-postgres-"))
    try:
        server = Server(binaries[-1].parent, folder, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

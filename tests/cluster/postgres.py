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
        self._process: subprocess.Popen[bytes] | None = None
        self._prefix = ["setpriv", "--pdeathsig", "QUIT"]  # a test run that is killed leaves no server behind
        if os.getuid() == 0:
            shutil.chown(folder, user)
            self._prefix += ["--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"]
        self.port = free_ports(1)[0]
        self.url = f"postgresql+psycopg://quantis@127.0.0.1:{self.port}/"
        self._run("initdb", "-D", self._data, "--auth=trust", "--no-sync", "-U", "quantis", "--encoding=UTF8")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "fsync=off")
        options = ["-p", str(self.port), *(part for setting in settings for part in ("-c", setting))]
        command = [*self._prefix, str(self._binaries / "postgres"), "-D", self._data, *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in order, SIGQUIT at once as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(120)

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, timeout=120).returncode == 0

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

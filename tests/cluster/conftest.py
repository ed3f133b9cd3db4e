"""Every repository test runs on SQLite and on a real PostgreSQL, each test on an empty database."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cluster.database.engine import Database
from cluster.database.tables import Base
from cluster.processes import free_ports

_NUMBERS = count(1)
NewDatabase = Callable[[], str]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("QUANTIS_", "RAY_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a private PostgreSQL server, less the database's name."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0 and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="quantis-postgres-"))
    try:
        with _server(binaries[-1].parent, folder, user) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _server:  # noqa: N801 - used as a context
    """Starts a server in a folder and stops it by its pid."""

    def __init__(self, binaries: Path, folder: Path, user: str) -> None:
        self.folder, self.binaries = folder, binaries
        self.prefix = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
        if self.prefix:
            shutil.chown(folder, user)
        self.user, self.port = user, free_ports(1)[0]

    def __enter__(self) -> str:
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "--auth=trust", "--no-sync", "-U", "quantis", "--encoding=UTF8")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(data), "-l", log, "-o", options, "-w", "-t", "60", "start")
        return f"postgresql+psycopg://quantis@127.0.0.1:{self.port}/"

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self.prefix, str(self.binaries / name), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=120)

    def __exit__(self, *error: object) -> None:
        file = self.folder / "data" / "postmaster.pid"
        os.kill(int(file.read_text().split("\n")[0]), signal.SIGINT)
        deadline = time.monotonic() + 20
        while file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """The URL of an empty database."""
    name = f"empty_{next(_NUMBERS)}"
    _execute(postgres, f"CREATE DATABASE {name}")
    return postgres + name


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> str:
    _execute(postgres, "CREATE DATABASE migrated")
    database = Database(postgres + "migrated")
    database.migrate()
    database.close()
    return postgres


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


def _execute(server: str, statement: str, name: str = "postgres") -> None:
    engine = create_engine(server + name, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database with the newest schema."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "quantis.db")
        return f"sqlite:///{tmp_path / 'quantis.db'}"
    server: str = request.getfixturevalue("migrated_postgres")
    _execute(server, f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY", "migrated")
    return server + "migrated"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()

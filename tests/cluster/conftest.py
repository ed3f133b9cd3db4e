"""Every repository test runs on SQLite and on a real PostgreSQL, each test on an empty database."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cluster.database.engine import Database
from cluster.database.tables import Base
from tests.cluster.postgres import running
from tests.cluster.spawned import Spawn, spawning

_NUMBERS = count(1)
NewDatabase = Callable[[], str]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("QUANTIS_", "RAY_")):
            monkeypatch.delenv(name)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    with spawning() as start:
        yield start


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a private PostgreSQL server, less the database's name."""
    with running() as server:
        yield server.url


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

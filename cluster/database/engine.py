"""The database: one engine, transactions that declare whether they write, migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, func, select, text
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from quantis.errors import InsufficientStorage, InvalidInput, Unavailable

_WRITES = "quantis_writes"
_WRITE_LOCK = 0x5175616E746973  # "Quantis"


class Database:
    """SQLite (write-ahead log, full sync) or PostgreSQL behind the same calls."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        with _reachable(), Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that may write, one at a time: what it has read still holds when it commits.

        It takes the lock first (SQLite's, an advisory one on PostgreSQL), so it cannot deadlock either.
        """
        with self.append() as session:
            if self.engine.dialect.name == "postgresql":
                session.execute(select(func.pg_advisory_xact_lock(_WRITE_LOCK)))
            yield session

    @contextmanager
    def append(self) -> Iterator[Session]:
        """Open a transaction that only adds rows which depend on no read; many run side by side."""
        with _reachable(), Session(self._writer) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Bring the schema to the newest revision."""
        command.upgrade(_alembic(self.url), "head")

    def is_current(self) -> bool:
        """Return True if the schema is at the newest revision."""
        head = ScriptDirectory.from_config(_alembic(self.url)).get_current_head()
        with self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == head

    def ping(self) -> None:
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if _is_full(error):
            raise InsufficientStorage(
                "the disk of the database is full, nothing was recorded; free some space or ask an operator, "
                "then send it again"
            ) from error
        raise Unavailable(f"the database did not answer ({error.orig}); try again in a moment") from error
    except PoolTimeout as error:
        raise Unavailable("the database has no connection left; try again in a moment") from error
    except (DataError, OverflowError) as error:
        raise InvalidInput("a value is one that the database cannot hold, such as a NUL in a text") from error


def _is_full(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return code in ("SQLITE_FULL", "53100")


def _alembic(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_timeout=10, connect_args={"connect_timeout": 5})
    engine = create_engine(url, connect_args={"timeout": 20, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=20000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine

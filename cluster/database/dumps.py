"""Consistent copies of a database while others write to it, and their restoration."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL, make_url

from quantis.errors import Conflict, NotInstalled, Unavailable

_PATHS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}
"""The columns of MLflow's database that hold places of artifacts."""


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy one transaction's view of a database that others may be writing to into one file."""
    with closing(sqlite3.connect(source, timeout=60)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode=DELETE")


def check_sqlite(path: Path) -> str:
    """Return SQLite's complaints about a file; empty when it is sound."""
    with closing(sqlite3.connect(path)) as connection:
        complaints = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return "" if complaints == "ok" else str(complaints)


def registered_runs(path: Path) -> set[str]:
    """Return the runs of MLflow's database that some model version was made from."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
        return {row[0] for row in connection.execute("SELECT run_id FROM model_versions") if row[0]}


def relocate_artifacts(path: Path, old: Path, new: Path) -> int:
    """Rewrite the artifact locations in a copy of MLflow's database; return the number of changes."""
    changed = 0
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, columns in _PATHS.items():
            locations = (
                {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                if table in tables
                else ()
            )
            for column in columns:
                for prefix in ("", "file://"):
                    if column in locations:
                        statement = (
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - our names  # nosec B608
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
                        )
                        before, after = f"{prefix}{old}", f"{prefix}{new}"
                        values = (after, len(before) + 1, before, len(before) + 1, f"{before}/")
                        changed += connection.execute(statement, values).rowcount
    return changed


@contextmanager
def exported_snapshot(url: str) -> Iterator[str]:
    """Yield the id of a PostgreSQL snapshot that a dump can be taken of, while it is open."""
    engine = create_engine(url, isolation_level="REPEATABLE READ")
    try:
        with engine.connect() as connection:
            yield str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())
    finally:
        engine.dispose()


def dump_postgres(
    url: str, target: Path, environment: Mapping[str, str], snapshot: str | None = None
) -> None:
    """Write `pg_dump` of a database, or of an exported snapshot of it, into one file."""
    extra = [f"--snapshot={snapshot}"] if snapshot else []
    _run(url, environment, "pg_dump", "--format=custom", "--no-owner", f"--file={target}", *extra)


def restore_postgres(url: str, source: Path, environment: Mapping[str, str]) -> None:
    """Run `pg_restore` into a database that must be empty; Conflict when it is not."""
    engine = create_engine(url)
    try:
        tables = inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if tables:
        raise Conflict(
            f"the database {make_url(url).database!r} has {len(tables)} tables; restore into an empty one"
        )
    _run(url, environment, "pg_restore", "--no-owner", "--single-transaction", "--exit-on-error", str(source))


def _run(url: str, environment: Mapping[str, str], program: str, *arguments: str) -> None:
    executable = shutil.which(program, path=environment.get("PATH"))
    if executable is None:
        raise NotInstalled(f"{program} is not installed, and PostgreSQL needs it; install postgresql-client")
    address = make_url(url)
    process = subprocess.run(
        [executable, *_connection(address), *arguments],
        env={**environment, **({"PGPASSWORD": address.password} if address.password else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise Unavailable(f"{program} failed: {process.stderr.strip()[-500:]}")


def _connection(address: URL) -> list[str]:
    variables = {
        "--host": address.host,
        "--port": address.port,
        "--username": address.username,
        "--dbname": address.database,
    }
    return [f"{name}={value}" for name, value in variables.items() if value is not None]

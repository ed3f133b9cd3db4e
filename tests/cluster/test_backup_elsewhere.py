"""Backups of what does not lie in the data folder as it is: PostgreSQL, and MLflow's absolute paths."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cluster.backup import backup
from cluster.backup_archive import SUFFIX
from cluster.database.dumps import relocate_artifacts
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.integrity import verify
from cluster.restore import restore
from cluster.settings import Settings
from models.registry.mlflow_registry import Registry
from quantis.errors import Conflict, InvalidInput
from tests.crash.blocks import Operation, spec
from tests.crash.crash_ledger import TEAM


def test_when_the_database_is_postgresql_then_a_dump_of_one_moment_is_restored_into_an_empty_one(
    postgres: str, empty_postgres: str, tmp_path: Path
) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed: apt-get install postgresql-client")
    settings = Settings(data_dir=tmp_path / "data", database_url=empty_postgres)
    settings.data_layout.prepare()
    database = Database(empty_postgres)
    database.migrate()
    catalogue = Catalogue(database, settings.data_layout)
    catalogue.datasets.create(TEAM, "ann", spec("sales"))
    for number in range(2):
        catalogue.ingest(TEAM, "ann", "sales", Operation(number).table(), "sales")
    archive = tmp_path / f"kept{SUFFIX}"
    assert backup(settings, archive).versions == 2
    catalogue.ingest(TEAM, "ann", "sales", Operation(2).table(), "sales")
    with pytest.raises(InvalidInput, match="--database-url"):
        restore(archive, tmp_path / "new", settings)
    with pytest.raises(Conflict, match="empty one"):
        restore(archive, tmp_path / "new", settings, empty_postgres)
    database.close()
    target = _another(postgres, empty_postgres)
    assert restore(archive, tmp_path / "new", settings, target).versions == 2
    restored = Database(target)
    found = verify(restored, Settings(data_dir=tmp_path / "new").data_layout)
    assert (found.versions, found.broken) == (2, [])
    restored.close()


def _another(postgres: str, beside: str) -> str:
    name = f"{beside.removeprefix(postgres)}_again"
    engine = create_engine(f"{postgres}postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres + name


def test_when_models_are_restored_elsewhere_then_the_registry_finds_them_there(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_layout.prepare()
    shutil.copy(migrated_sqlite, settings.data_layout.database)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text("{}")
    registry = Registry(settings.tracking_uri, str(settings.data_layout.artifacts), TEAM)
    registry.log_run("demand", "publish", folders={"bundle": bundle})
    backup(settings, tmp_path / f"kept{SUFFIX}")
    shutil.rmtree(settings.data_layout.root)
    restore(tmp_path / f"kept{SUFFIX}", tmp_path / "new", settings)
    with closing(sqlite3.connect(tmp_path / "new" / "mlflow.db")) as connection:
        places = [
            Path(row[0].removeprefix("file://"))
            for row in connection.execute("SELECT artifact_uri FROM runs")
        ]
    assert [(place / "bundle" / "config.json").read_text() for place in places] == ["{}"]


def test_when_a_folder_only_begins_with_the_same_letters_then_it_is_not_moved(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        rows = [
            "/a/artifacts/x",
            "file:///a/artifacts/y",
            "/a/artifacts",
            "/a/artifacts2/z",
            "s3://b/a/artifacts/w",
        ]
        connection.executemany("INSERT INTO runs VALUES (?)", [(row,) for row in rows])
    assert relocate_artifacts(path, Path("/a/artifacts"), Path("/new")) == 3
    with closing(sqlite3.connect(path)) as connection:
        found = [row[0] for row in connection.execute("SELECT artifact_uri FROM runs")]
    assert found == ["/new/x", "file:///new/y", "/new", "/a/artifacts2/z", "s3://b/a/artifacts/w"]

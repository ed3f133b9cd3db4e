from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, inspect, text

from cluster.database.engine import Database
from cluster.database.tables import Base
from quantis.errors import Unavailable

WITHOUT_TEAM = {"teams", "alembic_version"}


def differences(database, metadata):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, metadata)


def test_when_all_migrations_ran_then_the_database_is_what_the_models_say(database):
    assert differences(database, Base.metadata) == []
    assert database.is_current()


def test_when_a_model_has_a_column_more_then_the_comparison_sees_it(database):
    changed = MetaData()
    for table in Base.metadata.tables.values():
        table.to_metadata(changed)
    changed.tables["jobs"].append_column(Column("weight", Integer))
    ((what, _, table, column),) = differences(database, changed)
    assert (what, table, column.name) == ("add_column", "jobs", "weight")


def test_when_a_table_is_kept_then_it_names_its_team(database):
    inspector = inspect(database.engine)
    tables = set(inspector.get_table_names())
    assert tables - {"alembic_version"} == set(Base.metadata.tables)
    for table in tables - WITHOUT_TEAM:
        assert "team_id" in {column["name"] for column in inspector.get_columns(table)}, table


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'empty.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("empty_postgres")
    )
    database = Database(url)
    yield database
    database.close()


def test_when_migrations_run_twice_then_the_second_changes_nothing(empty):
    assert not empty.is_current()
    empty.migrate()
    assert empty.is_current()
    with empty.write() as session:
        session.execute(text("INSERT INTO leases VALUES ('x', '', 'me', '2024-01-01 00:00:00')"))
    empty.migrate()
    with empty.read() as session:
        assert session.execute(text("SELECT holder FROM leases")).scalars().all() == ["me"]


def test_when_the_first_schema_is_taken_back_then_nothing_stays(empty):
    from alembic import command

    from cluster.database.engine import _alembic

    empty.migrate()
    command.downgrade(_alembic(empty.url), "base")
    assert set(inspect(empty.engine).get_table_names()) == {"alembic_version"}


def test_when_the_database_cannot_be_reached_then_it_is_unavailable_and_the_password_stays_secret(tmp_path):
    for url in (f"sqlite:///{tmp_path / 'no' / 'such.db'}", "postgresql+psycopg://me:hunter2@127.0.0.1:1/x"):
        database = Database(url)
        with pytest.raises(Unavailable) as raised:
            database.ping()
        assert "hunter2" not in raised.value.message


def test_when_sqlite_is_opened_then_it_is_durable_and_keeps_its_references(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.read() as session:
        found = [
            session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]

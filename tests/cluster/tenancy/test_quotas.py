"""Storage of a team: reserved before it is written, on SQLite and on PostgreSQL; forecasts count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import update

from cluster.database.engine import Database
from cluster.database.tables import StorageReservationRow, TeamRow
from cluster.repositories.teams import RESERVED_FOR, Teams
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings
from cluster.tenancy.quotas import Quotas
from quantis.errors import QuotaExceeded
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef
from quantis.types.teams import Quota

MB = 1_000_000
LIMIT = Quota(storage_mb=10)
AT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_layout.prepare()
    with database.write() as session:
        session.add(TeamRow(id="shop", created_at=AT, quota={}))
    return settings


@pytest.fixture
def quotas(database: Database, settings: Settings) -> Quotas:
    return Quotas(Teams(database), settings)


def write(settings: Settings, name: str, size: int) -> None:
    folder = settings.data_layout.dataset("shop", name)
    folder.mkdir(parents=True)
    (folder / "part").write_bytes(bytes(size))


def stored(settings: Settings) -> int:
    return sum(path.stat().st_size for path in settings.data_layout.root.rglob("part"))


def test_when_processes_write_at_once_then_only_as_many_are_let_in_as_fit_together(url, settings):
    start = Barrier(8)

    def upload(number: int) -> bool:
        """One replica, with its own connections and its own measurement."""
        database = Database(url)
        quotas = Quotas(Teams(database), settings)
        quotas.check_storage("shop", LIMIT, 3 * MB)
        start.wait()
        try:
            with quotas.reserved("shop", LIMIT, 3 * MB):
                write(settings, f"set-{number}", 3 * MB)
            return True
        except QuotaExceeded:
            return False
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(upload, range(8)))
    assert done.count(True) == 3
    assert stored(settings) == 9 * MB


def test_when_a_write_has_ended_then_others_still_count_it_until_they_measure_again(
    url, database, settings, quotas
):
    quotas.check_storage("shop", LIMIT)  # measured, and held for half a minute: nothing is there
    elsewhere = Database(url)
    with Quotas(Teams(elsewhere), settings).reserved("shop", LIMIT, 8 * MB):
        write(settings, "large", 8 * MB)
    elsewhere.close()
    with pytest.raises(QuotaExceeded, match=r"8.0 of its 10 MB"):
        quotas.check_storage("shop", LIMIT, 3 * MB)
    with pytest.raises(QuotaExceeded, match="storage_mb"), quotas.reserved("shop", LIMIT, 3 * MB):
        raise AssertionError("it was let in")
    with quotas.reserved("shop", LIMIT, 2 * MB):
        write(settings, "small", 2 * MB)
    with database.write() as session:  # a minute passes
        ended = datetime.now(UTC) - timedelta(minutes=1)
        session.execute(update(StorageReservationRow).values(ended_at=ended))
    usage = {item.name: item.used for item in Quotas(Teams(database), settings).usage("shop", 0, None).items}
    assert usage["storage_mb"] == pytest.approx(10.0)


def test_when_a_write_fails_or_its_process_was_killed_then_its_room_comes_back(database, settings, quotas):
    with pytest.raises(OSError, match="broke"), quotas.reserved("shop", LIMIT, 9 * MB):
        raise OSError("the disk broke")
    with database.write() as session:
        ended = datetime.now(UTC) - timedelta(minutes=1)
        session.execute(update(StorageReservationRow).values(ended_at=ended))
    Teams(database).reserve_storage("shop", 9 * MB, 10 * MB, datetime.now(UTC))  # never ended
    with pytest.raises(QuotaExceeded), quotas.reserved("shop", LIMIT, 9 * MB):
        raise AssertionError("it was let in")
    with database.write() as session:
        old = datetime.now(UTC) - RESERVED_FOR - timedelta(minutes=1)
        session.execute(update(StorageReservationRow).values(created_at=old))
    with quotas.reserved("shop", LIMIT, 9 * MB):
        write(settings, "large", 9 * MB)


def test_when_another_team_writes_then_our_room_stays(settings, quotas):
    with quotas.reserved("rivals", LIMIT, 9 * MB), quotas.reserved("shop", LIMIT, 9 * MB):
        write(settings, "large", 9 * MB)


def test_when_there_is_no_limit_then_nothing_is_reserved(database, quotas):
    with quotas.reserved("shop", Quota(), 9 * MB), database.read() as session:
        assert session.query(StorageReservationRow).count() == 0


def test_when_forecasts_were_issued_then_they_count_as_stored(database, quotas):
    response = ForecastResponse(
        forecast_id="f1", model=ModelRef(name="m", version=1, alias=None, family="f"), dataset=None,
        freq="h", as_of=AT, issued_at=AT, forecasts=[],
    )  # fmt: skip
    series = [{"unique_id": f"series {number} {number**7}"} for number in range(1000)]
    request = ForecastRequest.model_validate({"series": series})
    Vintages(database).append("shop", request, response)
    size = Teams(database).forecast_bytes("shop")
    assert size > 1000
    assert Teams(database).forecast_bytes("rivals") == 0
    used = {item.name: item.used for item in quotas.usage("shop", 0, None).items}
    assert used["storage_mb"] == pytest.approx(size / MB)

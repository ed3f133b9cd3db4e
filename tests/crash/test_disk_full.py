"""A disk that is full or fails at any write: the answer says so, nothing half is seen, and it recovers by itself."""

from __future__ import annotations

import errno
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from cluster.data_layout import disk_error
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.integrity import verify
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings
from models.families.naive import SeasonalNaive
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import InsufficientStorage, QuantisError, Unavailable
from quantis.files import write_atomic
from quantis.panel import Snapshot, Task, timestamps
from quantis.types.accounts import Role
from quantis.types.datasets import Roles
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef, SeriesRequest
from serve.api.application import create_app
from serve.security import tokens
from serve.services import Services
from tests.crash.blocks import Operation, spec
from tests.crash.crash_ledger import TEAM
from tests.serve.api_under_test import SECRET, Failing, settings_for

PAGE = 4096
SIZE = 16 * 2**20


class Disk:
    """A small disk of its own with as many free pages as asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def leave(self, pages: int) -> None:
        """Fill it up to so many pages."""
        self.free()
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, self._available() - pages) * PAGE)
            rest = self._available() - pages
            if rest > 0:
                os.posix_fallocate(file.fileno(), 0, file.seek(0, 2) + rest * PAGE)

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def _available(self) -> int:
        return os.statvfs(self.root).f_bavail


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(root)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a disk of its own needs root and mount")
    (root / "tmp").mkdir()
    yield Disk(root)
    subprocess.run(["umount", "-l", str(root)], check=True)


@pytest.fixture
def settings(disk: Disk) -> Settings:
    settings = settings_for(disk.root / "data")
    settings.data_layout.prepare()
    return settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.sql_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def catalogue(database: Database, settings: Settings) -> Catalogue:
    catalogue = Catalogue(database, settings.data_layout)
    catalogue.datasets.create(TEAM, "ann", spec("sales"))
    catalogue.ingest(TEAM, "ann", "sales", Operation(0).table(), "first")
    return catalogue


def known(error: BaseException) -> QuantisError:
    found = error if isinstance(error, QuantisError) else disk_error(error)
    assert isinstance(found, InsufficientStorage | Unavailable), repr(error)
    return found


def test_when_each_page_of_a_write_in_turn_finds_no_room_then_nothing_half_is_seen_and_it_goes_on(
    disk: Disk, database: Database, settings: Settings, catalogue: Catalogue
) -> None:
    outcomes: list[int] = []
    number = 1
    for pages in [*range(24), *range(24, 80, 4), 1000]:
        versions = len(catalogue.datasets.versions(TEAM, "sales"))
        disk.leave(pages)
        try:
            catalogue.ingest(TEAM, "ann", "sales", Operation(number).table(), "more")
        except Exception as error:
            outcomes.append(known(error).status)
            disk.free()
            assert len(catalogue.datasets.versions(TEAM, "sales")) == versions
        else:
            outcomes.append(201)
            number += 1
            disk.free()
    assert {507, 201} <= set(outcomes) <= {507, 503, 201}
    assert outcomes.count(507) > 5
    assert outcomes[-1] == 201
    result = catalogue.ingest(TEAM, "ann", "sales", Operation(number).table(), "more")
    assert result.version.number == outcomes.count(201) + 2
    OrphanSweeper(database, settings.data_layout, grace=timedelta(0)).sweep()
    assert verify(database, settings.data_layout).broken == []
    assert OrphanSweeper(database, settings.data_layout, grace=timedelta(0)).find() == []


@pytest.mark.timeout(600)
def test_when_the_disk_is_full_then_the_api_says_507_and_serves_again_when_there_is_room(
    disk: Disk, database: Database, settings: Settings, catalogue: Catalogue
) -> None:
    user = UserAccounts(database).create(TEAM, "ann", "correct horse battery", Role.admin)
    app = create_app(Services(settings, database, Failing(RuntimeError()), FakeJobs()))
    client = TestClient(app, base_url="https://quantis.test", raise_server_exceptions=False)
    client.headers["Authorization"] = f"Bearer {tokens.issue(user.id, SECRET.encode(), 600)}"
    sink = pa.BufferOutputStream()
    pq.write_table(Operation(1).table(), sink)
    body = sink.getvalue().to_pybytes()
    upload: Callable[[], tuple[int, str]] = lambda: _said(  # noqa: E731
        client.post(
            "/v1/datasets/sales/versions",
            content=body,
            headers={"Content-Type": "application/vnd.apache.parquet"},
        )
    )
    for pages in (0, 1, 2, 4, 8):
        disk.leave(pages)
        assert upload() in ((507, "insufficient_storage"), (503, "unavailable")), pages
        assert client.get("/healthz").status_code == 200
        disk.free()
        assert [
            version["number"] for version in client.get("/v1/datasets/sales/versions").json()["items"]
        ] == [1]
        assert not list(settings.data_layout.incoming.iterdir())
    disk.leave(0)
    answer = client.post("/v1/datasets", json={"name": "more"})
    assert _said(answer) == (507, "insufficient_storage")
    disk.free()
    assert upload()[0] == 201
    assert client.post("/v1/datasets", json={"name": "more"}).status_code == 201


def _said(answer: object) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")  # type: ignore[attr-defined]


def test_when_the_ledger_cannot_be_written_then_no_forecast_is_answered_until_there_is_room(
    disk: Disk, database: Database
) -> None:
    vintages = Vintages(database)
    now = datetime.now(UTC)
    request = ForecastRequest(h=1, series=[SeriesRequest(unique_id=uuid.uuid4().hex) for _ in range(500)])

    def keep() -> str:
        model = ModelRef(name="demand", version=1, alias="champion", family="seasonal_naive")
        response = ForecastResponse(
            forecast_id=str(uuid.uuid4()), model=model, freq="D", as_of=now, issued_at=now, forecasts=[]
        )
        vintages.append(TEAM, request, response)
        return response.forecast_id

    first = keep()
    disk.leave(0)
    with pytest.raises(InsufficientStorage):
        keep()
    assert vintages.get(TEAM, first).forecast_id == first
    disk.free()
    assert vintages.get(TEAM, keep())


def test_when_a_bundle_finds_no_room_then_there_is_none_and_the_next_one_is_whole(
    disk: Disk, tmp_path: Path
) -> None:
    forecaster, snapshot = small_model()
    outcomes = []
    for number, pages in enumerate([*range(16), 1000]):
        folder = disk.root / "models" / f"m{number}"
        disk.leave(pages)
        try:
            write_bundle(folder, forecaster, snapshot)
        except OSError as error:
            outcomes.append(known(error).status)
            disk.free()
            assert not folder.parent.exists() or not list(folder.parent.glob(f"*m{number}*"))
        else:
            outcomes.append(201)
            disk.free()
            assert read_bundle(folder).family == forecaster.family
    assert outcomes.count(507) > 5
    assert outcomes[-1] == 201


def small_model() -> tuple[SeasonalNaive, Snapshot]:
    """Two weeks of one series and its naive model."""
    first = np.datetime64("2024-01-01", "us")
    times = timestamps(first + np.arange(28) * np.timedelta64(1, "D"))
    target = pa.table({"unique_id": ["a"] * 28, "ds": times, "y": pa.array(range(28), pa.float64())})
    task = Task(
        dataset="sales", version=1, content_hash="0" * 64, as_of=datetime(2024, 3, 1, tzinfo=UTC), freq="D", h=7,
        quantiles=(0.1, 0.5, 0.9), roles=Roles(), season_lengths=(7,),
    )  # fmt: skip
    snapshot = Snapshot(
        target, target.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ["a"]})
    )
    return SeasonalNaive.fit(snapshot, task, 7), snapshot


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_when_a_secret_cannot_be_synced_then_the_old_one_stays_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "jwt-secret"
    write_atomic(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_atomic(path, "new")
    assert known(caught.value).status == (507 if number == errno.ENOSPC else 503)
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("old", ["jwt-secret"])
    monkeypatch.undo()
    write_atomic(path, "new")
    assert path.read_text() == "new"


def test_when_a_secret_finds_no_room_then_nothing_is_left(disk: Disk) -> None:
    disk.leave(0)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(disk.root / "tmp" / "jwt-secret", "x" * 100)
    assert known(caught.value).status == 507
    assert not list((disk.root / "tmp").iterdir())
    disk.free()
    write_atomic(disk.root / "tmp" / "jwt-secret", "x" * 100)


def test_when_each_sync_of_a_write_in_turn_fails_then_it_is_503_and_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path / "data")
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    catalogue = Catalogue(database, settings.data_layout)
    real, calls, bad = os.fsync, 0, 0
    statuses: set[int] = set()

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for bad in range(1, 100):
        name = f"sales{bad}"
        catalogue.datasets.create(TEAM, "ann", spec(name))
        calls = 0
        try:
            catalogue.ingest(TEAM, "ann", name, Operation(0).table(), "first")
        except OSError as error:
            statuses.add(known(error).status)
            assert list(catalogue.datasets.versions(TEAM, name)) == []
        else:
            break
    assert 6 < bad < 99
    assert statuses == {503}
    assert len(catalogue.datasets.versions(TEAM, name)) == 1
    assert verify(database, settings.data_layout).broken == []
    database.close()

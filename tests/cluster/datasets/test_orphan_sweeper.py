"""The sweeper removes what nobody needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.compaction import compact
from cluster.datasets.integrity import verify
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.repositories.datasets import Datasets
from cluster.repositories.jobs import Jobs
from models.registry.bundle import write_bundle
from models.registry.mlflow_registry import Registry
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.jobs import JobState
from tests.crash.test_disk_full import small_model
from tests.serve.api_under_test import PASSED

TEAM = "default"


def panel(days: int, level: float = 0.0) -> pa.Table:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "unique_id": pa.array(["a"] * days, pa.string()),
            "ds": pa.array([first + timedelta(days=day) for day in range(days)], pa.timestamp("us", "UTC")),
            "y": pa.array([level + day % 7 for day in range(days)], pa.float64()),
        }
    )


@pytest.fixture
def data_layout(tmp_path: Path) -> DataLayout:
    data_layout = DataLayout(tmp_path / "data")
    data_layout.prepare()
    return data_layout


@pytest.fixture
def database(data_layout: DataLayout, migrated_sqlite: Path) -> Iterator[Database]:
    shutil.copy(migrated_sqlite, data_layout.database)
    database = Database(f"sqlite:///{data_layout.database}")
    yield database
    database.close()


@pytest.fixture
def catalogue(database: Database, data_layout: DataLayout) -> Catalogue:
    catalogue = Catalogue(database, data_layout)
    catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="sales"))
    for version in range(3):
        catalogue.ingest(TEAM, "ann", "sales", panel(60 + version), "sales.csv")
    return catalogue


@pytest.fixture
def sweeper(database: Database, data_layout: DataLayout) -> OrphanSweeper:
    return OrphanSweeper(database, data_layout)


def aged(path: Path, days: float = 2) -> Path:
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    return path


def files(data_layout: DataLayout) -> set[Path]:
    return {
        path
        for path in data_layout.root.rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".json")
    }


def test_when_nothing_was_left_behind_then_nothing_is_removed_however_old(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout, database: Database
) -> None:
    for path in files(data_layout):
        aged(path)
    before = files(data_layout)
    assert sweeper.sweep() == []
    assert files(data_layout) == before
    assert len(catalogue.datasets.versions(TEAM, "sales")) == verify(database, data_layout).versions == 3
    assert verify(database, data_layout).broken == []


def test_when_writers_were_killed_then_their_files_go_and_every_version_reads_as_recorded(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout, database: Database
) -> None:
    table = data_layout.dataset(TEAM, "sales") / "target"
    real = next(table.glob("*.parquet"))
    left = [
        shutil.copy(real, table / "part-00000-abandoned-c000.zstd.parquet"),
        shutil.copy(real, table / "part-00000-half-c000.zstd.parquet#1"),
        shutil.copy(real, table / "_delta_log" / "00000000000000000099.json#1"),
        shutil.copy(real, data_layout.secrets / ".jwt-secret.4711"),
    ]
    never = data_layout.dataset(TEAM, "sales") / "weather"
    never.mkdir()
    left.append(shutil.copy(real, never / "part-00000-first-c000.zstd.parquet"))
    paths = {aged(Path(path)) for path in left}
    assert {orphan.path for orphan in sweeper.find()} == paths
    assert {orphan.path for orphan in sweeper.sweep()} == paths
    assert not any(path.exists() for path in paths)
    assert sweeper.find() == []
    assert verify(database, data_layout).broken == []


def test_when_a_writer_died_between_a_checkpoint_and_its_pointer_then_the_next_write_works(
    catalogue: Catalogue, data_layout: DataLayout, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = data_layout.dataset(TEAM, "sales") / "target" / "_delta_log"
    for days in range(63, 100):
        with monkeypatch.context() as killed:
            killed.setattr(Datasets, "add_version", _raise)
            with pytest.raises(RuntimeError, match="killed"):
                catalogue.ingest(TEAM, "ann", "sales", panel(days), "sales.csv")
        if list(log.glob("*.checkpoint*")):
            break
        catalogue.ingest(TEAM, "ann", "sales", panel(days), "sales.csv")
    (log / "_last_checkpoint").unlink()
    fresh = Catalogue(database, data_layout)
    assert fresh.ingest(TEAM, "ann", "sales", panel(days), "sales.csv").created
    assert verify(database, data_layout).broken == []


def test_when_a_first_write_was_never_recorded_then_its_files_go_and_the_next_one_is_whole(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout, database: Database
) -> None:
    catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="shops"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Datasets, "add_version", _raise)
        with pytest.raises(RuntimeError, match="killed"):
            catalogue.ingest(TEAM, "ann", "shops", panel(60), "shops.csv")
    folder = data_layout.dataset(TEAM, "shops")
    for path in folder.rglob("*.parquet"):
        aged(path)
    assert {orphan.path.parent.name for orphan in sweeper.sweep()} == {"target", "static"}
    assert sweeper.find() == []
    fresh = Catalogue(database, data_layout)
    assert fresh.ingest(TEAM, "ann", "shops", panel(60), "shops.csv").version.number == 1
    assert verify(database, data_layout).broken == []


def _raise(*_: object, **__: object) -> None:
    raise RuntimeError("killed")


def test_when_a_commit_was_never_recorded_then_it_is_taken_back_and_its_files_go(
    catalogue: Catalogue,
    sweeper: OrphanSweeper,
    data_layout: DataLayout,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = files(data_layout)

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Datasets, "add_version", die)
    with pytest.raises(KeyboardInterrupt):
        catalogue.ingest(TEAM, "ann", "sales", panel(90), "sales.csv")
    monkeypatch.undo()
    abandoned = {path for path in files(data_layout) - before if path.suffix == ".parquet"}
    assert abandoned
    assert sweeper.sweep() == []
    for path in data_layout.dataset(TEAM, "sales").rglob("*.parquet"):
        aged(path)
    assert {orphan.path for orphan in sweeper.sweep()} == abandoned
    assert sweeper.find() == []
    assert verify(database, data_layout).broken == []
    result = catalogue.ingest(TEAM, "ann", "sales", panel(70), "sales.csv")
    assert (result.version.number, result.version.rows) == (4, 70)


def test_when_the_first_upload_was_never_recorded_then_the_next_one_starts_afresh(
    sweeper: OrphanSweeper,
    data_layout: DataLayout,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue = Catalogue(database, data_layout)
    catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="sales"))
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "add_version", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            catalogue.ingest(TEAM, "ann", "sales", panel(90), "sales.csv")
    for path in data_layout.dataset(TEAM, "sales").rglob("*.parquet"):
        aged(path)
    assert sweeper.sweep()
    assert sweeper.find() == []
    result = catalogue.ingest(TEAM, "ann", "sales", panel(70), "sales.csv")
    assert (result.version.number, result.version.rows) == (1, 70)
    assert verify(database, data_layout).broken == []


def test_when_files_are_young_then_a_writer_may_still_need_them(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout
) -> None:
    table = data_layout.dataset(TEAM, "sales") / "target"
    young = Path(shutil.copy(next(table.glob("*.parquet")), table / "part-00000-young-c000.zstd.parquet"))
    assert sweeper.sweep() == []
    assert young.exists()


def test_when_the_log_of_a_table_is_unreadable_then_none_of_its_files_is_touched(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout
) -> None:
    table = data_layout.dataset(TEAM, "sales") / "target"
    shutil.rmtree(table / "_delta_log")
    kept = [aged(path) for path in table.glob("*.parquet")]
    assert sweeper.sweep() == []
    assert kept
    assert all(path.exists() for path in kept)


def test_when_jobs_ended_then_their_folders_go_and_those_of_running_jobs_stay(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout, database: Database
) -> None:
    jobs = Jobs(database)
    ended, running = (jobs.request(TEAM, "ann", FeaturizeSpec(dataset="sales")).id for _ in range(2))
    jobs.start(TEAM, ended)
    jobs.finish(TEAM, ended, JobState.failed, "killed")
    for job in (ended, running, "unknown"):
        folder = data_layout.training / job
        (folder / ".bundle-x1").mkdir(parents=True)
        for path in (aged(folder / ".bundle-x1"), folder):
            aged(path)
    kinds = {
        (orphan.kind, orphan.path.relative_to(data_layout.training).parts[0]) for orphan in sweeper.sweep()
    }
    assert ("training", ended) in kinds
    assert ("training", "unknown") in kinds
    assert ("bundle", running) in kinds
    assert ("training", running) not in kinds
    assert [path.name for path in data_layout.training.iterdir()] == [running]


def test_when_an_upload_was_cut_short_then_its_folder_goes_and_those_of_others_stay(
    sweeper: OrphanSweeper, data_layout: DataLayout
) -> None:
    upload, other = data_layout.incoming / "old", data_layout.incoming / "new"
    for path in (upload, other):
        path.mkdir()
        (path / "body").write_text("x")
    aged(upload / "body")
    aged(upload)
    assert [(orphan.kind, orphan.path) for orphan in sweeper.sweep()] == [("upload", upload)]
    assert (upload.exists(), other.exists()) == (False, True)


def test_when_a_backup_is_at_work_then_no_file_vanishes(
    sweeper: OrphanSweeper, data_layout: DataLayout
) -> None:
    orphan = aged(_written(data_layout.secrets / ".jwt-secret.1"))
    with data_layout.keeping_files():
        assert sweeper.sweep() == []
    assert orphan.exists()
    assert len(sweeper.sweep()) == 1


def _written(path: Path) -> Path:
    path.write_text("x")
    return path


def test_when_a_compaction_promised_a_longer_time_then_the_sweeper_keeps_to_it(
    catalogue: Catalogue, sweeper: OrphanSweeper, data_layout: DataLayout
) -> None:
    before = files(data_layout)
    week, never = timedelta(days=7), timedelta(days=3650)
    compact(catalogue, data_layout, TEAM, "sales", retention=week, purge_after=never)
    for path in files(data_layout):
        aged(path, days=6)
    assert sweeper.find() == []
    for path in files(data_layout):
        aged(path, days=8)
    removed = {orphan.path for orphan in sweeper.sweep()}
    assert removed
    assert removed <= before


def test_when_a_publish_was_killed_then_its_copy_of_the_bundle_goes_and_that_of_versions_stays(
    sweeper: OrphanSweeper, data_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "made", *small_model())
    registry = Registry(f"sqlite:///{data_layout.mlflow_database}", str(data_layout.artifacts), TEAM)
    registry.publish("demand", bundle, metrics={}, gate=PASSED)
    with monkeypatch.context() as killed:
        killed.setattr(registry._client, "create_model_version", _raise)
        with pytest.raises(RuntimeError, match="killed"):
            registry.publish("demand", bundle, metrics={}, gate=PASSED)
    copies = list(data_layout.artifacts.glob("**/artifacts/bundle"))
    assert len(copies) == 2
    assert sweeper.find() == []
    for copy in copies:
        for path in (copy, *copy.rglob("*")):
            aged(path)
    (orphan,) = sweeper.sweep()
    assert (orphan.kind, orphan.path in copies, orphan.path.exists()) == ("artifact", True, False)
    assert registry.resolve("demand:1").version == 1

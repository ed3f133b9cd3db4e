"""A backup taken at any moment restores into a state that was true."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
import time
from pathlib import Path

import pytest
import zstandard

from cluster.backup import backup
from cluster.backup_archive import SUFFIX, BackupBroken
from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.integrity import verify
from cluster.restore import restore
from cluster.settings import Settings
from quantis.errors import Conflict, NotFound
from tests.crash.blocks import Operation, spec
from tests.crash.crash_ledger import TEAM, CrashLedger, child_process

SECRET = "a-secret-that-only-its-file-holds"


@pytest.fixture
def settings(tmp_path: Path, migrated_sqlite: Path) -> Settings:
    """A data folder with a dataset of three versions, a secret and a half-written file."""
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_layout.prepare()
    shutil.copy(migrated_sqlite, settings.data_layout.database)
    database = Database(settings.sql_url)
    catalogue = Catalogue(database, settings.data_layout)
    catalogue.datasets.create(TEAM, "ann", spec("sales"))
    for number in range(3):
        catalogue.ingest(TEAM, "ann", "sales", Operation(number).table(), "sales")
    database.close()
    settings.secret_path("jwt-secret").write_text(SECRET)
    model = settings.data_layout.artifacts / TEAM / "demand" / "1" / "artifacts" / "bundle"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (settings.data_layout.dataset(TEAM, "sales") / "target" / "part-0-half.parquet").write_text("half")
    return settings


def names(archive: Path) -> set[str]:
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        return {member.name for member in tar}


def test_when_a_backup_is_restored_then_every_version_reads_as_recorded_and_nothing_else_came_along(
    settings: Settings, tmp_path: Path
) -> None:
    archive = tmp_path / f"kept{SUFFIX}"
    done = backup(settings, archive)
    assert (done.versions, done.unreadable) == (3, [])
    assert archive.stat().st_mode & 0o777 == 0o600
    restored = restore(archive, tmp_path / "new", settings)
    assert (restored.versions, Path(restored.path)) == (3, tmp_path / "new")
    data_layout = DataLayout(tmp_path / "new")
    database = Database(f"sqlite:///{data_layout.database}")
    catalogue = Catalogue(database, data_layout)
    assert [version.number for version in catalogue.datasets.versions(TEAM, "sales")] == [3, 2, 1]
    result = catalogue.ingest(TEAM, "ann", "sales", Operation(3).table(), "sales")
    assert (result.created, result.version.number) == (True, 4)
    assert verify(database, data_layout).broken == []
    database.close()
    assert (data_layout.artifacts / TEAM / "demand" / "1" / "artifacts" / "bundle" / "config.json").exists()
    assert not list(data_layout.root.rglob("*half*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", f"kept{SUFFIX}", "new"]


def test_when_secrets_are_not_asked_for_then_none_is_in_the_backup(
    settings: Settings, tmp_path: Path
) -> None:
    backup(settings, tmp_path / f"plain{SUFFIX}")
    backup(settings, tmp_path / "folder")
    backup(settings, tmp_path / f"all{SUFFIX}", with_secrets=True)
    assert not [name for name in names(tmp_path / f"plain{SUFFIX}") if name.startswith("secrets")]
    for file in (tmp_path / "folder").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert "secrets/jwt-secret" in names(tmp_path / f"all{SUFFIX}")
    restore(tmp_path / f"all{SUFFIX}", tmp_path / "new", settings)
    secret = tmp_path / "new" / "secrets" / "jwt-secret"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == (SECRET, 0o600)


def test_when_the_folder_holds_anything_then_restore_refuses_and_touches_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    archive = tmp_path / f"kept{SUFFIX}"
    backup(settings, archive)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(Conflict, match="not empty"):
        restore(archive, tmp_path / "full", settings)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    with pytest.raises(Conflict, match="is there already"):
        backup(settings, archive)
    (tmp_path / "empty").mkdir()
    assert restore(archive, tmp_path / "empty", settings).versions == 3
    with pytest.raises(NotFound, match="no platform"):
        backup(Settings(data_dir=tmp_path / "nothing"), tmp_path / f"n{SUFFIX}")


def _cut(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _change(folder: Path) -> None:
    file = next(folder.rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _lose(folder: Path) -> None:
    next(folder.rglob("*.parquet")).unlink()


def _add(folder: Path) -> None:
    (folder / "more").write_text("x")


def _swap(folder: Path) -> None:
    """Every hash agrees, but a version does not read as recorded."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    victim, other = sorted(name for name in manifest["files"] if "target/part" in name)[:2]
    shutil.copy(folder / other, folder / victim)
    manifest["files"][victim] = manifest["files"][other]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", [_cut, _change, _lose, _add, _swap])
def test_when_a_backup_is_damaged_then_restore_says_so_and_leaves_nothing(
    settings: Settings, tmp_path: Path, damage: object
) -> None:
    backup(settings, tmp_path / "kept")
    damage(tmp_path / "kept")  # type: ignore[operator]
    with pytest.raises(BackupBroken):
        restore(tmp_path / "kept", tmp_path / "new", settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "kept"]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_when_an_archive_is_cut_off_then_restore_says_so(
    settings: Settings, tmp_path: Path, part: float
) -> None:
    archive = tmp_path / f"kept{SUFFIX}"
    backup(settings, archive)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BackupBroken):
        restore(archive, tmp_path / "new", settings)
    assert not (tmp_path / "new").exists()


def test_when_an_archive_names_a_file_outside_itself_then_nothing_is_written_there(
    settings: Settings, tmp_path: Path
) -> None:
    archive = tmp_path / f"evil{SUFFIX}"
    (tmp_path / "x").write_text("x")
    with (
        archive.open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        tar.add(tmp_path / "x", "../outside")
    with pytest.raises(BackupBroken, match="outside itself"):
        restore(archive, tmp_path / "new", settings)
    assert not (tmp_path / "outside").exists()


@pytest.mark.timeout(600)
def test_when_a_writer_runs_then_ten_of_ten_backups_restore_into_a_consistent_state(tmp_path: Path) -> None:
    book = CrashLedger(tmp_path / "data", seed=1)
    settings = Settings(data_dir=tmp_path / "data")
    dataset = book.begin()
    history = book.histories[dataset]
    states: list[int] = []
    with child_process("writer_host", tmp_path / "data") as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(f"{dataset} 0 0\n")
        pid = int(parent.stdout.readline().removeprefix("pid "))
        reader = threading.Thread(target=book.listen, args=(parent, pid, dataset))
        reader.start()
        for number in range(10):
            time.sleep(book.chance.uniform(0.0, 0.3))
            sure = len(history.acknowledged)
            done = backup(settings, tmp_path / f"{number}{SUFFIX}")
            assert done.unreadable == []
            assert done.versions >= sure
            states.append(done.versions)
        book.kill(pid)
        reader.join()
    assert states[-1] > states[0] + 5
    by_number = {version: operation for operation, (version, _) in history.acknowledged.items()}
    for number, versions in enumerate(states):
        target = tmp_path / f"new-{number}"
        assert restore(tmp_path / f"{number}{SUFFIX}", target, settings).versions == versions
        book.look_at(DataLayout(target))
        for version in {1, versions} & by_number.keys() & set(range(1, versions + 1)):
            assert history.faults(by_number[version], book.rows(dataset, version)) == []
    book.database.close()

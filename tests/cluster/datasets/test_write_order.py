"""Data first, on the disk and not only handed to it; then the record; then the answer."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.datasets import Datasets
from quantis.types.datasets import DatasetSpec

TEAM = "default"


def panel(days: int) -> pa.Table:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "unique_id": pa.array(["a"] * days, pa.string()),
            "ds": pa.array([first + timedelta(days=day) for day in range(days)], pa.timestamp("us", "UTC")),
            "y": pa.array([float(day % 7) for day in range(days)], pa.float64()),
        }
    )


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Every file and folder that was synced."""
    paths: set[Path] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        paths.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_when_the_record_is_written_then_every_file_and_folder_of_the_version_is_on_the_disk(
    tmp_path: Path, migrated_sqlite: Path, synced: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_layout = DataLayout(tmp_path / "data")
    data_layout.prepare()
    shutil.copy(migrated_sqlite, data_layout.database)
    database = Database(f"sqlite:///{data_layout.database}")
    catalogue = Catalogue(database, data_layout)
    catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="sales"))
    seen: list[set[Path]] = []
    real = Datasets.add_version

    def add_version(self: Datasets, *arguments: Any, **named: Any) -> Any:
        seen.append(set(synced))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Datasets, "add_version", add_version)
    known: set[Path] = set()
    for days in (60, 61):
        catalogue.ingest(TEAM, "ann", "sales", panel(days), "sales.csv")
        folder = data_layout.dataset(TEAM, "sales")
        written = set(folder.rglob("*.parquet")) | set(folder.rglob("*.json"))
        assert written - known
        for path in written - known:
            assert path in seen[-1]
            assert path.parent in seen[-1]
        known = written
    assert len(seen) == 2
    for made in (folder, *folder.parents[:4]):
        assert made in seen[0]
    database.close()

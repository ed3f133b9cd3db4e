"""Orphan sweeper: removes the files that a killed process left behind and that no version or job needs.

It runs once an hour in one of the API replicas. A file is an orphan only when it is older than the grace
time, because the files of a writer at work are in no version yet.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from cluster.data_layout import DataLayout
from cluster.database.dumps import registered_runs
from cluster.database.engine import Database
from cluster.repositories.inventory import Inventory, StoredDataset
from cluster.repositories.leases import Leases
from features.store import delta_files
from features.store.panel_store import PanelStore

GRACE = timedelta(hours=24)
EVERY = timedelta(hours=1)
_POLL_SECONDS = 60.0
_PRIVATE = re.compile(r"\..+\.\d+")
log = logging.getLogger("quantis.sweeper")


@dataclass(frozen=True)
class Orphan:
    """`kind`: deleted (of an object), data (of a table), upload, bundle, artifact (registry), training or temporary."""

    kind: str
    path: Path


class OrphanSweeper:
    def __init__(
        self,
        database: Database,
        data_layout: DataLayout,
        grace: timedelta = GRACE,
        remove_left_over: Callable[[], list[Path]] = list,
    ) -> None:
        """`remove_left_over` removes what is left of deleted objects; see `cluster.deletion`."""
        self._inventory = Inventory(database)
        self._leases = Leases(database)
        self._data_layout = data_layout
        self._grace = grace
        self._remove_left_over = remove_left_over
        self._holder = uuid.uuid4().hex
        self._stop = threading.Event()

    def run(self) -> None:
        """Sweep once an hour until `close`, in one replica of all; errors are logged and the next hour comes."""
        while not self._stop.wait(_POLL_SECONDS):
            try:
                if self._leases.take("sweeper", self._holder, EVERY - timedelta(seconds=_POLL_SECONDS)):
                    self.sweep()
                    self._stop.wait(EVERY.total_seconds())
            except Exception:
                log.exception("the sweep failed; the next one is in an hour")

    def close(self) -> None:
        self._stop.set()

    def find(self) -> list[Orphan]:
        """Return all present orphans. A folder that cannot be understood is left alone and logged."""
        orphans: list[Orphan] = []
        for dataset in self._inventory.datasets():
            orphans += self._find_or_log("data", partial(self._find_unneeded, dataset))
        return orphans + self._other_orphans()

    def sweep(self) -> list[Orphan]:
        """Remove and return all orphans; none while a backup is at work."""
        orphans: list[Orphan] = []
        with self._data_layout.removing_files() as alone:
            if alone:
                orphans += [Orphan("deleted", path) for path in self._remove_left_over()]
                for dataset in self._inventory.datasets():
                    orphans += self._find_or_log("data", partial(self._sweep_dataset, dataset))
                orphans += self._other_orphans()
                for orphan in orphans:
                    _remove(orphan.path)
        if orphans:
            log.info("swept %d orphans", len(orphans))
        return orphans

    def _other_orphans(self) -> list[Orphan]:
        """Return the orphans that are no part of a dataset."""
        finders = {
            "upload": self._uploads,
            "bundle": self._bundles,
            "artifact": self._artifacts,
            "training": self._training,
            "temporary": self._temporary,
        }
        return [orphan for kind, finder in finders.items() for orphan in self._find_or_log(kind, finder)]

    def _find_or_log(self, kind: str, finder: Callable[[float], list[Path]]) -> list[Orphan]:
        try:
            return [Orphan(kind, path) for path in finder(time.time() - self._grace.total_seconds())]
        except Exception:
            log.exception("the sweeper cannot tell what is needed of kind %r; it leaves that alone", kind)
            return []

    def _find_unneeded(self, dataset: StoredDataset, before: float) -> list[Path]:
        folder, pins = self._pinned_tables(dataset)
        before = min(before, time.time() - delta_files.retention_time(folder).total_seconds())
        return [
            path
            for table in delta_files.list_tables(folder)
            for path in delta_files.unreferenced_files(table, pins.get(table, []), before)
        ]

    def _sweep_dataset(self, dataset: StoredDataset, before: float) -> list[Path]:
        """Roll back records without a version and remove their files, while no writer is at work."""
        if not self._find_unneeded(dataset, before):
            return []
        folder = self._data_layout.dataset(dataset.team, dataset.name)
        with PanelStore(folder).write_lock():
            current = replace(dataset, versions=self._inventory.versions(dataset.team, dataset.name))
            files = self._find_unneeded(current, before)
            latest = delta_files.pinned_versions(folder, [version.pins for version in current.versions[-1:]])
            for table, (version,) in latest.items():
                if not set(files).isdisjoint(delta_files.data_files(table)):
                    delta_files.roll_back(table, version)
            for path in files:
                _remove(path)
        return files

    def _pinned_tables(self, dataset: StoredDataset) -> tuple[Path, dict[Path, list[int]]]:
        folder = self._data_layout.dataset(dataset.team, dataset.name)
        return folder, delta_files.pinned_versions(folder, [version.pins for version in dataset.versions])

    def _uploads(self, before: float) -> list[Path]:
        folders = self._data_layout.incoming.glob("*")
        return [path for path in folders if _newest(path) < before]

    def _training(self, before: float) -> list[Path]:
        if not self._data_layout.training.is_dir():
            return []
        live = self._inventory.live_jobs()
        folders = [path for path in self._data_layout.training.iterdir() if path.name not in live]
        return [path for path in folders if _newest(path) < before]

    def _bundles(self, before: float) -> list[Path]:
        """Return half-written bundles of running jobs and half downloads of the registry's cache."""
        folders = [
            *self._data_layout.training.glob("*/.*-*"),
            *(self._data_layout.root / "cache").glob("*/*/tmp*"),
        ]
        return [path for path in folders if path.is_dir() and _newest(path) < before]

    def _artifacts(self, before: float) -> list[Path]:
        """Return bundles that were copied into the registry and never became a version of a model."""
        if not self._data_layout.mlflow_database.exists():
            return []  # the registry is elsewhere
        bundles = list(self._data_layout.artifacts.glob("*/*/*/artifacts/bundle"))
        registered = registered_runs(self._data_layout.mlflow_database) if bundles else set()
        return [path for path in bundles if path.parents[1].name not in registered and _newest(path) < before]

    def _temporary(self, before: float) -> list[Path]:
        """Return files that a killed writer of secrets, features or backups left."""
        private = [
            path
            for folder in (self._data_layout.secrets, self._data_layout.run)
            if folder.is_dir()
            for path in folder.iterdir()
            if _PRIVATE.fullmatch(path.name)
        ]
        partial = self._data_layout.root.glob("teams/*/features/**/*.partial")
        unfinished = self._data_layout.root.glob("teams/*/vintages/.*.parquet")
        return [path for path in [*private, *partial, *unfinished] if _newest(path) < before]


def _newest(path: Path) -> float:
    """Return the time of the last write to a file or folder; infinity for what is gone."""
    times: list[float] = []
    for file in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        try:
            times.append(file.lstat().st_mtime)
        except FileNotFoundError:
            times.append(float("inf"))
    return max(times)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

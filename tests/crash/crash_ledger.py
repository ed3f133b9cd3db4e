"""What every crash test of datasets has: who was tried and acknowledged, and what is wrong in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.orphan_sweeper import OrphanSweeper
from features.store import delta_files
from features.store.as_of import ranks
from features.store.content_hash import ContentSums
from features.store.panel_store import GROUPS, VersionPins
from tests.crash.blocks import OPERATIONS, Fault, History, spec

ROOT = Path(__file__).resolve().parents[2]
TEAM = "default"
KEYS = {**GROUPS, "deleted": ("unique_id",)}


class Counts(NamedTuple):
    """What a crash run did and found."""

    kills: int
    writes: int
    acknowledged: int
    swept: int
    lost: int
    torn: int
    doubled: int
    orphans: int

    def __add__(self, other: Counts) -> Counts:  # type: ignore[override]
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self._asdict().items())


def files_by_version(table: Path) -> list[frozenset[Path]]:
    """The data files that each version of a table reads, told from the table's log alone."""
    files: frozenset[Path] = frozenset()
    versions = []
    for commit in sorted((table / delta_files.LOG).glob("*.json")):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        files -= {table / action["remove"]["path"] for action in actions if "remove" in action}
        files |= {table / action["add"]["path"] for action in actions if "add" in action}
        versions.append(files)
    return versions


@contextmanager
def child_process(module: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that brings up the ones to be killed; it ends with its input."""
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.crash.{module}", str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        yield process
        assert process.stdin is not None
        process.stdin.close()


class CrashLedger:
    """A data folder, and what was tried and acknowledged in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.histories: dict[str, History] = {}
        self.kills = self.swept = 0
        self.look_at(DataLayout(folder))
        self.database.migrate()

    def look_at(self, data_layout: DataLayout) -> None:
        """Read from this data folder from now on."""
        data_layout.prepare()
        self.data_layout = data_layout
        self.database = Database(f"sqlite:///{data_layout.database}")
        self.catalogue = Catalogue(self.database, data_layout)

    @property
    def tried(self) -> int:
        return sum(len(history.tried) for history in self.histories.values())

    @property
    def acknowledged(self) -> int:
        return sum(len(history.acknowledged) for history in self.histories.values())

    def begin(self) -> str:
        """A new dataset."""
        name = f"d{len(self.histories):04d}"
        self.catalogue.datasets.create(TEAM, "ann", spec(name))
        self.histories[name] = History()
        return name

    def next_operation(self, name: str) -> int | None:
        """What a dataset's client does next: often once more what is not acknowledged; None when it is done."""
        history = self.histories[name]
        last = max(history.tried, default=-1)
        if last >= 0 and last not in history.acknowledged and self.chance.random() < 0.5:
            return last
        return last + 1 if last + 1 < OPERATIONS else None

    def listen(self, parent: subprocess.Popen[str], pid: int, name: str) -> None:
        """Note what a writer says until it is gone."""
        assert parent.stdout is not None
        history = self.histories[name]
        for line in iter(parent.stdout.readline, f"end {pid}\n"):
            what, *words = line.split()
            assert what in ("try", "ack"), line
            if what == "try":
                history.tried.append(int(words[0]))
            else:
                history.acknowledged[int(words[0])] = (int(words[1]), words[2])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.kills += 1

    def counts(self, faults: list[Fault]) -> Counts:
        found = Counter(fault.kind for fault in faults)
        return Counts(
            kills=self.kills, writes=self.tried, acknowledged=self.acknowledged, swept=self.swept,
            lost=found["lost"], torn=found["torn"], doubled=found["doubled"], orphans=found["orphan"],
        )  # fmt: skip

    def faults(self) -> list[Fault]:
        """Everything that is lost, torn, doubled or left over, after one sweep."""
        sweeper = OrphanSweeper(self.database, self.data_layout, grace=timedelta(0))
        self.swept += len(sweeper.sweep())
        found = [Fault("orphan", str(orphan.path)) for orphan in sweeper.find()]
        for name, history in self.histories.items():
            self.catalogue = Catalogue(self.database, self.data_layout)  # one keeps open what it has read
            found += [Fault(kind, f"{name}: {what}") for kind, what in self._dataset_faults(name, history)]
        return found

    def _dataset_faults(self, name: str, history: History) -> list[Fault]:
        hashes = {v.number: v.content_hash for v in self.catalogue.datasets.versions(TEAM, name)}
        numbers = Counter(number for number, _ in history.acknowledged.values())
        found = [
            Fault("doubled", f"version {number} acknowledged twice") for number, n in numbers.items() if n > 1
        ]
        if len(hashes) > len(set(history.tried)):
            found.append(Fault("doubled", f"{len(hashes)} versions of {len(set(history.tried))} writes"))
        for operation, (number, content_hash) in history.acknowledged.items():
            if hashes.get(number) != content_hash:
                found.append(
                    Fault("lost", f"version {number} of operation {operation} is not as acknowledged")
                )
        found += self._torn(name)
        for operation in self._read_in_full(history):
            found += history.faults(operation, self.rows(name, history.acknowledged[operation][0]))
        return found + self._doubled(name)

    def _torn(self, name: str) -> list[Fault]:
        """Versions whose content, taken anew from the files that the tables' logs name, is not as recorded."""
        tables = {path.name: path for path in delta_files.list_tables(self.data_layout.dataset(TEAM, name))}
        files = {group: files_by_version(table) for group, table in tables.items()}
        read = cache(pq.read_table)
        found = []
        for one in self.catalogue.datasets.all_versions(TEAM, name):
            pins, content = VersionPins.from_json(one.pins), ContentSums.empty()
            for group, version in pins.versions().items():
                parts = [read(path) for path in files[group][version]]
                records = (
                    pa.concat_tables(parts, promote_options="default") if parts else pa.table({"ds": []})
                )
                if records.num_rows:
                    content = content.plus(group, records, ranks(records, KEYS[group]))
            if content.digest() != one.version.content_hash:
                found.append(Fault("torn", f"{name} version {one.version.number} has other content"))
        return found

    def _read_in_full(self, history: History) -> list[int]:
        """The last acknowledged operation and one in eight are read as users read, row by row."""
        last = max(history.acknowledged, default=None)
        return [one for one in history.acknowledged if one == last or self.chance.random() < 0.125]

    def rows(self, name: str, number: int) -> list[tuple[str, datetime, float, float]]:
        opened = self.catalogue.open(TEAM, name, number)
        panel = opened.panel(datetime.now(UTC))
        both = panel.target.join(panel.future, ["unique_id", "ds"], join_type="full outer")
        return [(row["unique_id"], row["ds"], row["y"], row["price"]) for row in both.to_pylist()]

    def _doubled(self, name: str) -> list[Fault]:
        """Records that are stored twice, whatever the reader makes of them."""
        if not self.catalogue.datasets.versions(TEAM, name):
            return []  # a first write that died: its files are gone, its commit reads nothing
        found = []
        for table in delta_files.list_tables(self.data_layout.dataset(TEAM, name)):
            records = pa.concat_tables(pq.read_table(path) for path in delta_files.data_files(table))
            columns = [column for column in records.column_names if column not in ("recorded_at", "known_at")]
            rows = Counter(tuple(row.values()) for row in records.select(columns).to_pylist())
            found += [
                Fault("doubled", f"{table.name}: {row} is stored {count} times")
                for row, count in rows.items()
                if count > 1
            ]
        return found

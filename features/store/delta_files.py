"""Which files the tables of a stored dataset are made of: for backups, and to find what nobody needs.

A file of a Delta table never changes once it has its name, so a list of names is a snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable

from quantis.files import sync_file, sync_folder

LOG = "_delta_log"
RETENTION = ".retention"
_NEW_FOLDERS = 6  # table, dataset, datasets, team, teams, root: a first write makes them
_VERSIONED = re.compile(r"(\d{20})\.(json|checkpoint\..*parquet|checkpoint\.parquet)")


def list_tables(folder: Path) -> list[Path]:
    """The Delta tables of a dataset's folder, with those whose first write never ended."""
    return sorted(path for path in folder.glob("*") if path.is_dir())


def data_files(table: Path, version: int | None = None) -> set[Path]:
    """The data files that a version reads, the latest when none is named."""
    return {_local(uri) for uri in DeltaTable(str(table), version=version).file_uris()}


def latest_version(table: Path) -> int | None:
    """The newest commit of a table; None before the first."""
    return int(DeltaTable(str(table)).version()) if DeltaTable.is_deltatable(str(table)) else None


def log_files(table: Path, version: int) -> set[Path]:
    """The commits and checkpoints that are needed to read a version and those before it."""
    found = {path: _VERSIONED.fullmatch(path.name) for path in (table / LOG).iterdir()}
    return {path for path, match in found.items() if match and int(match[1]) <= version}


def pinned_versions(folder: Path, pins: Iterable[Mapping[str, Any]]) -> dict[Path, list[int]]:
    """The pinned versions of each table of a dataset, ascending."""
    found: dict[Path, set[int]] = {}
    for one in pins:
        for group, version in one.items():
            if isinstance(version, int) and not isinstance(version, bool) and (folder / group).is_dir():
                found.setdefault(folder / group, set()).add(version)
    return {table: sorted(versions) for table, versions in found.items()}


def set_retention_time(folder: Path, time: timedelta) -> None:
    """Have files of a dataset that no version reads any more stay for a time, for whoever has them open."""
    (folder / RETENTION).write_text(str(time.total_seconds()))


def retention_time(folder: Path) -> timedelta:
    """For how long they stay; no time unless somebody said so."""
    try:
        return timedelta(seconds=float((folder / RETENTION).read_text()))
    except (FileNotFoundError, ValueError):
        return timedelta(0)


def unreferenced_files(table: Path, versions: Sequence[int], before: float) -> list[Path]:
    """Files last written before a time (seconds since 1970) that no pinned version reads.

    They were half written, or their commit was never recorded. Younger ones are left out, with all that
    the latest commit reads while any of it is young: a writer at work has files that no version names
    yet. An error to read any version is raised, since then nothing is known.
    """
    staged = {path for path in (table / LOG).glob("*") if _is_staged(path)}
    data = {path for path in table.rglob("*.parquet*") if LOG not in path.parts}
    old = {path for path in staged | data if _written(path) < before}
    later: int | None = None
    for version in sorted(versions, reverse=True):
        if old - staged and (later is None or _removed_any(table, version, later)):
            old -= data_files(table, version)
        later = version
    if old - staged and latest_version(table) is not None:
        latest = data_files(table)
        if any(_written(path) >= before for path in latest):
            old -= latest
    return sorted(old)


def roll_back(table: Path, version: int) -> bool:
    """Make the latest commit read what a pinned version reads; false when it does already.

    Only for one who knows that no writer is at work.
    """
    if data_files(table) == data_files(table, version):
        return False
    found = DeltaTable(str(table))
    found.restore(version)
    sync_commits(table, int(found.version()), version)
    return True


def sync_commits(table: Path, version: int, since: int | None) -> None:
    """Have the disk keep what the commits after `since` (None: all) up to `version` added.

    The library that writes Delta tables syncs nothing: without this a power cut can take what the
    database already promises.
    """
    commits = [table / LOG / f"{number:020d}.json" for number in range(_after(since), version + 1)]
    data: set[Path] = set()
    for commit in commits:
        data = _changed(commit, table, data)
    checkpoints = [path for commit in commits for path in (table / LOG).glob(f"{commit.stem}.checkpoint*")]
    pointer = table / LOG / "_last_checkpoint"  # not there when its writer died just before it
    for path in (*data, *commits, *checkpoints, *([pointer] if pointer.exists() else [])):
        sync_file(path)
    sync_folder(table / LOG)
    for folder in (table, *table.parents)[: 1 if since is not None else _NEW_FOLDERS]:
        sync_folder(folder)


def _after(since: int | None) -> int:
    return 0 if since is None else since + 1


def _changed(commit: Path, table: Path, before: set[Path]) -> set[Path]:
    """The data files that are there after a commit, of those that were added since a version."""
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    added = {table / unquote(action["add"]["path"]) for action in actions if "add" in action}
    removed = {table / unquote(action["remove"]["path"]) for action in actions if "remove" in action}
    return (before - removed) | added


def _removed_any(table: Path, after: int, to: int) -> bool:
    """Whether a commit after one version up to another took a file away, or cannot be read any more."""
    commits = [table / LOG / f"{number:020d}.json" for number in range(after + 1, to + 1)]
    return any(not commit.exists() or '{"remove"' in commit.read_text() for commit in commits)


def _is_staged(path: Path) -> bool:
    """Whether a file of the log was left by a writer that died before its commit had a name."""
    return path.is_file() and ("#" in path.name or path.name.endswith(".tmp"))


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # gone meanwhile
        return float("inf")


def _local(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)

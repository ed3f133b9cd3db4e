"""The files of a stored dataset's tables: for backups, and to find those that no version reads.

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
    """Return the Delta tables of a dataset's folder, with those whose first write never ended."""
    return sorted(path for path in folder.glob("*") if path.is_dir())


def data_files(table: Path, version: int | None = None) -> set[Path]:
    """Return the data files that a version reads, the latest when none is named."""
    return {_local_path(uri) for uri in DeltaTable(str(table), version=version).file_uris()}


def latest_version(table: Path) -> int | None:
    """Return the newest commit of a table; None before the first."""
    return int(DeltaTable(str(table)).version()) if DeltaTable.is_deltatable(str(table)) else None


def log_files(table: Path, version: int) -> set[Path]:
    """Return the commits and checkpoints that are needed to read a version and those before it."""
    matches = {path: _VERSIONED.fullmatch(path.name) for path in (table / LOG).iterdir()}
    return {path for path, match in matches.items() if match and int(match[1]) <= version}


def pinned_versions(folder: Path, pins: Iterable[Mapping[str, Any]]) -> dict[Path, list[int]]:
    """Return the pinned versions of each table of a dataset, ascending."""
    by_table: dict[Path, set[int]] = {}
    for version_pins in pins:
        for group, version in version_pins.items():
            is_version = isinstance(version, int) and not isinstance(version, bool)
            if is_version and (folder / group).is_dir():
                by_table.setdefault(folder / group, set()).add(version)
    return {table: sorted(versions) for table, versions in by_table.items()}


def set_retention_time(folder: Path, time: timedelta) -> None:
    """Keep files of a dataset that no version reads any more for a time, for readers that have them open."""
    (folder / RETENTION).write_text(str(time.total_seconds()))


def retention_time(folder: Path) -> timedelta:
    """Return the time that such files stay; zero when none was set."""
    try:
        return timedelta(seconds=float((folder / RETENTION).read_text()))
    except (FileNotFoundError, ValueError):
        return timedelta(0)


def unreferenced_files(table: Path, versions: Sequence[int], before: float) -> list[Path]:
    """Return files last written before a time (seconds since 1970) that no pinned version reads.

    They were half written, or their commit was never recorded. Younger ones are left out, with all that
    the latest commit reads while any of it is young: a writer at work has files that no version names
    yet. An error in reading any version is raised, since its files are then unknown.
    """
    staged = {path for path in (table / LOG).glob("*") if _is_staged(path)}
    data = {path for path in table.rglob("*.parquet*") if LOG not in path.parts}
    old = {path for path in staged | data if _modified(path) < before}
    later: int | None = None
    for version in sorted(versions, reverse=True):
        if old - staged and (later is None or _removed_any(table, version, later)):
            old -= data_files(table, version)
        later = version
    if old - staged and latest_version(table) is not None:
        latest = data_files(table)
        if any(_modified(path) >= before for path in latest):
            old -= latest
    return sorted(old)


def roll_back(table: Path, version: int) -> bool:
    """Make the latest commit read what a pinned version reads; False when it does already.

    The caller makes sure that no writer is at work.
    """
    if data_files(table) == data_files(table, version):
        return False
    delta_table = DeltaTable(str(table))
    delta_table.restore(version)
    sync_commits(table, int(delta_table.version()), version)
    return True


def remove_commits(table: Path, before: int) -> None:
    """Remove the commits before a version, which has a checkpoint; earlier versions cannot be read any more."""
    for path in (table / LOG).iterdir():
        if path.name[:20].isdigit() and int(path.name[:20]) < before:
            path.unlink(missing_ok=True)
    sync_folder(table / LOG)


def sync_commits(table: Path, version: int, since: int | None) -> None:
    """Wait until the disk has what the commits after `since` (None: all) up to `version` added.

    The library that writes Delta tables syncs nothing: without this a power cut can take what the
    database already promises.
    """
    first = 0 if since is None else since + 1
    commits = [table / LOG / f"{number:020d}.json" for number in range(first, version + 1)]
    data: set[Path] = set()
    for commit in commits:
        data = _apply_commit(commit, table, data)
    checkpoints = [path for commit in commits for path in (table / LOG).glob(f"{commit.stem}.checkpoint*")]
    pointer = table / LOG / "_last_checkpoint"  # not there when its writer died just before it
    for path in (*data, *commits, *checkpoints, *([pointer] if pointer.exists() else [])):
        sync_file(path)
    sync_folder(table / LOG)
    for folder in (table, *table.parents)[: 1 if since is not None else _NEW_FOLDERS]:
        sync_folder(folder)


def _apply_commit(commit: Path, table: Path, before: set[Path]) -> set[Path]:
    """Return `before`, data files added by earlier commits, with what a commit adds and removes."""
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    added = {table / unquote(action["add"]["path"]) for action in actions if "add" in action}
    removed = {table / unquote(action["remove"]["path"]) for action in actions if "remove" in action}
    return (before - removed) | added


def _removed_any(table: Path, after: int, to: int) -> bool:
    """Return True if a commit after one version up to another removed a file, or is gone."""
    commits = [table / LOG / f"{number:020d}.json" for number in range(after + 1, to + 1)]
    return any(not commit.exists() or '{"remove"' in commit.read_text() for commit in commits)


def _is_staged(path: Path) -> bool:
    """Return True for a file of the log left by a writer that died before its commit had a name."""
    return path.is_file() and ("#" in path.name or path.name.endswith(".tmp"))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # gone meanwhile
        return float("inf")


def _local_path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)

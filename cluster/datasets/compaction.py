"""Compaction: few sorted files instead of many, the same records; and the purge of deleted series.

The tables are rewritten, then every version is pinned to the rewritten ones in one transaction, bounded by the
time of its last record. Before that nothing has changed; afterwards the files that no version reads stay for
a retention time, or are removed at once when series were purged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cluster.data_layout import DataLayout
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.datasets import PinnedVersion, RewrittenVersion
from features.store import delta_files
from features.store.as_of import datetime_epoch_us
from features.store.content_hash import ContentSums
from features.store.panel_store import PanelStore, VersionPins
from quantis.errors import Conflict, NotFound, Unavailable
from quantis.files import sync_folder

PURGING = ".purging"
"""A file that says: versions moved already, the old files have yet to go."""


@dataclass(frozen=True)
class CompactionResult:
    """Counts of a compaction: versions, files, purged series, removed files."""

    versions: int
    files_before: int
    files_after: int
    purged: int
    removed: int


def compact(
    catalogue: Catalogue,
    data_layout: DataLayout,
    team: str,
    name: str,
    *,
    retention: timedelta,
    purge_after: timedelta,
) -> CompactionResult:
    """Compact a dataset; writers wait meanwhile, readers do not.

    Series that have been deleted for `purge_after` are removed from every version and every file.
    Conflict when a writer elsewhere was faster, or a backup keeps the files of a purge.
    """
    store, now = catalogue.store(team, name), datetime.now(UTC)
    with store.write_lock():
        versions = catalogue.datasets.all_versions(team, name)
        if not versions:
            raise NotFound(f"dataset {name!r} has no version yet; there is nothing to compact")
        old = VersionPins.from_json(versions[-1].pins)
        before = store.file_count(old)
        purged = store.deleted_series(old, now - purge_after)
        if purged:
            (store.folder / PURGING).touch()
            sync_folder(store.folder)
        delta_files.set_retention_time(store.folder, retention)
        new = store.rewrite(old, purged)
        rewritten = {
            version.version.number: _repin_version(store, version, new, purged, now) for version in versions
        }
        _check(store, versions, rewritten)
        catalogue.datasets.repin(team, name, rewritten, versions[-1], purged)
        pins = [VersionPins.from_json(version.pins) for version in rewritten.values()]
        removed = _remove(store, data_layout, pins, retention)
    return CompactionResult(len(versions), before, store.file_count(new), len(purged), removed)


def _repin_version(
    store: PanelStore, pinned: PinnedVersion, new: VersionPins, purged: Sequence[str], now: datetime
) -> RewrittenVersion:
    """Return a version pinned to the rewritten tables, counted again when it had purged series."""
    old, version = VersionPins.from_json(pinned.pins), pinned.version
    versions = {group: new.versions()[group] for group in old.versions()}
    pins = VersionPins(**versions, recorded_to=datetime_epoch_us(store.recorded_to(old)))
    hit = bool(purged) and store.has_records(old, purged)
    content = ContentSums.from_json(pinned.content) if pinned.content and not hit else store.content(pins)
    counts = {name: getattr(version, name) for name in ("rows", "series", "first_ds", "last_ds")}
    if hit:
        counts |= store.summarize(pins) or {"rows": 0, "series": 0}
    return RewrittenVersion(
        pins=pins.to_json(),
        content_hash=content.digest() if hit else version.content_hash,
        content=content.to_json(),
        purged_at=now if hit else None,
        **counts,
    )


def _check(
    store: PanelStore, versions: Sequence[PinnedVersion], moved: Mapping[int, RewrittenVersion]
) -> None:
    """Raise Unavailable unless every version has all its records, and the latest one the same content."""
    latest = moved[versions[-1].version.number]
    content = store.content(VersionPins.from_json(latest.pins))
    if content.digest() != ContentSums.from_json(latest.content).digest():
        raise Unavailable(
            "the rewritten tables do not hold what they held; nothing was changed, look at the disk"
        )
    for rewritten in moved.values():
        counts = store.record_counts(VersionPins.from_json(rewritten.pins))
        if any(counts[group] != sums[0] for group, sums in rewritten.content.items()):
            raise Unavailable("a version would lose records by this compaction; nothing was changed")


def _remove(
    store: PanelStore, data_layout: DataLayout, pins: Sequence[VersionPins], retention: timedelta
) -> int:
    """Remove the files that no version reads, all of them after a purge; return their number."""
    marker = store.folder / PURGING
    with data_layout.removing_files() as alone:
        if not alone and marker.exists():
            raise Conflict("a backup keeps the files of purged series; run the job again when it is done")
        if not alone:
            return 0
        if marker.exists():
            removed = sum(
                store.tables[group].vacuum(version) for group, version in pins[-1].versions().items()
            )
            marker.unlink()
            return removed
        before = datetime.now(UTC) - retention
        by_table = delta_files.pinned_versions(store.folder, [item.to_json() for item in pins])
        unneeded = [
            path
            for table, versions in by_table.items()
            for path in delta_files.unreferenced_files(table, versions, before.timestamp())
        ]
        for path in unneeded:
            path.unlink(missing_ok=True)
        return len(unneeded)

"""Datasets: declaration and versions from the database, records from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.repositories.datasets import Datasets, NewVersion, PinnedVersion
from features.store.append import AppendedRecords
from features.store.content_hash import ContentSums
from features.store.panel_store import PanelStore, VersionPins, WriteResult
from features.store.record_filter import UNBOUNDED, Bounds
from features.store.stored_grid import stored_spans
from quantis.errors import Conflict, InvalidInput, NotFound, RejectedPanel
from quantis.frequency import INTEGER, Frequency
from quantis.panel import DS, ID, Panel, Task, times_of
from quantis.types.base import END_TIMESTAMP
from quantis.types.datasets import CheckReport, DatasetSpec, DatasetVersion, UploadResult, VersionAction
from quantis.types.findings import Finding
from quantis.types.forecasts import DatasetRef
from quantis.types.observations import AppendResult
from quantis.validation.covariate_rules import RowsAhead, check_steps_ahead
from quantis.validation.findings import Findings
from quantis.validation.frequency_rules import check_grid_of_stored
from quantis.validation.panel_check import check_panel
from quantis.validation.time_rules import check_appended

_FINDINGS = 200  # that are kept with a version
_ATTEMPTS = 4  # of a write whose base another writer has changed

Change = Callable[[PanelStore, VersionPins | None, datetime], WriteResult]


@dataclass(frozen=True)
class OpenDataset:
    """A pinned version: whatever is written later, it reads the same."""

    spec: DatasetSpec
    version: DatasetVersion
    store: PanelStore
    pins: VersionPins

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef(name=self.version.dataset, version=self.version.number)

    def panel(self, as_of: datetime, bounds: Bounds = UNBOUNDED) -> Panel:
        return self.store.read(self.pins, as_of=as_of, bounds=bounds)

    def task(self, as_of: datetime, h: int, quantiles: tuple[float, ...]) -> Task:
        """Return the experiment on this version as of a time."""
        return Task(
            dataset=self.spec.name,
            version=self.version.number,
            content_hash=self.version.content_hash,
            as_of=as_of,
            freq=self.version.freq,
            h=h,
            quantiles=quantiles,
            roles=self.spec.roles,
            time_zone=self.spec.time_zone,
            holidays=self.spec.holidays,
            season_lengths=Frequency.parse(self.version.freq).season_lengths,
        )


class Catalogue:
    def __init__(self, database: Database, data_layout: DataLayout) -> None:
        self.datasets = Datasets(database)
        self._data_layout = data_layout
        self._stores: dict[tuple[str, str], PanelStore] = {}

    def open(self, team: str, name: str, number: int | None = None) -> OpenDataset:
        """Return a version of a dataset, the latest without a number."""
        pinned = self.datasets.version(team, name, number)
        return OpenDataset(
            pinned.spec, pinned.version, self.store(team, name), VersionPins.from_json(pinned.pins)
        )

    def ingest(self, team: str, user: str, name: str, table: pa.Table, file: str) -> UploadResult:
        """Check a table and add it as a version; the same content again gives the version that is there.

        RejectedPanel, with its findings, when the panel breaks its contract: nothing is stored then.
        """
        report, panel = check_panel(table, self.declared_spec(team, name), file=file)
        return self.add(team, user, name, report, panel)

    def declared_spec(self, team: str, name: str) -> DatasetSpec:
        """Return the owner's declaration; NotFound without a dataset of this name."""
        dataset = self.datasets.get(team, name)
        return DatasetSpec.model_validate(dataset.model_dump(include=set(DatasetSpec.model_fields)))

    def add(self, team: str, user: str, name: str, report: CheckReport, panel: Panel | None) -> UploadResult:
        """Add a panel that was checked against the declaration; RejectedPanel when there is none."""
        if panel is None:
            raise RejectedPanel(f"{report.file} was rejected; nothing was stored", report.findings)
        spec = self.declared_spec(team, name)
        freq = report.freq or spec.freq or "D"  # the report knows the anchor, too
        change = _panel_writer(panel, spec, report.file, live=False, freq=freq)
        stored_report = report.model_copy(update={"findings": report.findings[:_FINDINGS]}).model_dump(
            mode="json"
        )
        created, version = self._commit(
            team, user, name, VersionAction.upload, change, freq=freq, report=stored_report
        )
        pa.default_memory_pool().release_unused()  # what a large panel took is for others now
        return UploadResult(created=created, version=version, report=report)

    def add_many(
        self, team: str, user: str, name: str, panels: Callable[[], Iterator[tuple[str, Panel]]], freq: str
    ) -> tuple[bool, DatasetVersion]:
        """Add checked panels one after the other as one version; return whether it is new, and the version.

        Each comes with the name of its file. Only one of them is in memory at a time. `panels` is called again when a
        write is repeated.
        """
        spec = self.declared_spec(team, name)

        def change(store: PanelStore, after: VersionPins | None, now: datetime) -> WriteResult:
            added: dict[str, AppendedRecords] = {}
            for file, panel in panels():
                written = _panel_writer(panel, spec, file, live=False, freq=freq)(store, after, now)
                after = written.pins
                for group, records in written.added.items():
                    added[group] = added[group].merge(records) if group in added else records
            if after is None:
                raise InvalidInput("there was nothing to add; give files with rows")
            return WriteResult(after, added)

        return self._commit(team, user, name, VersionAction.upload, change, freq=freq)

    def append(self, team: str, user: str, name: str, panel: Panel) -> AppendResult:
        """Add live values: those without `known_at` are known from now on; absent rows stay as they are."""
        spec = self.declared_spec(team, name)
        if spec.freq is None:
            raise InvalidInput(
                f"the frequency of dataset {name!r} is not known yet; declare it, or upload a file first"
            )
        change = _panel_writer(panel, spec, "the observations", live=True)
        created, version = self._commit(team, user, name, VersionAction.append, change, freq=spec.freq)
        is_dated = Frequency.parse(spec.freq).unit != INTEGER
        findings = check_appended(panel.target, datetime.now(UTC)) if is_dated else Findings()
        self._check_future(team, name, panel, findings)
        return AppendResult(created=created, version=version, findings=findings.to_list())

    def check_grid(self, team: str, name: str, report: CheckReport, panel: Panel | None) -> CheckReport:
        """Return the report of a file with the findings against the stored series, as an upload would have them."""
        pinned = self.datasets.latest_version(team, name)
        if pinned is None or panel is None:
            return report
        pins = VersionPins.from_json(pinned.pins)
        findings = _grid_findings(self.store(team, name), pins, panel, pinned.version.freq)
        if not findings:
            return report
        return report.model_copy(update={"outcome": "reject", "findings": [*findings, *report.findings]})

    def _check_future(self, team: str, name: str, panel: Panel, findings: Findings) -> None:
        """Report steps known in advance that have no row between the last observed one and those of a panel."""
        if panel.future.num_rows == 0:
            return
        dataset = self.open(team, name)
        spans = stored_spans(
            dataset.store, dataset.pins, Panel(panel.future, panel.future.slice(0, 0), panel.static)
        )
        if spans.num_rows == 0:
            return
        bounds = Bounds(series=spans[ID].to_pylist(), start=pc.min(spans["last_ds"]).as_py())
        future = dataset.panel(END_TIMESTAMP, bounds).future
        future_rows = RowsAhead(
            names=spans[ID].combine_chunks(),
            last_observed=times_of(spans["last_ds"]),
            series=pc.index_in(future[ID], value_set=spans[ID].combine_chunks()).to_numpy(),
            times=times_of(future[DS]),
        )
        check_steps_ahead(future_rows, Frequency.parse(dataset.version.freq), findings)

    def delete_series(self, team: str, user: str, name: str, series: str) -> DatasetVersion:
        """Delete a series from now on; reads as of before still see it, until it is purged."""

        def change(store: PanelStore, after: VersionPins | None, now: datetime) -> WriteResult:
            if after is None or store.deleted_at(after, series) or not store.has_records(after, [series]):
                raise NotFound(f"dataset {name!r} has no series {series[:80]!r}; nothing was deleted")
            return store.set_deleted(series, True, after=after, recorded_at=now)

        return self._commit(team, user, name, VersionAction.delete, change)[1]

    def restore_series(self, team: str, user: str, name: str, series: str) -> DatasetVersion:
        """Undo a deletion from now on."""

        def change(store: PanelStore, after: VersionPins | None, now: datetime) -> WriteResult:
            if after is None or store.deleted_at(after, series) is None:
                raise NotFound(f"series {series[:80]!r} of dataset {name!r} is not deleted, or is purged")
            return store.set_deleted(series, False, after=after, recorded_at=now)

        return self._commit(team, user, name, VersionAction.restore, change)[1]

    def store(self, team: str, name: str) -> PanelStore:
        key = (team, name)
        if key not in self._stores:
            self._stores[key] = PanelStore(self._data_layout.dataset(team, name))
        return self._stores[key]

    def _commit(
        self,
        team: str,
        user: str,
        name: str,
        action: VersionAction,
        change: Change,
        *,
        freq: str = "D",
        report: dict[str, Any] | None = None,
    ) -> tuple[bool, DatasetVersion]:
        """Write after the latest version and record the new one: the record is the commit.

        Records that a killed writer left in the tables are in no version, so the write rolls them back. When
        another writer was faster, the write is repeated on top of it; Conflict after several attempts.
        """
        store = self.store(team, name)
        for attempt in range(_ATTEMPTS):
            try:
                with store.write_lock():
                    base = self.datasets.latest_version(team, name)
                    after = VersionPins.from_json(base.pins) if base else None
                    written = change(store, after, datetime.now(UTC))
                    if base is not None and written.pins == after:
                        return False, base.version
                    new = replace(_version_record(store, written, base, action, freq), report=report)
                    return True, self.datasets.add_version(team, name, user, new, base)
            except Conflict:
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt raises or returns")


def _panel_writer(panel: Panel, spec: DatasetSpec, source: str, *, live: bool, freq: str = "D") -> Change:
    """Return a change that writes a panel; RejectedPanel when it is not on the grid of the stored series."""

    def change(store: PanelStore, after: VersionPins | None, now: datetime) -> WriteResult:
        lag = spec.publication_lag
        is_checked = (
            after is None and not live
        )  # the times of a file are held against each other by its own check
        findings = [] if is_checked else _grid_findings(store, after, panel, spec.freq or freq)
        if findings:
            message = f"{source} was rejected; nothing was stored: {findings[0].message}"
            raise RejectedPanel(message, findings)
        return store.write(panel, after=after, recorded_at=now, publication_lag=lag, live=live)

    return change


def _grid_findings(store: PanelStore, pins: VersionPins | None, panel: Panel, freq: str) -> list[Finding]:
    """Return the findings of a panel's times against the grid of the stored series."""
    findings = Findings()
    check_grid_of_stored(panel, stored_spans(store, pins, panel), Frequency.parse(freq), findings)
    return findings.to_list()


def _version_record(
    store: PanelStore, written: WriteResult, base: PinnedVersion | None, action: VersionAction, freq: str
) -> NewVersion:
    """Return the record of a new version, computed from its parent's and from the added records alone."""
    content = written.content_after(_content(store, base))
    counts = (
        _count_again(store, written, base) if "deleted" in written.added else _extended_counts(written, base)
    )
    return NewVersion(
        content_hash=content.digest(),
        pins=written.pins.to_json(),
        content=content.to_json(),
        columns=store.columns(written.pins),
        action=action,
        freq=base.version.freq if base else freq,
        **counts,
    )


def _content(store: PanelStore, base: PinnedVersion | None) -> ContentSums:
    if base is None:
        return ContentSums.empty()
    return (
        ContentSums.from_json(base.content)
        if base.content
        else store.content(VersionPins.from_json(base.pins))
    )


def _extended_counts(written: WriteResult, base: PinnedVersion | None) -> dict[str, Any]:
    target, static = (written.added.get(group, AppendedRecords(0)) for group in ("target", "static"))
    times = [time for time in (target.first_ds, target.last_ds) if time is not None]
    times += [base.version.first_ds, base.version.last_ds] if base else []
    return {
        "rows": target.new_keys + (base.version.rows if base else 0),
        "series": static.new_keys + (base.version.series if base else 0),
        "first_ds": min(times),
        "last_ds": max(times),
    }


def _count_again(store: PanelStore, written: WriteResult, base: PinnedVersion | None) -> dict[str, Any]:
    """Count everything again, after a deletion or a restoration."""
    assert base is not None
    return store.summarize(written.pins) or {
        "rows": 0,
        "series": 0,
        "first_ds": base.version.first_ds,
        "last_ds": base.version.last_ds,
    }

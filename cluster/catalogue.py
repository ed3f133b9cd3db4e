"""Datasets as a whole: the declaration and versions from the database, the records from the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from cluster.database.engine import Database
from cluster.repositories.datasets import Datasets, NewVersion
from cluster.storage import Storage
from features.store import PanelStore, Pins
from quantis.check import check_panel
from quantis.errors import RejectedPanel
from quantis.frequency import Frequency
from quantis.panel import ID, Panel, Task
from quantis.types.datasets import CheckReport, DatasetSpec, DatasetVersion, UploadResult
from quantis.types.forecasts import DatasetRef


@dataclass(frozen=True)
class OpenDataset:
    """One pinned version: whatever is written later, it reads the same."""

    spec: DatasetSpec
    version: DatasetVersion
    store: PanelStore
    pins: Pins

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef(name=self.version.dataset, version=self.version.number)

    def panel(self, as_of: datetime, **bounds: object) -> Panel:
        return self.store.read(self.pins, as_of=as_of, **bounds)  # type: ignore[arg-type]

    def task(self, as_of: datetime, h: int, quantiles: tuple[float, ...]) -> Task:
        """The experiment on this version as of a time."""
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
    def __init__(self, database: Database, storage: Storage) -> None:
        self.datasets = Datasets(database)
        self._storage = storage
        self._stores: dict[tuple[str, str], PanelStore] = {}

    def open(self, team: str, name: str, number: int | None = None) -> OpenDataset:
        """A version of a dataset, the latest when no number is given."""
        pinned = self.datasets.pinned(team, name, number)
        return OpenDataset(pinned.spec, pinned.version, self._store(team, name), Pins(**pinned.pins))

    def ingest(self, team: str, user: str, name: str, table: pa.Table, file: str) -> UploadResult:
        """Check a table and add it as a version; the same content again gives the version that is there.

        RejectedPanel, with its findings, when the panel breaks its contract: nothing is stored then.
        """
        report, panel = check_panel(table, self.declared(team, name), file=file)
        return self.add(team, user, name, report, panel)

    def declared(self, team: str, name: str) -> DatasetSpec:
        """What the owner declared; NotFound without a dataset of this name."""
        dataset = self.datasets.get(team, name)
        return DatasetSpec.model_validate(dataset.model_dump(include=set(DatasetSpec.model_fields)))

    def add(self, team: str, user: str, name: str, report: CheckReport, panel: Panel | None) -> UploadResult:
        """Add a panel that was checked against the declaration; RejectedPanel when there is none."""
        if panel is None:
            raise RejectedPanel(f"{report.file} was rejected; nothing was stored", report.findings)
        dataset, spec = self.datasets.get(team, name), self.declared(team, name)
        store = self._store(team, name)
        pins = store.write(panel, recorded_at=datetime.now(UTC), publication_lag=spec.publication_lag)
        content_hash = store.content_hash(pins)
        if dataset.latest_version is not None:
            latest = self.datasets.pinned(team, name).version
            if latest.content_hash == content_hash:
                return UploadResult(created=False, version=latest, report=report)
        freq = spec.freq or report.freq or "D"
        new = _describe(store, pins, content_hash, freq)
        version = self.datasets.add_version(team, name, user, new, dataset.latest_version)
        return UploadResult(created=True, version=version, report=report)

    def _store(self, team: str, name: str) -> PanelStore:
        key = (team, name)
        if key not in self._stores:
            self._stores[key] = PanelStore(self._storage.dataset(team, name))
        return self._stores[key]


def _describe(store: PanelStore, pins: Pins, content_hash: str, freq: str) -> NewVersion:
    series = store.series(pins)
    return NewVersion(
        content_hash=content_hash,
        pins=asdict(pins),
        freq=freq,
        rows=pc.sum(series["rows"]).as_py() or 0,
        series=len(series[ID]),
        first_ds=pc.min(series["first_ds"]).as_py(),
        last_ds=pc.max(series["last_ds"]).as_py(),
    )

"""A dataset version as it was known at a point in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cluster.datasets.catalogue import OpenDataset
from features.store.snapshots import PanelSnapshots, VintageSnapshots, latest_known_ds
from quantis.errors import InvalidInput
from quantis.frequency import to_datetime64
from quantis.panel import DS, Panel, Snapshot, Task, times_of
from quantis.types.job_specs import Quantiles


@dataclass(frozen=True)
class DatasetView:
    """Reads one version of a dataset as of a time."""

    dataset: OpenDataset
    as_of: datetime

    def task(self, h: int, quantiles: Quantiles) -> Task:
        return self.dataset.task(self.as_of, h, quantiles)

    def panel(self) -> Panel:
        """Read the whole panel; it is not cached."""
        return self.dataset.panel(self.as_of)

    def snapshots(self, task: Task) -> PanelSnapshots:
        """Return snapshots of the values as known at `as_of`, at any cutoff."""
        return PanelSnapshots(self.panel(), task)

    def vintage_snapshots(self, task: Task) -> VintageSnapshots:
        """Return snapshots of the values as they were known at each cutoff."""
        dataset = self.dataset
        return VintageSnapshots(dataset.store, dataset.pins, task, dataset.spec.publication_lag)

    def latest_snapshot(self, task: Task) -> Snapshot:
        return self.snapshots(task)(self.last_cutoff(task))

    @property
    def limit(self) -> np.datetime64:
        """Latest `ds` whose value can be known at `as_of`, by the publication lag."""
        return latest_known_ds(self.as_of, self.dataset.spec.publication_lag)

    def last_cutoff(self, task: Task) -> np.datetime64:
        """Return the last `ds` whose value is known at `as_of`; InvalidInput when no value is."""
        version = self.dataset.version
        times = times_of(self.panel().target[DS])
        times = times[times <= self.limit]
        if len(times) == 0 or times.max() <= to_datetime64(version.first_ds):
            raise InvalidInput(
                f"nothing of dataset {version.dataset!r} was known at {self.as_of:%Y-%m-%dT%H:%MZ}; "
                f"it begins at {version.first_ds:%Y-%m-%dT%H:%MZ}, take a later as_of"
            )
        last: np.datetime64 = times.max()
        return last

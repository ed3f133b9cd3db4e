"""Tables of what became of a team's forecasts: vintages, their scores, and the yardsticks of versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from cluster.data_layout import DataLayout
from features.store.event_table import EventTable
from monitoring.accuracy.reference import Reference
from monitoring.accuracy.scoring import SCORES
from monitoring.accuracy.vintage_rows import SORT_BY, VINTAGES
from quantis.panel import DS, ID

LEDGER = "ledger"
"""Counter of the table of vintages: the batches of the ledger that are in it."""
SCORED_AT = "scored_at"
"""Mark of the table of scores: `scored_at` of its last commit, in microseconds since 1970. Each commit has one of its
own, later than those before."""


@dataclass(frozen=True)
class MonitoringTables:
    """The tables of one team, in its folder; the first row of each makes it."""

    folder: Path
    vintages: EventTable = field(init=False)
    scores: EventTable = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vintages", EventTable(self.folder / "vintages", VINTAGES, SORT_BY))
        object.__setattr__(self, "scores", EventTable(self.folder / "scores", SCORES, ("model", ID, DS)))

    @classmethod
    def of_team(cls, data_layout: DataLayout, team: str) -> MonitoringTables:
        return cls(data_layout.monitoring(team))

    def forget_reference(self, model: str, version: int) -> None:
        """Forget the yardsticks of a version, which have a scale for each series; they are measured when needed."""
        (self.folder / "references" / f"{model}-{version}.parquet").unlink(missing_ok=True)

    def reference(self, model: str, version: int, measure: Callable[[], Reference]) -> Reference:
        """Return the yardsticks of a version, measured at the first call and kept."""
        path = self.folder / "references" / f"{model}-{version}.parquet"
        if path.exists():
            return Reference.from_table(pq.read_table(path))
        reference = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        pq.write_table(reference.to_table(), partial)
        partial.replace(path)
        return reference


def version_counter(dataset: str) -> str:
    """Return the counter of the scores by which a dataset's versions are scored."""
    return f"version:{dataset}"


def batch_counter(dataset: str) -> str:
    """Return the counter of the scores by which the batches of vintages of a dataset are scored."""
    return f"batch:{dataset}"


def scored_mark(dataset: str) -> str:
    """Return the mark of the scores that has `scored_at` of a dataset's last commit with rows."""
    return f"scored:{dataset}"

"""The scores of one dataset's forecasts: which are missing, made and stored commit by commit."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.datasets.catalogue import OpenDataset
from cluster.model_monitoring.tables import (
    SCORED_AT,
    MonitoringTables,
    batch_counter,
    scored_mark,
    version_counter,
)
from features.store.as_of import datetime_epoch_us
from features.store.panel_store import VersionPins
from features.store.record_filter import Bounds, RecordFilter
from features.store.snapshots import latest_known_ds, snapshot_of_latest
from monitoring.accuracy.reference import Reference
from monitoring.accuracy.scoring import SCORES, Increment, naive_start, score
from quantis.errors import NotFound
from quantis.frequency import Frequency
from quantis.panel import DS, ID, TIMESTAMP

BATCHES_AT_ONCE = 20
"""Batches of vintages that are scored in one commit, so that a long ledger does not fill the memory."""

_NAMED_SERIES = 20_000
"""Series up to which a read names them; of more it reads all."""


@dataclass(frozen=True)
class ScoredDataset:
    """A dataset at its newest version, and the tables of its team."""

    backend: Backend
    team: str
    tables: MonitoringTables
    dataset: OpenDataset

    def next_scores(self, to_batch: int) -> pa.Table | None:
        """Make and store the next scores, of vintages up to a batch; None where none are missing.

        They are one commit with a `scored_at` of its own; empty where another process was faster. First the vintages
        that were scored before, by the actuals of later versions; then those of later batches, by all actuals.
        """
        name, number = self.dataset.version.dataset, self.dataset.version.number
        scored_version = self.tables.scores.progress(version_counter(name)) or 0
        scored_batch = self.tables.scores.progress(batch_counter(name)) or 0
        if scored_version < number and scored_batch:
            scores = self._by_new_actuals(scored_version, scored_batch)
        elif scored_batch < to_batch:
            last = min(scored_batch + BATCHES_AT_ONCE, to_batch)
            scores = self._of_new_vintages(scored_batch, last)
            scored_batch = last
        else:
            return None
        counters = {version_counter(name): number, batch_counter(name): scored_batch}
        return self._store(scores, counters)

    def _store(self, scores: pa.Table, counters: dict[str, int]) -> pa.Table:
        """Append scores under the next `scored_at`, also where the clock went back; return them as they are stored."""
        last = self.tables.scores.progress(SCORED_AT) or 0
        marks = {SCORED_AT: max(time.time_ns() // 1000, last + 1)}
        if scores.num_rows:
            marks[scored_mark(self.dataset.version.dataset)] = marks[SCORED_AT]
        stamps = pa.array([marks[SCORED_AT]] * scores.num_rows, pa.int64()).cast(TIMESTAMP)
        stamped = scores.set_column(scores.schema.get_field_index("scored_at"), "scored_at", stamps)
        return stamped if self.tables.scores.append(stamped, counters, marks) else stamped.slice(0, 0)

    def _by_new_actuals(self, scored_version: int, scored_batch: int) -> pa.Table:
        """Score vintages of batches that were scored by the actuals that came after a version."""
        recorded_after = self._recorded_to(scored_version)
        new = self.dataset.store.target_records(
            self.dataset.pins, RecordFilter(recorded_after=recorded_after)
        )
        if not new.num_rows:
            return SCORES.empty_table()
        ends = pc.min_max(new[DS])
        condition = (
            (pc.field("batch") <= scored_batch)
            & (pc.field(DS) >= ends["min"])
            & (pc.field(DS) <= ends["max"])
        )
        series = pc.unique(new[ID])
        if len(series) <= _NAMED_SERIES:
            condition &= pc.field(ID).isin(series)
        return self._score(condition, Increment(self.dataset.version.number, recorded_after))

    def _of_new_vintages(self, scored_batch: int, last_batch: int) -> pa.Table:
        condition = (pc.field("batch") > scored_batch) & (pc.field("batch") <= last_batch)
        return self._score(condition, Increment(self.dataset.version.number, None))

    def _score(self, condition: Any, increment: Increment) -> pa.Table:
        """Score the dataset's vintages that meet a condition, version by version."""
        is_own = pc.field("dataset") == self.dataset.version.dataset
        vintages = self.tables.vintages.read(is_own & condition)
        scores = [SCORES.empty_table()]
        frequency = Frequency.parse(self.dataset.version.freq)
        issuers = vintages.group_by(["model", "version"]).aggregate([]).sort_by([("model", "ascending")])
        for issuer in issuers.to_pylist():
            of_issuer = (pc.field("model") == issuer["model"]) & (pc.field("version") == issuer["version"])
            issued = vintages.filter(of_issuer)
            reference = self._reference(issuer["model"], issuer["version"])
            names = pc.unique(issued[ID])
            bounds = Bounds(
                series=names.to_pylist() if len(names) <= _NAMED_SERIES else None,
                start=naive_start(issued, frequency, reference.season),
                end=pc.max(issued[DS]).as_py(),
            )
            records = self.dataset.store.target_records(self.dataset.pins, RecordFilter(bounds))
            scores.append(score(issued, records, reference, frequency, increment))
        return pa.concat_tables(scores)

    def _recorded_to(self, number: int) -> int | None:
        """Return when the last record of a version was recorded, in microseconds since 1970."""
        pinned = self.backend.catalogue.datasets.version(self.team, self.dataset.version.dataset, number)
        pins = VersionPins.from_json(pinned.pins)
        return datetime_epoch_us(self.dataset.store.recorded_to(pins))

    def _reference(self, model: str, version: int) -> Reference:
        return self.tables.reference(model, version, lambda: self._measure(model, version))

    def _measure(self, model: str, version: int) -> Reference:
        """Measure the history that a version learned from, or all that is known where the version is gone."""
        as_of: datetime | None = None
        with suppress(NotFound):
            as_of = self.backend.registry(self.team).get(model, version).as_of
        as_of = as_of or self.dataset.version.created_at
        task = self.dataset.task(as_of, 1, (0.5,))
        limit = latest_known_ds(as_of, self.dataset.spec.publication_lag)
        panel = self.dataset.panel(as_of)
        return Reference.from_snapshot(snapshot_of_latest(panel, limit, task), task.season_lengths)

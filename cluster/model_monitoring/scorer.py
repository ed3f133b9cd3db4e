"""The scorer: moves issued forecasts to the table of vintages, and scores them by the actuals that have come.

Both tables count in their own commits what is in them (`features/store/event_table.py`), so a scorer that was killed
at any point goes on from there: each batch is moved once, and each pair of a forecast and an actual is scored once.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cluster.backend import Backend
from cluster.model_monitoring.forecast_purge import purge_forecasts
from cluster.model_monitoring.score_listeners import ScoreListeners, ScoresListener
from cluster.model_monitoring.scored_dataset import ScoredDataset
from cluster.model_monitoring.tables import LEDGER, MonitoringTables
from cluster.repositories.leases import Leases
from cluster.repositories.vintages import StoredForecast
from monitoring.accuracy.vintage_rows import Vintage, vintage_rows
from quantis.errors import Conflict, NotFound, QuantisError

SCORER = "scorer"
LEASE_TIME = timedelta(seconds=60)
FORGET_SECONDS = 3600.0
"""Time from one look for forecasts that are no longer kept to the next."""

log = logging.getLogger("quantis.scorer")


class Scorer:
    """Scores the forecasts of all teams, in as many processes as like: a lease lets one of them work at a time."""

    def __init__(self, backend: Backend, listeners: Sequence[ScoresListener] = ()) -> None:
        self._backend = backend
        self._listeners = ScoreListeners(backend.work_counters, listeners)
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._fitted: dict[tuple[str, str, int], datetime | None] = {}
        self._seen: dict[
            tuple[str, str], tuple[int, int]
        ] = {}  # dataset -> version and batch that are scored
        self._forgot_at: dict[str, float] = {}
        self._moved: dict[str, int] = {}  # team -> last batch in its table

    def tick(self) -> None:
        """Move and score what is new; where another process holds the lease, nothing."""
        if not self._leases.hold(SCORER, self._holder, LEASE_TIME):
            self._seen.clear()
            self._moved.clear()
            self._listeners.forget()
            return
        for team in [team.name for team in self._backend.teams.all()]:
            try:
                self.score_team(team)
            except QuantisError as error:
                log.warning("team %s: not scored yet: %s", team, error.message)
            except Exception:
                log.exception("team %s could not be scored; the others are, and it is tried again", team)

    def close(self) -> None:
        self._leases.release(SCORER, self._holder)

    def score_team(self, team: str) -> int:
        """Move the team's forecasts and score them by its datasets; return the number of scores that are new."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        for purge in self._backend.purges.pending(team):
            if purge_forecasts(self._backend, tables, purge):
                self._backend.purges.settle(purge)
            self._renew()
        self._move(team, tables)
        if not self._moved[team]:
            return 0
        self._forget(team, tables)
        return sum(
            self._score_dataset(team, tables, name, newest)
            for name, newest in self._backend.catalogue.datasets.newest_versions(team).items()
        )

    def _move(self, team: str, tables: MonitoringTables) -> None:
        """Move forecasts from the ledger to the table of vintages, batch by batch."""
        if team in self._moved and team not in self._backend.vintages.teams_without_batch():
            return
        number = tables.vintages.progress(LEDGER) or 0
        while stored := self._backend.vintages.next_batch(team, number + 1):
            number += 1
            issued = [issued for forecast in stored if (issued := self._issued(team, forecast))]
            tables.vintages.append(vintage_rows(issued, number), {LEDGER: number})
            self._renew()
        tables.vintages.compact()
        self._moved[team] = number

    def _forget(self, team: str, tables: MonitoringTables) -> None:
        """Remove forecasts, and their scores, that are older than the team keeps them."""
        days = self._backend.quotas.for_team(team).forecast_days
        if days is None or time.monotonic() - self._forgot_at.get(team, -FORGET_SECONDS) < FORGET_SECONDS:
            return
        before = datetime.now(UTC) - timedelta(days=days)
        condition = f"issued_at < '{before:%Y-%m-%dT%H:%M:%S.%fZ}'"
        for table in (tables.scores, tables.vintages):
            table.delete(condition)
        removed = self._backend.vintages.forget(team, before, self._moved[team])
        if removed:
            log.info("team %s: %d forecasts were removed after %d days", team, removed, days)
        self._forgot_at[team] = time.monotonic()

    def _issued(self, team: str, forecast: StoredForecast) -> Vintage | None:
        """Return a forecast with what its versions learned from; None for one of no stored dataset."""
        response = forecast.response
        if response.dataset is None:
            return None
        versions = {entry.version or response.model.version for entry in response.forecasts}
        fitted = {
            version: as_of
            for version in versions
            if (as_of := self._fitted_at(team, response.model.name, version)) is not None
        }
        return Vintage(forecast.kind, response, response.dataset.name, fitted)

    def _fitted_at(self, team: str, model: str, version: int) -> datetime | None:
        """Return the as-of time of a version's data; None of one that is gone."""
        key = (team, model, version)
        if key not in self._fitted:
            try:
                self._fitted[key] = self._backend.registry(team).get(model, version).as_of
            except NotFound:
                self._fitted[key] = None
        return self._fitted[key]

    def _score_dataset(self, team: str, tables: MonitoringTables, name: str, newest: int) -> int:
        """Score by the actuals of a dataset, and the batches of vintages, that are not scored yet."""
        moved = self._moved[team]
        if self._seen.get((team, name)) == (newest, moved):
            return 0
        scored = ScoredDataset(self._backend, team, tables, self._backend.catalogue.open(team, name))
        total = 0
        # First what was stored before, where this process or another was killed.
        is_heard = self._listeners.notify(team, name, tables)
        while (scores := scored.next_scores(moved)) is not None:
            total += scores.num_rows
            is_heard = self._listeners.notify(team, name, tables, scores)
            self._renew()
        tables.scores.compact()
        if is_heard:
            self._seen[(team, name)] = (scored.dataset.version.number, moved)
        return total

    def _renew(self) -> None:
        """Hold the lease on; Conflict where another process took it over."""
        if not self._leases.take(SCORER, self._holder, LEASE_TIME):
            raise Conflict("another process scores now")

"""Counts of what the versions of a running canary answer: for the guard rails of its experiment."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Protocol

from cluster.repositories.operations.experiment_arms import ArmCounts, ExperimentArms
from cluster.repositories.operations.online_experiments import OnlineExperiments
from quantis.errors import InvalidInput, NotFound, QuantisError
from quantis.types.forecasts import ForecastMethod, ForecastRequest, ForecastResponse
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import ExperimentMode, OnlineExperiment
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.routing import ModelRouter
from serve.forecasting.stale_cache import StaleCache

LOOKUP_SECONDS = 2.0
"""Age at which the running experiments are looked up again."""
WRITE_SECONDS = 2.0
"""Time from the first count to the transaction that writes it: a request waits for none."""

log = logging.getLogger("quantis.forecaster")
_CALLERS_FAULT = (InvalidInput, NotFound)


class ForecastEngine(Protocol):
    router: ModelRouter

    def forecast(
        self, team: str, ref: str, request: ForecastRequest, cancellation: Cancellation | None = None
    ) -> ForecastResponse: ...


class CanaryCounts:
    """Counts in memory, written together; thread-safe."""

    def __init__(
        self, experiments: OnlineExperiments, arms: ExperimentArms, write_seconds: float = WRITE_SECONDS
    ) -> None:
        self._experiments, self._arms, self._write_seconds = experiments, arms, write_seconds
        self._canaries: StaleCache[dict[tuple[str, str], OnlineExperiment]] = StaleCache(0.0, LOOKUP_SECONDS)
        self._counts: dict[tuple[str, str, int, int], tuple[OnlineExperiment, ArmCounts]] = {}
        self._lock = threading.Lock()

    def forecast(
        self,
        engine: ForecastEngine,
        team: str,
        ref: str,
        request: ForecastRequest,
        cancellation: Cancellation | None = None,
    ) -> ForecastResponse:
        """Return the engine's answer, counted for the versions of a canary. Its time counts for each of them."""
        canary = self._canary(team, ref)
        if canary is None:
            return engine.forecast(team, ref, request, cancellation)
        started = time.perf_counter()
        try:
            response = engine.forecast(team, ref, request, cancellation)
        except _CALLERS_FAULT:
            raise
        except Exception:
            parts = engine.router.divide(team, ref, [series.unique_id for series in request.series])
            self._add(team, canary, {part.version.version: ArmCounts(failed=1) for part in parts})
            raise
        self._add(team, canary, counts_of(response, time.perf_counter() - started))
        return response

    def write(self) -> None:
        """Write what was counted; what the database does not take is given up."""
        with self._lock:
            counted, self._counts = self._counts, {}
        for (team, _, _, version), (experiment, counts) in counted.items():
            try:
                self._arms.count(team, experiment, version, VintageKind.online, counts)
            except QuantisError as error:
                log.warning("counts of experiment %s are lost: %s", experiment.name, error.message)

    def _canary(self, team: str, ref: str) -> OnlineExperiment | None:
        """Return the running canary of a model that is asked for by its name; None in an outage, too."""
        try:
            return self._canaries.get("running", self._running).get((team, ref))
        except QuantisError:
            return None

    def _running(self) -> dict[tuple[str, str], OnlineExperiment]:
        return {
            (stored.team, stored.experiment.model): stored.experiment
            for stored in self._experiments.running()
            if stored.experiment.mode is ExperimentMode.canary
        }

    def _add(self, team: str, experiment: OnlineExperiment, counts: dict[int, ArmCounts]) -> None:
        with self._lock:
            is_first = not self._counts
            for version, added in counts.items():
                if version in (experiment.challenger, experiment.incumbent):
                    key = (team, experiment.id, experiment.step, version)
                    _, before = self._counts.get(key, (experiment, ArmCounts(requests=0)))
                    self._counts[key] = (experiment, before.plus(added))
        if is_first:
            timer = threading.Timer(self._write_seconds, self.write)
            timer.daemon = True
            timer.start()


def counts_of(response: ForecastResponse, seconds: float) -> dict[int, ArmCounts]:
    """Return the counts of each version that answered series of a request."""
    counts: dict[int, ArmCounts] = {}
    for entry in response.forecasts:
        version = entry.version or response.model.version
        before = counts.get(version, ArmCounts(seconds=seconds))
        is_fallback = entry.method is not ForecastMethod.model
        counts[version] = replace(
            before, series=before.series + 1, fallbacks=before.fallbacks + int(is_fallback)
        )
    return counts

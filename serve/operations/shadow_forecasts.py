"""Shadow forecasts: what a challenger would have answered, made after the answers left, from the ledger.

A shadow is a reproduction with another version: the same request, the rows known at the same `as_of`, the challenger's
version. So no request waits for it. It goes to the ledger under the times of the forecast it is a shadow of, marked as
shadow or replay (of a forecast from before the experiment), and is scored like any other.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from cluster.backend import Backend
from cluster.repositories.leases import Leases
from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.operations.online_experiments import StoredExperiment
from cluster.repositories.operations.shadows import (
    LedgerEntry,
    LedgerPosition,
    ShadowSlice,
    begins_at,
    shadow_id,
)
from cluster.repositories.vintages import StoredForecast
from models.registry.mlflow_registry import Registry
from quantis.errors import Conflict, NotFound, QuantisError, Unavailable
from quantis.types.forecasts import ForecastMethod, Reason, SeriesForecast
from quantis.types.operations.live import SERVED, VintageKind
from quantis.types.operations.online_experiments import ExperimentMode
from quantis.types.operations.shadows import ShadowProgress
from quantis.types.registry import ModelVersion
from serve.forecasting.engine import Engine
from serve.forecasting.reproduction import InputGoneError, entries_of, forecast_as

LEASE = "shadow-forecasts"
LEASE_TIME = timedelta(seconds=60)
ENTRIES, SLICE_SECONDS = 500, 2.0
"""Forecasts of the ledger that a slice looks at, and seconds after which it ends; a kill loses a slice at most."""
TURN_SECONDS = 5.0
"""Seconds after which the next experiment has its turn."""
MODELS = 2
"""Challengers in memory."""
NICENESS = 19
_PARTS, _REASON = 10_000, 300

log = logging.getLogger("quantis.shadows")


def is_sampled(experiment_id: str, forecast_id: str, share: float) -> bool:
    """Return True for a forecast in the experiment's share, in percent; the same ones always."""
    digest = hashlib.sha256(f"{experiment_id}/{forecast_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % _PARTS * 100 / _PARTS < share


class ShadowForecasts:
    """The loop, in as many processes as like: a lease lets one of them work at a time."""

    def __init__(
        self, backend: Backend, running: Callable[[], Sequence[StoredExperiment]] | None = None
    ) -> None:
        """`running` names the experiments; those of the database by default."""
        self._backend = backend
        self._running = running or backend.online_experiments.running
        self._shadows, self._leases = backend.shadows, Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._thread = ThreadPoolExecutor(1, "shadow-forecasts", _lower_priority)
        self.engine = Engine(
            backend.registry,
            backend.catalogue,
            backend.vintages,
            backend.families,
            calibrations=backend.calibrations,
            max_models=MODELS,
        )

    def tick(self) -> None:
        """Give each experiment a turn; do nothing while another process has the lease."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            return
        for stored in self._running():
            name = stored.experiment.name
            try:
                self._advance(stored)
            except QuantisError as error:
                log.warning("experiment %s of team %s: no shadows yet: %s", name, stored.team, error.message)
            except Exception:
                log.exception("experiment %s of team %s: no shadows yet; tried again", name, stored.team)

    def close(self) -> None:
        self._thread.shutdown()
        self._leases.release(LEASE, self._holder)

    def _advance(self, stored: StoredExperiment) -> None:
        """Make the shadows of what is next in the ledger, slice by slice, until the turn ends."""
        start, ends_at = self._shadows.position(stored), time.monotonic() + TURN_SECONDS
        while time.monotonic() < ends_at:
            # Numbers are crunched at a low priority; the transaction that stores them holds others up and is not.
            shadow_slice = self._thread.submit(self._make_slice, stored, start).result()
            if shadow_slice.position == start:
                return
            self._shadows.record(stored, start, shadow_slice.shadows)
            for (version, kind), counts in shadow_slice.arms.items():  # a kill before this loses some
                self._backend.experiment_arms.count(stored.team, stored.experiment, version, kind, counts)
            start = shadow_slice.position
            if not self._leases.take(LEASE, self._holder, LEASE_TIME):
                raise Conflict("another process makes shadow forecasts now")

    def _make_slice(self, stored: StoredExperiment, start: LedgerPosition) -> _Slice:
        """Make the shadows of the next forecasts, until there are no more or the seconds of a slice are over."""
        ends_at = time.monotonic() + SLICE_SECONDS
        shadow_slice = _Slice(self.engine, self._backend.registry, stored, start)
        for entry in self._shadows.entries_after(stored.team, start, ENTRIES):
            shadow_slice.add(entry)
            if time.monotonic() >= ends_at:
                break
        return shadow_slice


@dataclass(frozen=True)
class _Arm:
    """A version of an experiment; the reason why it cannot forecast, if so."""

    version: ModelVersion | None
    failure: str | None


@dataclass
class _Slice:
    """A slice in the making: it grows by one forecast of the ledger after another."""

    engine: Engine
    registry: Callable[[str], Registry]
    stored: StoredExperiment
    position: LedgerPosition
    forecasts: list[StoredForecast] = field(default_factory=list)
    progress: ShadowProgress = field(default_factory=ShadowProgress)
    arms: dict[tuple[int, VintageKind], ArmCounts] = field(default_factory=dict)

    @property
    def shadows(self) -> ShadowSlice:
        return ShadowSlice(self.position, self.forecasts, self.progress)

    @cached_property
    def challenger(self) -> _Arm:
        """The challenger, loaded for the first forecast that asks for it."""
        return self._load(self.stored.experiment.challenger)

    @cached_property
    def incumbent(self) -> _Arm:
        return self._load(self.stored.experiment.incumbent)

    def add(self, entry: LedgerEntry) -> None:
        """Make the shadow of a forecast, or count why there is none."""
        experiment = self.stored.experiment
        concerns = entry.model == experiment.model and entry.kind in SERVED
        if concerns and entry.issued_at >= begins_at(experiment):
            self.progress = self.progress.plus(self._entry_counts(entry))
        self.position = entry.position

    def _entry_counts(self, entry: LedgerEntry) -> ShadowProgress:
        """Return the counts of one forecast, whose shadows are among the forecasts then."""
        experiment, forecast_id = self.stored.experiment, entry.position.forecast_id
        if not is_sampled(experiment.id, forecast_id, experiment.share):
            return ShadowProgress(not_sampled=1)
        version = self.challenger.version
        if version is not None and version.as_of is not None and entry.as_of < version.as_of:
            return ShadowProgress(learned=1)
        try:
            issued = self.engine.vintages.stored(self.stored.team, forecast_id)
            counts = self._challenge(issued)
            self._complete(issued)
        except (InputGoneError, NotFound) as error:
            return ShadowProgress(gone=1, latest_gap=_reason(error))
        return counts

    def _challenge(self, issued: StoredForecast) -> ShadowProgress:
        """Have the challenger forecast what the incumbent answered, and return the counts."""
        experiment, challenger = self.stored.experiment, self.challenger
        entries = entries_of(issued.response, experiment.incumbent)
        if not entries:
            return ShadowProgress()
        failure = challenger.failure
        if challenger.version is not None:
            try:
                shadow = self._append(issued, challenger.version, experiment.incumbent)
                return self._compared(entries, shadow)
            except (InputGoneError, NotFound, Unavailable):
                raise
            except Exception as error:
                log.warning("version %d failed on a forecast", challenger.version.version, exc_info=True)
                failure = _reason(error)
        self._count(experiment.challenger, VintageKind.shadow, ArmCounts(failed=1))
        self._count(experiment.incumbent, VintageKind.online, _arm_counts(entries))
        return ShadowProgress(failed=1, latest_failure=failure)

    def _complete(self, issued: StoredForecast) -> None:
        """Have the incumbent forecast what the challenger answered in its share, so that there are pairs of these."""
        experiment = self.stored.experiment
        entries = entries_of(issued.response, experiment.challenger)
        version = self.incumbent.version
        if not entries or version is None:
            return
        try:
            shadow = self._append(issued, version, experiment.challenger)
        except Unavailable:
            raise
        except Exception:
            log.warning("version %d failed on a forecast", version.version, exc_info=True)
            return
        self._count(experiment.incumbent, VintageKind.shadow, _arm_counts(shadow.response.forecasts))

    def _append(self, issued: StoredForecast, version: ModelVersion, answered_by: int) -> StoredForecast:
        repeated = forecast_as(self.engine, self.stored.team, issued, version, answered_by)
        is_before = issued.response.issued_at < self.stored.experiment.started_at
        identity = {"forecast_id": shadow_id(self.stored, issued.response.forecast_id, version.version)}
        shadow = replace(
            repeated,
            kind=VintageKind.replay if is_before else VintageKind.shadow,
            response=repeated.response.model_copy(update=identity),
        )
        self.forecasts.append(shadow)
        return shadow

    def _compared(self, entries: Sequence[SeriesForecast], shadow: StoredForecast) -> ShadowProgress:
        """Return the counts of a challenger's shadow beside the entries that it is of, and note those of both arms."""
        experiment, shadow_entries = self.stored.experiment, shadow.response.forecasts
        failures = [
            entry for before, entry in zip(entries, shadow_entries, strict=True) if _has_failed(before, entry)
        ]
        failure = f"{failures[0].unique_id}: {failures[0].detail}"[:_REASON] if failures else None
        of_challenger, of_incumbent = _arm_counts(shadow_entries), _arm_counts(entries)
        of_challenger = replace(of_challenger, failed=int(bool(failures)))
        self._count(experiment.challenger, VintageKind.shadow, of_challenger)
        self._count(experiment.incumbent, VintageKind.online, of_incumbent)
        return ShadowProgress(
            computed=1,
            replayed=int(shadow.kind == VintageKind.replay),
            failed=of_challenger.failed,
            series=of_challenger.series,
            fallbacks=of_challenger.fallbacks,
            incumbent_fallbacks=of_incumbent.fallbacks,
            latest_failure=failure,
        )

    def _count(self, version: int, kind: VintageKind, counts: ArmCounts) -> None:
        """Add to the counts that guard rails compare; without times, which say nothing at a low priority.

        Answers in a canary are counted where they are given, with their times.
        """
        if kind is VintageKind.shadow or self.stored.experiment.mode is ExperimentMode.shadow:
            before = self.arms.get((version, kind), ArmCounts(requests=0))
            self.arms[version, kind] = ArmCounts(
                before.requests + counts.requests,
                before.failed + counts.failed,
                before.series + counts.series,
                before.fallbacks + counts.fallbacks,
            )

    def _load(self, number: int) -> _Arm:
        """Return a version with its bundle in memory, or the reason why it is not; Unavailable where that may pass."""
        team, model = self.stored.team, self.stored.experiment.model
        try:
            version = self.registry(team).get(model, number)
            self.engine.models.load(team, version)
        except Unavailable:
            raise
        except Exception as error:
            log.warning("%s:%d of team %s cannot be loaded", model, number, team, exc_info=True)
            return _Arm(None, f"version {number} of {model!r} cannot be loaded: {_reason(error)}")
        return _Arm(version, None)


def _arm_counts(entries: Sequence[SeriesForecast]) -> ArmCounts:
    failed = any(entry.reason == Reason.model_failed for entry in entries)
    fallbacks = sum(entry.method != ForecastMethod.model for entry in entries)
    return ArmCounts(failed=int(failed), series=len(entries), fallbacks=fallbacks)


def _has_failed(issued: SeriesForecast, repeated: SeriesForecast) -> bool:
    refused = repeated.status == "refused" and issued.status != "refused"
    return refused or repeated.reason == Reason.model_failed


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, QuantisError) else f"{type(error).__name__}: {error}"
    return text[:_REASON]


def _lower_priority() -> None:
    """Let this thread, and those it starts, run when nobody else wants the processor; Linux counts by thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

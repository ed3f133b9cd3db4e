"""Answer forecast requests: history, model, fallback chain, ledger. Free of Ray and HTTP."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from cluster.datasets.catalogue import Catalogue, OpenDataset
from cluster.repositories.vintages import Vintages
from features.store.record_filter import Bounds
from features.store.snapshots import latest_known_ds, snapshot_at
from models.families.catalogue import FAMILIES
from models.forecaster import Forecaster
from models.prediction import cold_start, fallback
from models.prediction.response import resolve_horizon, to_series_forecast
from models.registry.bundle import read_bundle
from models.registry.mlflow_registry import CHAMPION, Registry
from monitoring import instruments
from quantis.errors import NotFound
from quantis.frequency import to_datetime, to_datetime64
from quantis.panel import ID, Panel, Snapshot, Task
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef, SeriesRequest
from quantis.types.registry import ModelVersion, Traffic
from serve.forecasting.request_history import (
    RequestHistory,
    empty_snapshot,
    join,
    only,
    start_of,
    wanted_quantiles,
)
from serve.forecasting.stale_cache import StaleCache
from serve.forecasting.traffic_split import drawn

ALIAS_SECONDS = 2.0
MOST_MODELS = 8
_EARLIEST = np.datetime64("1700-01-01", "us")
log = logging.getLogger("quantis.forecaster")


@dataclass(frozen=True)
class _Loaded:
    forecaster: Forecaster
    known: frozenset[str]


class Engine:
    """One process's models and data; thread-safe."""

    def __init__(
        self,
        registry: Callable[[str], Registry],
        catalogue: Catalogue,
        vintages: Vintages,
        families: Mapping[str, str] = FAMILIES,
        outage_seconds: float = 0.0,
    ) -> None:
        """`registry` opens the registry of a team; only `families` are loaded.

        For `outage_seconds` without the database, models and datasets that were asked for are still served.
        """
        self._registry = registry
        self._families = families
        self._catalogue = catalogue
        self._vintages = vintages
        self._models: OrderedDict[tuple[str, str, int], _Loaded] = OrderedDict()
        self._datasets: StaleCache[OpenDataset | None] = StaleCache(outage_seconds)
        self._versions: StaleCache[ModelVersion] = StaleCache(outage_seconds, ALIAS_SECONDS)
        self._traffic: StaleCache[Traffic] = StaleCache(outage_seconds, ALIAS_SECONDS)
        self._lock = threading.Lock()

    def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        """One entry per requested series, in order; kept in the ledger before it is returned."""
        started = time.perf_counter()
        ref = self._drawn(team, ref, request)
        version = self._resolve(team, ref)
        loaded = self._load(team, version)
        task = loaded.forecaster.task
        quantiles, steps = wanted_quantiles(request, task), resolve_horizon(request.h, task)
        as_of = request.as_of or datetime.now(UTC)
        dataset = self._dataset(team, task.dataset)
        entries = self._entries(dataset, loaded, request, steps, as_of)
        response = ForecastResponse(
            forecast_id=str(uuid.uuid4()),
            model=ModelRef(
                name=version.model,
                version=version.version,
                alias=_alias(ref),
                family=version.family,
            ),
            dataset=dataset.ref if dataset else None,
            freq=task.freq,
            as_of=as_of,
            issued_at=datetime.now(UTC),
            forecasts=[to_series_forecast(entry, quantiles, steps) for entry in entries],
        )
        self._vintages.append(team, request, response)
        self._measure(version, response, time.perf_counter() - started)
        return response

    def _entries(
        self,
        dataset: OpenDataset | None,
        loaded: _Loaded,
        request: ForecastRequest,
        steps: int,
        as_of: datetime,
    ) -> list[fallback.ForecastEntry]:
        task = loaded.forecaster.task
        own = [series.unique_id for series in request.series if series.y is not None]
        panel = dataset.panel(as_of, Bounds(series=own)) if dataset and own else None
        found: dict[int, fallback.ForecastEntry] = {}
        for places in _rounds(request.series):
            asked = [request.series[place] for place in places]
            snapshots = self._stored(dataset, asked, loaded.forecaster, as_of)
            snapshots += _own(panel, asked, task, steps)
            joined = join(snapshots) if snapshots else empty_snapshot(task)
            ids = [series.unique_id for series in asked]
            entries = fallback.forecast(
                loaded.forecaster, joined, task, requested=ids, unknown=set(ids) - loaded.known, steps=steps
            )
            found |= dict(zip(places, entries, strict=True))
        entries = [found[place] for place in range(len(request.series))]
        return self._begun(dataset, loaded, request, entries, as_of)

    def _begun(
        self,
        dataset: OpenDataset | None,
        loaded: _Loaded,
        request: ForecastRequest,
        entries: list[fallback.ForecastEntry],
        as_of: datetime,
    ) -> list[fallback.ForecastEntry]:
        """The entries, those of series that are said to have no value yet by what is typical of the panel.

        An id that is merely unknown stays refused: it may be a slip.
        """
        new = [place for place, series in enumerate(request.series) if series.y == []]
        if dataset is None or not new:
            return entries
        task = loaded.forecaster.task
        asked = [SeriesRequest(unique_id=name) for name in cold_start.sample_peers(loaded.known)]
        stored = self._stored(dataset, asked, loaded.forecaster, as_of)
        for place in new if stored else ():
            series = request.series[place]
            start = start_of(series, task)
            made = cold_start.typical_forecast(stored[0], task, series.unique_id, start, series.stat_exog)
            entries[place] = made or entries[place]
        return entries

    def _stored(
        self,
        dataset: OpenDataset | None,
        asked: Sequence[SeriesRequest],
        forecaster: Forecaster,
        as_of: datetime,
    ) -> list[Snapshot]:
        """The requested series that bring no history, from the store, all ending at one cutoff."""
        ids = {series.unique_id for series in asked if series.y is None}
        if dataset is None or not ids:
            return []
        task = forecaster.task
        cutoff = self._cutoff(dataset, as_of, task)
        context = max(forecaster.context_length, 2 * max(task.season_lengths)) + task.h
        start = max(task.frequency.shift(np.array([cutoff]), -np.array([context]))[0], _EARLIEST)
        panel = dataset.panel(as_of, Bounds(series=sorted(ids), start=to_datetime(start)))
        ended = sorted(ids - set(panel.target[ID].to_pylist()))
        if ended:  # what they said last is all that can be said of them
            target = pa.concat_tables([panel.target, dataset.panel(as_of, Bounds(series=ended)).target])
            panel = Panel(target, panel.future, panel.static)
        return [snapshot_at(panel, cutoff, task)] if panel.target.num_rows else []

    def _cutoff(self, dataset: OpenDataset, as_of: datetime, task: Task) -> np.datetime64:
        last = to_datetime64(dataset.version.last_ds)
        return task.frequency.floor(latest_known_ds(as_of, dataset.spec.publication_lag), last)

    def _dataset(self, team: str, name: str) -> OpenDataset | None:
        def look() -> OpenDataset | None:
            try:
                return self._catalogue.open(team, name)
            except NotFound:
                return None

        return self._datasets.get((team, name), look)

    def _resolve(self, team: str, ref: str) -> ModelVersion:
        """The version that a reference means now; aliases are looked up again every two seconds."""
        return self._versions.get((team, ref), lambda: self._registry(team).resolve(ref))

    def _drawn(self, team: str, ref: str, request: ForecastRequest) -> str:
        """The version whose share of a model's traffic a request falls into; what else was asked for as it is."""
        if "@" in ref or ":" in ref:
            return ref
        traffic = self._traffic.get((team, ref), lambda: self._registry(team).traffic(ref))
        version = drawn(traffic, f"{team}/{ref}/{request.series[0].unique_id}")
        return f"{ref}:{version}" if version else ref

    def _load(self, team: str, version: ModelVersion) -> _Loaded:
        key = (team, version.model, version.version)
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
                return self._models[key]
        try:
            forecaster = read_bundle(self._registry(team).download(version), self._families)
        except Exception:
            instruments.count_model_load(version.model, "failed")
            raise
        instruments.count_model_load(version.model, "ok")
        task = forecaster.task
        loaded = _Loaded(forecaster, self._training_series(team, task))
        with self._lock:
            self._models[key] = loaded
            while len(self._models) > MOST_MODELS:
                self._models.popitem(last=False)
        return loaded

    def _training_series(self, team: str, task: Task) -> frozenset[str]:
        try:
            opened = self._catalogue.open(team, task.dataset, task.version)
        except NotFound:
            return frozenset()
        return frozenset(opened.store.series(opened.pins)[ID].to_pylist())

    def _measure(self, version: ModelVersion, response: ForecastResponse, seconds: float) -> None:
        for entry in response.forecasts:
            instruments.count_entry(version.model, entry.method, entry.reason)
        instruments.observe_forecast(version.model, len(response.forecasts), seconds)
        instruments.count_vintages()


def _rounds(series: Sequence[SeriesRequest]) -> list[list[int]]:
    """The places of a request, such that no round has a series with two histories."""
    rounds: list[list[int]] = []
    seen: Counter[str] = Counter()
    by_id: dict[str, int] = {}
    for place, one in enumerate(series):
        number = by_id.get(one.unique_id) if one.y is None else None
        if number is None:
            number = seen[one.unique_id]
            seen[one.unique_id] += 1
            if one.y is None:
                by_id[one.unique_id] = number
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds


def _own(panel: Panel | None, asked: Sequence[SeriesRequest], task: Task, steps: int) -> list[Snapshot]:
    """The requested series that bring their history; the store fills in covariates that they lack."""
    own = [series for series in asked if series.y is not None]
    found = [RequestHistory(series, task, only(panel, series.unique_id), steps).snapshot() for series in own]
    return [snapshot for snapshot in found if snapshot is not None]


def _alias(ref: str) -> str | None:
    """The alias that a reference goes by; a name alone means its champion, a number none."""
    name, _, alias = ref.partition("@")
    return alias or (None if ":" in name else CHAMPION)

"""Answer forecast requests: history, model, fallback chain, ledger. Free of Ray and HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc

from cluster.datasets.catalogue import Catalogue, OpenDataset
from cluster.repositories.operations.calibrations import Calibrations
from cluster.repositories.vintages import Vintages
from features.store.record_filter import Bounds
from features.store.snapshots import latest_known_ds, snapshot_of_latest
from models.families.catalogue import FAMILIES
from models.forecaster import is_univariate
from models.prediction import cold_start, fallback
from models.prediction.fallback import ForecastEntry
from models.prediction.response import resolve_horizon, to_series_forecast
from models.registry.mlflow_registry import Registry
from monitoring import instruments
from quantis.errors import InvalidInput, NotFound
from quantis.frequency import to_datetime, to_datetime64
from quantis.panel import DS, ID, Panel, Snapshot, Task, series_slices, times_of, timestamps
from quantis.types.forecasts import (
    ForecastMethod,
    ForecastRequest,
    ForecastResponse,
    ModelRef,
    Reason,
    SeriesForecast,
    SeriesRequest,
)
from quantis.types.registry import ModelVersion
from serve.forecasting.adaptive_intervals import AdaptiveIntervals
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.model_cache import MAX_MODELS, LoadedModel, ModelCache
from serve.forecasting.request_history import (
    RequestHistory,
    UnusableHistoryError,
    concat_snapshots,
    empty_snapshot,
    forecast_start,
    requested_quantiles,
    select_series,
)
from serve.forecasting.routing import ModelRouter, RoutedSeries
from serve.forecasting.sent_covariates import (
    changed_series,
    check_covariates,
    describe_unused,
    split_rounds,
    with_scenarios,
)
from serve.forecasting.stale_cache import StaleCache

_UNUSABLE = frozenset({Reason.off_grid, Reason.out_of_range, Reason.beyond_model})  # for what was sent
_EARLIEST = np.datetime64("1700-01-01", "us")


@dataclass(frozen=True)
class Inputs:
    """Model, data and times that a request is answered from; `dataset` is None where it is gone."""

    model: LoadedModel
    dataset: OpenDataset | None
    as_of: datetime
    steps: int
    cancellation: Cancellation


class Engine:
    """Forecasts from the models and data of one process; thread-safe."""

    def __init__(
        self,
        registry: Callable[[str], Registry],
        catalogue: Catalogue,
        vintages: Vintages,
        families: Mapping[str, str] = FAMILIES,
        outage_seconds: float = 0.0,
        *,
        calibrations: Calibrations | None = None,
        max_models: int = MAX_MODELS,
    ) -> None:
        """`registry` opens the registry of a team; only `families` are loaded; `calibrations` move intervals.

        For `outage_seconds` without the database, models and datasets that were asked for are still served.
        """
        self.catalogue = catalogue
        self.vintages = vintages
        self.router = ModelRouter(registry, outage_seconds)
        self.models = ModelCache(registry, catalogue, families, max_models)
        self.intervals = AdaptiveIntervals(calibrations, outage_seconds)
        self._datasets: StaleCache[OpenDataset | None] = StaleCache(outage_seconds)

    def forecast(
        self, team: str, ref: str, request: ForecastRequest, cancellation: Cancellation | None = None
    ) -> ForecastResponse:
        """Return one entry per requested series, in order; the ledger has it before it is returned.

        Each series is answered by the version that its share leads to. InvalidInput where nothing that was sent can
        be used; TimedOut, with nothing in the ledger, once it is cancelled.
        """
        cancellation = cancellation or Cancellation()
        cancellation.check()
        started = time.perf_counter()
        parts = self.router.divide(team, ref, [series.unique_id for series in request.series])
        as_of = request.as_of or datetime.now(UTC)
        inputs_of_parts = [
            self._read_inputs(team, part.version, request, as_of, cancellation) for part in parts
        ]
        answers = answer_parts(parts, inputs_of_parts, request)
        univariate = {
            position
            for part, inputs in zip(parts, inputs_of_parts, strict=True)
            if is_univariate(inputs.model.forecaster)
            for position in part.positions
        }
        first, inputs = parts[0], inputs_of_parts[0]
        response = ForecastResponse(
            forecast_id=str(uuid.uuid4()),
            model=ModelRef(
                name=first.version.model,
                version=first.version.version,
                alias=first.alias,
                family=first.version.family,
            ),
            dataset=inputs.dataset.ref if inputs.dataset else None,
            freq=inputs.model.task.freq,
            as_of=as_of,
            issued_at=datetime.now(UTC),
            forecasts=answers,
            warnings=[*_describe_shares(parts), *describe_unused(request.series, answers, univariate)],
        )
        _require_usable(response.forecasts)
        cancellation.check()
        self.vintages.append(team, request, response)
        _measure(first.version, response, time.perf_counter() - started)
        return response

    def _read_inputs(
        self,
        team: str,
        version: ModelVersion,
        request: ForecastRequest,
        as_of: datetime,
        cancellation: Cancellation,
    ) -> Inputs:
        model = self.intervals.move(team, version, self.models.load(team, version))
        steps = min(request.h or model.task.h, model.task.h)
        return Inputs(model, self._open(team, model.task.dataset), as_of, steps, cancellation)

    def _open(self, team: str, name: str) -> OpenDataset | None:
        def load() -> OpenDataset | None:
            try:
                return self.catalogue.open(team, name)
            except NotFound:
                return None

        return self._datasets.get((team, name), load)


def answer_parts(
    parts: Sequence[RoutedSeries], inputs_of_parts: Sequence[Inputs], request: ForecastRequest
) -> list[SeriesForecast]:
    """Return the entry of each requested series, in order, from the version of its part."""
    forecasts: dict[int, SeriesForecast] = {}
    for part, inputs in zip(parts, inputs_of_parts, strict=True):
        number = part.version.version if len(parts) > 1 else None
        part_entries = _forecast_part(
            inputs, request, [request.series[position] for position in part.positions]
        )
        for position, entry in zip(part.positions, part_entries, strict=True):
            moved_by = inputs.model.calibration if entry.method is ForecastMethod.model else None
            forecasts[position] = entry.model_copy(update={"version": number, "calibration": moved_by})
    return [forecasts[position] for position in range(len(request.series))]


def _forecast_part(
    inputs: Inputs, request: ForecastRequest, requested: Sequence[SeriesRequest]
) -> list[SeriesForecast]:
    """Answer the series of one version; all are refused where it was not trained for what is asked."""
    task = inputs.model.task
    try:
        quantiles, steps = requested_quantiles(request, task), resolve_horizon(request.h, task)
    except InvalidInput as error:
        refused = [_refuse(series.unique_id, Reason.beyond_model, error.message) for series in requested]
        return [to_series_forecast(entry, (), 0) for entry in refused]
    check_covariates(requested, task, steps)
    entries = _forecast_new_series(inputs, requested, _forecast_series(inputs, requested))
    return [to_series_forecast(entry, quantiles, steps) for entry in entries]


def _refuse(unique_id: str, reason: Reason, detail: str) -> ForecastEntry:
    return ForecastEntry(unique_id, "refused", ForecastMethod.none, reason, detail)


def _require_usable(forecasts: Sequence[SeriesForecast]) -> None:
    """Raise InvalidInput where no series of a request can be used for what was sent with it."""
    if any(entry.reason not in _UNUSABLE for entry in forecasts):
        return
    errors = [
        {"pointer": f"/series/{position}", "message": entry.detail or ""}
        for position, entry in enumerate(forecasts)
    ]
    raise InvalidInput(forecasts[0].detail or "nothing that was sent can be used", errors=errors)


def _describe_shares(parts: Sequence[RoutedSeries]) -> list[str]:
    if len(parts) == 1:
        return []
    total = sum(len(part.positions) for part in parts)
    return [
        f"{len(part.positions)} of {total} series are answered by version {part.version.version}, "
        "as the model's shares divide them"
        for part in parts
    ]


def _forecast_series(inputs: Inputs, requested: Sequence[SeriesRequest]) -> list[ForecastEntry]:
    """Forecast the requested series, in their order, in as many rounds as one of them has histories."""
    dataset, forecaster = inputs.dataset, inputs.model.forecaster
    sent_ids = [series.unique_id for series in requested if series.y is not None]
    panel = dataset.panel(inputs.as_of, Bounds(series=sent_ids)) if dataset and sent_ids else None
    entries: dict[int, ForecastEntry] = {}
    for positions in split_rounds(requested):
        inputs.cancellation.check()
        batch = [requested[position] for position in positions]
        sent_snapshots, refused = _sent_snapshots(inputs, batch, panel)
        stored_snapshots = _stored_snapshots(inputs, batch)
        scenarios = {name for snapshot in stored_snapshots for name in changed_series(snapshot, batch)}
        snapshots = [with_scenarios(snapshot, batch, forecaster.task) for snapshot in stored_snapshots]
        snapshots += sent_snapshots
        inputs.cancellation.check()
        ids = [series.unique_id for series in batch]
        batch_entries = fallback.forecast(
            forecaster,
            concat_snapshots(snapshots) if snapshots else empty_snapshot(forecaster.task),
            forecaster.task,
            requested=ids,
            unknown=set(ids) - inputs.model.training_ids,
            steps=inputs.steps,
        )
        for position, entry in zip(positions, batch_entries, strict=True):
            entry = refused.get(entry.unique_id, entry)
            entries[position] = replace(entry, scenario=True) if entry.unique_id in scenarios else entry
    return [entries[position] for position in range(len(requested))]


def _forecast_new_series(
    inputs: Inputs, requested: Sequence[SeriesRequest], entries: list[ForecastEntry]
) -> list[ForecastEntry]:
    """Replace the entries of series declared to have no value yet (`y` is []) by a typical series of the panel.

    An id that is merely unknown stays refused: it may be a slip.
    """
    new = [position for position, series in enumerate(requested) if series.y == []]
    if inputs.dataset is None or not new:
        return entries
    task = inputs.model.task
    peers = [SeriesRequest(unique_id=name) for name in cold_start.sample_peers(inputs.model.training_ids)]
    snapshots = _stored_snapshots(inputs, peers)
    for position in new if snapshots else ():
        inputs.cancellation.check()
        series = requested[position]
        try:
            start = forecast_start(series, task)
            entry = cold_start.typical_forecast(snapshots[0], task, series.unique_id, start, series.stat_exog)
        except UnusableHistoryError as error:
            entry = _refuse(series.unique_id, error.reason, error.detail)
        except InvalidInput as error:  # its start is not a step of the panel
            entry = _refuse(series.unique_id, Reason.off_grid, error.message)
        entries[position] = entry or entries[position]
    return entries


def _stored_snapshots(inputs: Inputs, requested: Sequence[SeriesRequest]) -> list[Snapshot]:
    """Read the series that bring no history from the store; each ends at its own last value known at `as_of`."""
    dataset = inputs.dataset
    ids = {series.unique_id for series in requested if series.y is None}
    if dataset is None or not ids:
        return []
    task = inputs.model.task
    frequency = task.frequency
    limit = latest_known_ds(inputs.as_of, dataset.spec.publication_lag)
    cutoff = frequency.floor(limit, to_datetime64(dataset.version.last_ds))
    # Two of the longest seasons feed the seasonal fallback; series may end up to `h` steps before the cutoff.
    context = max(inputs.model.forecaster.context_length, 2 * max(task.season_lengths)) + task.h
    panel = dataset.panel(
        inputs.as_of, Bounds(series=sorted(ids), start=_steps_before(cutoff, context, task))
    )
    ends = _last_times(panel, limit)
    latest_end = frequency.shift(np.array([cutoff]), -np.array([task.h]))[0]
    late = {name for name, end in ends.items() if end < latest_end}
    panels = [select_series(panel, ids - late) if late else panel]
    if late:  # their context begins earlier
        start = _steps_before(min(ends[name] for name in late), context, task)
        panels.append(dataset.panel(inputs.as_of, Bounds(series=sorted(late), start=start)))
    if silent := ids - set(ends):  # their last values are all that can be said of them
        panels.append(dataset.panel(inputs.as_of, Bounds(series=sorted(silent))))
    snapshots = [snapshot_of_latest(panel, limit, task) for panel in panels if panel.target.num_rows]
    if not snapshots:
        return []
    return [concat_snapshots(snapshots)] if len(snapshots) > 1 else snapshots


def _steps_before(time: np.datetime64, steps: int, task: Task) -> datetime:
    return to_datetime(max(task.frequency.shift(np.array([time]), -np.array([steps]))[0], _EARLIEST))


def _last_times(panel: Panel, limit: np.datetime64) -> dict[str, np.datetime64]:
    """Return the last time up to `limit` of each series of a sorted panel that has one."""
    target = panel.target.filter(pc.less_equal(panel.target[DS], timestamps(np.array([limit]))[0]))
    times = times_of(target[DS])
    return {name: times[rows.stop - 1] for name, rows in series_slices(target[ID])}


def _sent_snapshots(
    inputs: Inputs, requested: Sequence[SeriesRequest], panel: Panel | None
) -> tuple[list[Snapshot], dict[str, ForecastEntry]]:
    """Build snapshots of the series that bring their history, and entries of those whose history is unusable.

    `panel` fills in covariates that they lack.
    """
    snapshots = []
    refused: dict[str, ForecastEntry] = {}
    for series in requested:
        if series.y is None:
            continue
        stored = select_series(panel, {series.unique_id}) if panel else None
        try:
            snapshot = RequestHistory(series, inputs.model.task, stored, inputs.steps).snapshot()
        except UnusableHistoryError as error:
            refused[series.unique_id] = _refuse(series.unique_id, error.reason, error.detail)
            continue
        if snapshot is not None:
            snapshots.append(snapshot)
    return snapshots, refused


def _measure(version: ModelVersion, response: ForecastResponse, seconds: float) -> None:
    for entry in response.forecasts:
        instruments.count_entry(version.model, entry.method, entry.reason)
    instruments.observe_forecast(version.model, len(response.forecasts), seconds)
    instruments.count_vintages()

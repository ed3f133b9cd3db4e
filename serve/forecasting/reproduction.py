"""Reproduction of issued forecasts: the same versions on the same rows give the same numbers.

Another version on the same rows gives what it would have answered: a shadow forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cluster.datasets.catalogue import OpenDataset
from cluster.repositories.vintages import StoredForecast
from quantis.errors import InvalidInput, NotFound, QuantisError
from quantis.panel import ID
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef, SeriesForecast
from quantis.types.operations.live import VintageKind
from quantis.types.operations.reproduction import Reproduction
from quantis.types.registry import ModelVersion
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.engine import Engine, Inputs, answer_parts
from serve.forecasting.routing import RoutedSeries

JOBS_FORECAST = (
    "it was made by a job, for all series at once; a forecast job on the same dataset version with the same as_of "
    "makes it again"
)


def reproduce(engine: Engine, team: str, forecast_id: str) -> Reproduction:
    """Make an issued forecast again from its request, the rows known at its `as_of`, and the versions that answered."""
    stored = engine.vintages.stored(team, forecast_id)
    missing: list[str] = []
    response = None
    try:
        response = _repeat(engine, team, stored, missing)
    except InvalidInput as error:  # of a column that is gone, say
        missing.append(error.message)
    differences = list(_differences(stored.response, response)) if response else []
    return Reproduction(
        forecast_id=forecast_id,
        identical=None if response is None else _is_same(stored.response.forecasts, response.forecasts),
        largest_difference=max(differences, default=0.0) if response else None,
        missing=missing,
        response=response,
        reproduced_at=datetime.now(UTC),
    )


class InputGoneError(Exception):
    """A forecast cannot be made again, or nothing could judge it."""


def entries_of(response: ForecastResponse, version: int) -> list[SeriesForecast]:
    """Return the entries that a version answered."""
    return [response.forecasts[position] for position in _positions(response).get(version, [])]


def forecast_as(
    engine: Engine, team: str, stored: StoredForecast, version: ModelVersion, answered_by: int
) -> StoredForecast:
    """Make an issued forecast by another version: the series that `answered_by` answered, from the rows known then.

    Its times are those of the issued one, its intervals those in effect then. InputGoneError where an input is gone;
    whatever the version raises goes through.
    """
    request, issued = stored.request, stored.response
    if len(issued.forecasts) != len(request.series):
        raise InputGoneError("the forecast is kept without the entries of all its series")
    positions = _positions(issued)[answered_by]
    missing: list[str] = []
    dataset = _open(engine, team, issued, missing)
    if dataset is None or missing:
        raise InputGoneError(missing[0] if missing else "it was made without a stored dataset")
    if stored.kind == VintageKind.batch and not _are_stored(dataset, request):
        raise InputGoneError("it was reconciled over a hierarchy, whose nodes are no stored series")
    model = engine.models.load(team, version)
    task = model.task
    if task.dataset != dataset.ref.name:
        raise InvalidInput(
            f"version {version.version} learned from {task.dataset!r}, not {dataset.ref.name!r}"
        )
    model = engine.intervals.move_at(team, version, model, issued.issued_at)
    inputs = Inputs(model, dataset, issued.as_of, min(request.h or task.h, task.h), Cancellation())
    request = request.model_copy(update={"series": [request.series[position] for position in positions]})
    part = RoutedSeries(version, None, list(range(len(positions))))
    response = issued.model_copy(
        update={
            "model": ModelRef(name=version.model, version=version.version, family=version.family),
            "forecasts": answer_parts([part], [inputs], request),
            "freq": task.freq,
            "warnings": [],
        }
    )
    return StoredForecast(stored.kind, request, response)


def _repeat(engine: Engine, team: str, stored: StoredForecast, missing: list[str]) -> ForecastResponse | None:
    """Answer the request again; None, with the reasons in `missing`, where an input is gone."""
    request, response = stored.request, stored.response
    if stored.kind == VintageKind.batch:
        missing.append(JOBS_FORECAST)
    if len(response.forecasts) != len(request.series):
        missing.append("the forecast is kept without the entries of all its series")
        return None
    dataset = _open(engine, team, response, missing)
    parts = []
    for version, positions in _positions(response).items():
        try:
            routed = engine.router.version(team, response.model.name, version)
            entries = [response.forecasts[position] for position in positions]
            moved_by = next((entry.calibration for entry in entries if entry.calibration), None)
            model = engine.intervals.move_as(team, routed, engine.models.load(team, routed), moved_by)
            parts.append((RoutedSeries(routed, response.model.alias, positions), model))
        except QuantisError as error:
            missing.append(f"version {version} of {response.model.name!r}: {error.message}")
    if missing:
        return None
    inputs = [
        Inputs(model, dataset, response.as_of, min(request.h or model.task.h, model.task.h), Cancellation())
        for _, model in parts
    ]
    repeated = answer_parts([part for part, _ in parts], inputs, request)
    return response.model_copy(update={"forecasts": repeated})


def _open(engine: Engine, team: str, response: ForecastResponse, missing: list[str]) -> OpenDataset | None:
    """Open the dataset version that the forecast was made from."""
    if response.dataset is None:
        return None
    try:
        dataset = engine.catalogue.open(team, response.dataset.name, response.dataset.version)
        if dataset.version.purged_at is not None:
            purged = f"{dataset.version.purged_at:%Y-%m-%d %H:%M} UTC"
            missing.append(f"rows of {response.dataset.name!r}: series were purged at {purged}")
        return dataset
    except NotFound as error:
        missing.append(f"version {response.dataset.version} of {response.dataset.name!r}: {error.message}")
        return None


def _are_stored(dataset: OpenDataset, request: ForecastRequest) -> bool:
    stored = frozenset(dataset.store.series(dataset.pins)[ID].to_pylist())
    return all(series.unique_id in stored for series in request.series)


def _positions(response: ForecastResponse) -> dict[int, list[int]]:
    """Return the positions of the series that each version answered, in the order of their first ones."""
    positions: dict[int, list[int]] = {}
    for position, entry in enumerate(response.forecasts):
        positions.setdefault(entry.version or response.model.version, []).append(position)
    return positions


def _is_same(issued: Sequence[SeriesForecast], repeated: Sequence[SeriesForecast]) -> bool:
    return [entry.model_dump() for entry in issued] == [entry.model_dump() for entry in repeated]


def _differences(issued: ForecastResponse, repeated: ForecastResponse) -> Iterator[float]:
    """Yield the relative difference of each mean and quantile that both have."""
    for before, after in zip(issued.forecasts, repeated.forecasts, strict=True):
        columns = [(before.mean, after.mean)]
        columns += [(values, after.quantiles.get(level, [])) for level, values in before.quantiles.items()]
        for first_values, second_values in columns:
            for first, second in zip(first_values, second_values, strict=False):
                larger = max(abs(first), abs(second))
                yield abs(first - second) / larger if larger else 0.0

"""Forecasts of the in-memory platform: the last value, with the spread of a random walk."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np

from quantis.errors import NotFound
from quantis.frequency import Frequency, to_datetime64, to_datetimes
from quantis.testing.datasets import FakeDatasets
from quantis.types.forecasts import (
    ForecastMethod,
    ForecastRequest,
    ForecastResponse,
    ModelRef,
    Reason,
    SeriesForecast,
    SeriesRequest,
)
from quantis.types.job_specs import DEFAULT_QUANTILES
from quantis.types.registry import ModelVersion

History = tuple[list[datetime], list[float]]


def make_forecast(
    body: ForecastRequest, version: ModelVersion, alias: str | None, datasets: FakeDatasets
) -> ForecastResponse:
    """Return an entry per requested series, in their order."""
    as_of = body.as_of or datetime.now(UTC)
    entries = [
        _forecast_entry(series, _read_history(series, version, as_of, datasets), body, version)
        for series in body.series
    ]
    return ForecastResponse(
        forecast_id=secrets.token_hex(8),
        model=ModelRef(name=version.model, version=version.version, alias=alias, family=version.family),
        freq=version.freq,
        as_of=as_of,
        issued_at=datetime.now(UTC),
        forecasts=entries,
        warnings=["an in-memory platform answers with the last value, not with a model"],
    )


def _forecast_entry(
    series: SeriesRequest, history: History, body: ForecastRequest, version: ModelVersion
) -> SeriesForecast:
    times, values = history
    if not values:
        return SeriesForecast(
            unique_id=series.unique_id,
            status="refused",
            method=ForecastMethod.none,
            reason=Reason.no_history,
            detail="no value is given or stored",
            ds=[],
            mean=[],
            quantiles={},
        )
    h = body.h or version.h
    spread = float(np.std(np.diff(values))) if len(values) > 1 else 0.0
    widths = spread * np.sqrt(np.arange(1, h + 1))
    return SeriesForecast(
        unique_id=series.unique_id,
        status="fallback",
        method=ForecastMethod.last_value,
        reason=Reason.model_failed,
        detail="there is no model in memory",
        ds=_next_times(times[-1], version.freq, h),
        mean=[values[-1]] * h,
        quantiles={
            f"{q:g}": (values[-1] + NormalDist().inv_cdf(q) * widths).tolist() for q in _quantiles(body)
        },
    )


def _quantiles(body: ForecastRequest) -> list[float]:
    if body.level is not None:
        quantiles = {0.5}
        for level in body.level:
            quantiles |= {round((1 - level / 100) / 2, 6), round((1 + level / 100) / 2, 6)}
        return sorted(quantiles)
    return list(body.quantiles or DEFAULT_QUANTILES)


def _read_history(
    series: SeriesRequest, version: ModelVersion, as_of: datetime, datasets: FakeDatasets
) -> History:
    if series.y is not None:
        times = series.ds or _history_times(series.start, version.freq, len(series.y))
        return _drop_missing(times, series.y)
    try:
        stored = datasets.read(version.dataset or "", series.unique_id, {"as_of": as_of.isoformat()})
    except NotFound:
        return [], []
    return _drop_missing(stored.ds, stored.y)


def _drop_missing(times: list[datetime], values: list[float | None]) -> History:
    pairs = [(t, y) for t, y in zip(times, values, strict=True) if y is not None]
    return [t for t, _ in pairs], [y for _, y in pairs]


def _history_times(start: datetime | None, freq: str, count: int) -> list[datetime]:
    return [start, *_next_times(start, freq, count - 1)] if start and count else []


def _next_times(last: datetime, freq: str, steps: int) -> list[datetime]:
    return to_datetimes(Frequency.parse(freq).after(to_datetime64(last), steps))

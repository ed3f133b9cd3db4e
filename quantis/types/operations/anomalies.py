"""Anomalies: actuals that the latest forecast before them held to be all but impossible."""

from __future__ import annotations

from pydantic import Field

from quantis.types.base import Frozen, SeriesId, Timestamp


class Anomaly(Frozen):
    """An actual far outside the forecast that preceded it."""

    unique_id: SeriesId
    ds: Timestamp
    y: float
    known_at: Timestamp = Field(description="When this actual became known.")
    expected: float = Field(description="Median of the forecast.")
    low: float = Field(description="Its lowest quantile.")
    high: float = Field(description="Its highest quantile.")
    score: float = Field(
        description="Surprise in standard deviations of a normal law, negative below the forecast; at most 37."
    )
    p_value: float = Field(description="Chance of an actual at least as far out, if the forecast is right.")
    q_value: float = Field(
        description="Least rate of false discoveries at which the series is reported, over all series of the append."
    )
    forecast_id: str
    model: str
    version: int | None
    cutoff: Timestamp


class AnomalyScan(Frozen):
    """Anomalies among the actuals of one append, most surprising first."""

    anomalies: tuple[Anomaly, ...]
    series: int = Field(description="Series that were tested.")
    points: int = Field(description="Actuals that were tested, each against its latest forecast.")
    unscored: int = Field(description="Actuals whose forecast has no spread to measure by.")
    false_discovery_rate: float = Field(
        description="Expected share of false reports among the series reported."
    )


class DatasetAnomalies(Frozen):
    """Anomalies among the actuals of a dataset that arrived in a time, each append tested for itself; latest first."""

    dataset: str
    since: Timestamp
    appends: int = Field(description="Appends that brought an actual of a forecast.")
    points: int = Field(description="Actuals that were compared with a forecast.")
    unscored: int = Field(description="Actuals whose forecast has no spread to measure by.")
    false_discovery_rate: float = Field(description="Within one append.")
    items: list[Anomaly]
    next_cursor: str | None = None

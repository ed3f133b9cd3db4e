"""Live accuracy: issued forecasts against the actuals that came after them."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from quantis.types.base import Frozen, Timestamp


class VintageKind(StrEnum):
    """The occasion on which a forecast was issued."""

    online = "online"
    batch = "batch"
    shadow = "shadow"
    replay = "replay"


SERVED = (VintageKind.online, VintageKind.batch)
"""Kinds of forecasts that somebody got; the others are a challenger's, made beside them."""


class LiveDimension(StrEnum):
    """The property of forecasts by which live accuracy is cut."""

    day = "day"
    series = "series"
    step = "step"
    version = "version"
    segment = "segment"
    method = "method"


class NaiveFigures(Frozen):
    """Seasonal naive on the same points, from what was known when each forecast was issued."""

    n: int = Field(description="Points of these for which there was a value to repeat.")
    wape: float | None
    mase: float | None
    bias: float | None


class LiveFigures(Frozen):
    """Accuracy of forecasts on the points whose actuals have come; null where a figure is not defined."""

    label: str = Field(
        description="The day, series, step, version, segment or method; 'all' for all of them."
    )
    n: int = Field(description="Points: pairs of a forecast's step and its actual.")
    forecasts: int = Field(description="Forecasts that these are steps of.")
    wape: float | None = Field(description="Sum of absolute errors of the median over that of actuals.")
    mase: float | None = Field(
        description="Mean absolute error over that of the seasonal naive on the history that the version learned "
        "from, averaged over pairs of series and cutoff."
    )
    bias: float | None = Field(
        description="Sum of errors of the mean, forecast less actual, over that of actuals."
    )
    wql: float | None = Field(description="Weighted quantile loss over all quantiles that were forecast.")
    coverage: dict[str, float] = Field(
        description="Share of actuals in the central interval, by its level in percent."
    )
    seasonal_naive: NaiveFigures


class LiveAccuracy(Frozen):
    """Live accuracy of a model: as a whole, and cut by a dimension."""

    model: str
    by: LiveDimension
    overall: LiveFigures
    items: list[LiveFigures]
    next_cursor: str | None = None
    corrected: int = Field(description="Points whose actual was corrected and which were scored again.")
    waiting: int = Field(description="Points whose actual has not come.")
    hindsight: int = Field(
        description="Points left out: their actual was stored before the forecast was issued."
    )
    learned: int = Field(
        description="Points left out: the version was fitted on data of later than their origin."
    )
    scenarios: int = Field(
        description="Points left out: forecast under covariates that were changed on purpose."
    )
    newest_actual: Timestamp | None = Field(description="`recorded_at` of the last actual that was scored.")

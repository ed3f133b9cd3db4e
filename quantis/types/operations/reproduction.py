"""Reproductions: a forecast made again from what was known, by the versions that made it."""

from __future__ import annotations

from pydantic import Field

from quantis.types.base import Frozen, Timestamp
from quantis.types.forecasts import ForecastResponse


class Reproduction(Frozen):
    """A forecast made again, or the inputs that are gone."""

    forecast_id: str
    identical: bool | None = Field(description="The same numbers to the bit; null where an input is gone.")
    largest_difference: float | None = Field(
        description="Of any mean or quantile, relative to the larger one; null where nothing could be compared."
    )
    missing: list[str] = Field(description="What is gone, and why, a sentence each.")
    response: ForecastResponse | None = Field(description="The forecast as it was made again.")
    reproduced_at: Timestamp

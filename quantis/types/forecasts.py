"""Forecast requests and responses."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from quantis.types.base import (
    MAX_COLUMNS,
    MAX_HISTORY,
    MAX_HORIZON,
    Cell,
    Frozen,
    RequestBody,
    SeriesId,
    Timestamp,
    is_none,
    rename_keys,
)
from quantis.types.datasets import Column
from quantis.types.job_specs import Horizon, Quantile

Values = Annotated[list[Cell], Field(max_length=MAX_HISTORY + MAX_HORIZON)]
"""Over a history and a horizon at most."""


class ForecastMethod(StrEnum):
    """The fallback chain: the model, then the simpler methods that stand in for it."""

    model = "model"
    seasonal_naive = "seasonal_naive"
    last_value = "last_value"
    typical = "typical"
    none = "none"


class Reason(StrEnum):
    """The reason why an entry does not come from the model."""

    unknown_series = "unknown_series"
    short_history = "short_history"
    no_history = "no_history"
    missing_future = "missing_future"
    model_failed = "model_failed"
    off_grid = "off_grid"
    out_of_range = "out_of_range"
    beyond_model = "beyond_model"


MAX_REPEATS = 32
"""Histories or scenarios of one series in a request, each of which is forecast in a round of its own."""


class SeriesRequest(RequestBody):
    """A series: its id, with the stored history, or with a history of its own.

    Covariates that are sent take the place of the stored ones, with a stored history too: that is the what-if.
    """

    unique_id: SeriesId
    start: Timestamp | None = Field(default=None, description="Time of y[0], when `ds` is not given.")
    ds: list[Timestamp] | None = Field(default=None, max_length=MAX_HISTORY)
    y: list[float | None] | None = Field(
        default=None,
        max_length=MAX_HISTORY,
        description="Absent: read from the store. Empty: a series without a value yet, forecast from `start` "
        "by what is typical of its panel, of those series that share most of `stat_exog`.",
    )
    hist_exog: dict[Column, Values] = Field(default={}, max_length=MAX_COLUMNS)
    futr_exog: dict[Column, Values] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="Known-future covariates: over the horizon. With `y` also over history and horizon, or the "
        "history alone; with as many values as the horizon has steps they are the horizon's.",
    )
    stat_exog: dict[Column, Cell] = Field(default={}, max_length=MAX_COLUMNS)

    @model_validator(mode="after")
    def _check_times(self) -> SeriesRequest:
        if self.y is None:
            if self.ds is not None or self.start is not None:
                raise ValueError("times without y: give y, or neither")
            return self
        if self.y and (self.start is None) == (self.ds is None):
            raise ValueError("a history needs its times: give either start or ds")
        if self.ds is not None and len(self.ds) != len(self.y):
            raise ValueError(f"ds has {len(self.ds)} times, y {len(self.y)} values; make them equal")
        return self

    @property
    def brings_data(self) -> bool:
        """True if it is not forecast just as it is stored."""
        return self.y is not None or bool(self.hist_exog or self.futr_exog or self.stat_exog)


class ForecastRequest(RequestBody):
    h: Horizon | None = Field(
        default=None, description="Steps; the model's horizon when absent, and at most it."
    )
    level: list[float] | None = Field(
        default=None, max_length=50, description="Coverage in percent, such as 80. Not with quantiles."
    )
    quantiles: list[Quantile] | None = Field(default=None, max_length=100)
    series: list[SeriesRequest] = Field(min_length=1, max_length=1000)
    as_of: Timestamp | None = Field(
        default=None, description="Forecast with what was known then; now when absent."
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, le=600_000, description="When the answer must be there; 60,000 when absent."
    )

    @model_validator(mode="after")
    def _check_levels(self) -> ForecastRequest:
        if self.level is not None and self.quantiles is not None:
            raise ValueError("level and quantiles both given; give one")
        for value in self.level or ():
            if not 0 < value < 100:
                raise ValueError(f"level {value} is not between 0 and 100; 80 means an 80 % interval")
        return self

    @model_validator(mode="after")
    def _check_repeats(self) -> ForecastRequest:
        names = [series.unique_id for series in self.series if series.brings_data]
        name, times = Counter(names).most_common(1)[0] if names else ("", 0)
        if times > MAX_REPEATS:
            raise ValueError(
                f"series {name!r} comes {times} times with a history or covariates of its own; send at most "
                f"{MAX_REPEATS} in one request, and the others in another"
            )
        return self

    @property
    def seconds(self) -> float:
        """Until the deadline."""
        return (self.deadline_ms or 60_000) / 1000


class ModelRef(Frozen):
    name: str
    version: int
    alias: str | None = None
    family: str


class DatasetRef(Frozen):
    """The version of the stored dataset that was read: with `as_of` it gives the same rows again."""

    name: str
    version: int


class SeriesForecast(Frozen):
    """The entry of one requested series; `status` is refused where there is nothing usable to forecast from."""

    unique_id: str
    status: str = Field(pattern="^(ok|fallback|refused)$")
    method: ForecastMethod
    reason: Reason | None = None
    detail: str | None = None
    version: int | None = Field(
        default=None,
        exclude_if=lambda version: version is None,
        description="The version that answered, where shares divide the series of a request between versions.",
    )
    scenario: bool = Field(
        default=False,
        exclude_if=lambda scenario: not scenario,
        description="Made with covariates that were sent in place of other stored ones: it is kept, and never scored.",
    )
    calibration: int | None = Field(
        default=None,
        exclude_if=is_none,
        description="The number of the version's adaptive calibration that moved the intervals, where one did.",
    )
    ds: list[Timestamp]
    mean: list[float]
    quantiles: dict[str, list[float]]

    _old_names = model_validator(mode="before")(rename_keys(rung="method"))


class ForecastRecord(Frozen):
    """A step of an issued forecast; a refused series has one record, without time and values."""

    unique_id: str
    ds: Timestamp | None
    mean: float | None
    quantiles: dict[str, float | None]
    status: str
    method: ForecastMethod
    reason: Reason | None
    detail: str | None
    model: str
    version: int
    as_of: Timestamp
    issued_at: Timestamp
    forecast_id: str


class CrossValidationRecord(Frozen):
    """A step of a backtest's forecast from `cutoff` beside the actual, which is null where nothing was observed."""

    unique_id: str
    ds: Timestamp
    cutoff: Timestamp
    y: float | None
    model: str
    mean: float | None
    quantiles: dict[str, float | None]


class ForecastResponse(Frozen):
    forecast_id: str
    model: ModelRef
    dataset: DatasetRef | None = Field(
        default=None,
        description="What stored histories and covariates were read from; null when nothing was stored.",
    )
    freq: str
    as_of: Timestamp
    issued_at: Timestamp
    forecasts: list[SeriesForecast]
    warnings: list[str] = []

"""Alerts: facts that are measured, rules that compare them, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from quantis.types.base import Duration, Frozen, Id, Name, RequestBody, Timestamp
from quantis.types.reading import TimeZone

MAX_KEY = 80
"""Characters of what tells facts of one name and one model apart, such as the kind of a job."""
MAX_CHANNELS = 50
_LONGEST = timedelta(days=31)


class FactName(StrEnum):
    """A measure of a model or a dataset, which rules compare."""

    live_wape = "live_wape"
    live_wape_over_naive = "live_wape_over_naive"
    live_wape_over_backtest = "live_wape_over_backtest"
    coverage_80 = "coverage_80"
    coverage_burn_rate = "coverage_burn_rate"
    drift = "drift"
    anomaly = "anomaly"
    freshness_seconds = "freshness_seconds"
    freshness_periods = "freshness_periods"
    job_failed = "job_failed"
    experiment_rolled_back = "experiment_rolled_back"
    forecast_missing = "forecast_missing"


class Fact(Frozen):
    """A measured value of a model or a dataset; who measures does not know the rules."""

    name: FactName
    value: float
    at: Timestamp
    model: Name | None = None
    dataset: Name | None = None
    key: str = Field(default="", max_length=MAX_KEY, description="Part of the model or dataset, if not all.")
    points: int | None = Field(default=None, description="Points that the value was computed from.")
    detail: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check_subject(self) -> Fact:
        if self.model is None and self.dataset is None:
            raise ValueError("a fact is about a model or a dataset; name one")
        return self

    @property
    def group(self) -> str:
        """Return what notifications are grouped by: the model, or the dataset of a fact without one."""
        return self.model or self.dataset or ""

    @property
    def subject(self) -> str:
        return f"{self.model or ''}|{self.dataset or ''}|{self.key}"


class AlertSeverity(StrEnum):
    info = "info"
    warning = "warning"
    critical = "critical"


class Weekday(StrEnum):
    monday = "monday"
    tuesday = "tuesday"
    wednesday = "wednesday"
    thursday = "thursday"
    friday = "friday"
    saturday = "saturday"
    sunday = "sunday"


Measured = Literal[
    FactName.live_wape,
    FactName.live_wape_over_naive,
    FactName.live_wape_over_backtest,
    FactName.coverage_80,
    FactName.coverage_burn_rate,
    FactName.drift,
    FactName.anomaly,
    FactName.freshness_seconds,
    FactName.freshness_periods,
    FactName.job_failed,
    FactName.experiment_rolled_back,
]
"""Facts that are compared with a number."""


class Above(RequestBody):
    """Hold while a fact is above a threshold."""

    kind: Literal["above"] = "above"
    fact: Measured
    threshold: float
    clear_below: float | None = Field(
        default=None, description="An alert clears at this value or below it; at the threshold when absent."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Above:
        if self.clear_below is not None and self.clear_below > self.threshold:
            raise ValueError("clear_below is above the threshold, so an alert would clear at once; lower it")
        return self


class Outside(RequestBody):
    """Hold while a fact is outside a band."""

    kind: Literal["outside"] = "outside"
    fact: Measured
    low: float
    high: float
    margin: float = Field(
        default=0, ge=0, description="How far inside the band the value must be for an alert to clear."
    )

    @model_validator(mode="after")
    def _check_band(self) -> Outside:
        if not self.low + self.margin <= self.high - self.margin:
            raise ValueError("no value lies inside this band and its margin; raise high or lower low")
        return self


class NoForecastBy(RequestBody):
    """Hold from a time of the day on which the model has issued no forecast, until it issues one."""

    kind: Literal["no_forecast_by"] = "no_forecast_by"
    by: Annotated[str, StringConstraints(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    time_zone: TimeZone = "UTC"
    weekdays: tuple[Weekday, ...] = Field(default=(), max_length=7, description="Every day when empty.")

    @property
    def fact(self) -> FactName:
        return FactName.forecast_missing


Condition = Annotated[Above | Outside | NoForecastBy, Field(discriminator="kind")]
Hold = Annotated[Duration, Field(ge=timedelta(0), le=_LONGEST)]
Channels = Annotated[tuple[Id, ...], Field(max_length=MAX_CHANNELS)]


class NewAlertRule(RequestBody):
    """A condition, the models and datasets that it is for, and who is told."""

    name: Name
    condition: Condition
    model: Name | None = Field(default=None, description="Every model when absent.")
    dataset: Name | None = Field(default=None, description="Every dataset when absent.")
    duration: Hold = Field(
        default=timedelta(0), description="How long the condition must hold before an alert opens."
    )
    clear_after: Hold = Field(
        default=timedelta(0), description="How long it must hold no more before the alert is resolved."
    )
    minimum_points: int = Field(
        default=0, ge=0, le=1_000_000, description="Facts computed from fewer points are passed over."
    )
    severity: AlertSeverity = AlertSeverity.warning
    channels: Channels = Field(default=(), description="Channels that are told; all of the team when empty.")
    replaces: Id | None = Field(
        default=None,
        description="A default rule that does not apply to this rule's model or dataset any more.",
    )
    enabled: bool = True

    @model_validator(mode="after")
    def _check_model(self) -> NewAlertRule:
        if isinstance(self.condition, NoForecastBy) and self.model is None:
            raise ValueError("a rule on missing forecasts is for one model; name it as `model`")
        return self


class AlertRuleChange(RequestBody):
    """A change of a rule; absent fields stay as they are."""

    condition: Condition | None = None
    duration: Hold | None = None
    clear_after: Hold | None = None
    minimum_points: int | None = Field(default=None, ge=0, le=1_000_000)
    severity: AlertSeverity | None = None
    channels: Channels | None = None
    enabled: bool | None = None


class AlertRule(NewAlertRule):
    """`source`: a default that comes with every model, a default that was changed, or a rule of the team's own."""

    id: str
    source: Literal["default", "changed", "team"]
    changed_at: Timestamp | None = None
    changed_by: str | None = None


class AlertState(StrEnum):
    open = "open"
    acknowledged = "acknowledged"
    snoozed = "snoozed"
    resolved = "resolved"


class AlertNote(RequestBody):
    note: str = Field(default="", max_length=500)


class SnoozeRequest(AlertNote):
    duration: Duration = Field(default=timedelta(hours=1), ge=timedelta(minutes=1), le=_LONGEST)


class AlertEvent(Frozen):
    """A change of an alert's state, by a person or, where `actor` is null, by the platform."""

    at: Timestamp
    state: AlertState
    actor: str | None = None
    reason: str
    value: float | None = None


class Alert(Frozen):
    """A finding of a rule about a model or a dataset, the only one of both that is not resolved."""

    id: str
    rule: str
    rule_name: str
    severity: AlertSeverity
    state: AlertState
    model: str | None
    dataset: str | None
    fact: FactName
    key: str
    value: float
    summary: str
    detail: dict[str, Any] = Field(default={}, description="As measured when the alert opened.")
    opened_at: Timestamp
    changed_at: Timestamp
    snoozed_until: Timestamp | None = None

    @property
    def group(self) -> str:
        return self.model or self.dataset or ""


class AlertWithHistory(Alert):
    history: list[AlertEvent]

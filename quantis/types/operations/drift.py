"""Drift: data and residuals of late that differ from those before, with their size and their surprise."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from quantis.types.base import Duration, Frozen, Timestamp


class DriftKind(StrEnum):
    """The part of the data that drifted."""

    target = "target"
    covariate = "covariate"
    residual = "residual"
    missing = "missing"
    category = "category"
    lateness = "lateness"


class DriftAspect(StrEnum):
    """The property that changed: mean, deviation from it, share of rows or of a category, or categories never seen."""

    level = "level"
    spread = "spread"
    share = "share"
    new = "new"


class DriftedPart(Frozen):
    """A series, or a category, whose last points differ from those before."""

    unique_id: str | None = Field(description="Null for all series together.")
    category: str | None = Field(
        default=None, description="The category whose share changed, or that is new."
    )
    before: float = Field(description="Mean, mean deviation or share before the window.")
    after: float = Field(description="The same in the window.")
    p_value: float | None = Field(description="Null for a category never seen: that is no matter of chance.")
    q_value: float | None = Field(description="Least rate of false discoveries at which this is reported.")


class DriftFinding(Frozen):
    """A column that drifted in one aspect."""

    column: str
    kind: DriftKind
    aspect: DriftAspect
    parts: tuple[DriftedPart, ...] = Field(description="Most surprising first, at most 100.")
    drifted: int = Field(description="Parts that drifted.")
    tested: int = Field(description="Parts that were tested.")
    psi: float | None = Field(
        description="Population stability index over all series, less what chance alone gives; above 0.25 is large."
    )
    wasserstein: float | None = Field(
        description="Wasserstein distance of the drifted parts in standard deviations of their reference."
    )
    importance: float = Field(
        description="Importance of the column to the model, 1 for target and residuals."
    )
    rank_score: float = Field(description="Importance times size, by which findings are ranked.")


class ResidualChange(Frozen):
    """A change of a model's mean residual that Page and Hinkley's test found."""

    since: Timestamp = Field(description="When the residuals began to differ.")
    detected: Timestamp
    rose: bool = Field(description="True where forecasts have become too low.")


class DriftReport(Frozen):
    """Drift of a dataset, and of a model's residuals where they were given; most important first."""

    window: int = Field(description="Last points of each series, which are compared.")
    reference: int = Field(description="Points before, with which they are compared; too few test nothing.")
    start: Timestamp | None = Field(description="Time of the window's first point.")
    end: Timestamp | None
    tested: int = Field(description="Hypotheses: aspects of columns of series.")
    ranked_by: Literal["model", "equal"] = Field(
        default="equal",
        description="Importances that findings are ranked by: those of the model, or equal ones where it has none.",
    )
    false_discovery_rate: float
    findings: tuple[DriftFinding, ...]
    residual_change: ResidualChange | None = None


class Freshness(Frozen):
    """The newest value of a dataset against its declared lag."""

    newest_ds: Timestamp | None
    newest_recorded_at: Timestamp | None
    expected_at: Timestamp | None = Field(
        description="When the next value is due: a step and the lag after `newest_ds`."
    )
    late: Duration = Field(description="Whole seconds since then, zero where it is not due.")
    on_time: bool


class DatasetDrift(Frozen):
    """Drift of a dataset as known now, with a model's residuals where one was named, and its freshness."""

    dataset: str
    version: int
    model: str | None
    drift: DriftReport
    freshness: Freshness

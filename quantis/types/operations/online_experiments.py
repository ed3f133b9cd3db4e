"""Online experiments: a challenger beside the champion, in the shadow or with a share of the requests."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from quantis.types.base import Duration, Frozen, Name, Number, RequestBody, Timestamp
from quantis.types.operations.experiments import ComparedLoss, ExperimentVerdict
from quantis.types.operations.shadows import ShadowProgress

_HOUR, _YEAR = timedelta(hours=1), timedelta(days=366)


class ExperimentMode(StrEnum):
    """Occasion on which the challenger forecasts: beside the answers alone, or for a share of the series."""

    shadow = "shadow"
    canary = "canary"


class AutoPromotion(StrEnum):
    """Verdict at which the challenger becomes the champion by itself."""

    off = "off"
    when_better = "when_better"
    when_not_worse = "when_not_worse"


class OnlineExperimentState(StrEnum):
    running = "running"
    promoted = "promoted"
    rolled_back = "rolled_back"
    inconclusive = "inconclusive"
    stopped = "stopped"


class ExperimentAction(StrEnum):
    """Consequence of an assessment of an experiment."""

    wait = "wait"
    advance = "advance"
    promote = "promote"
    roll_back = "roll_back"
    end = "end"


class RampStep(RequestBody):
    """A share of the series, and what ends the step: that many scored pairs since the start, that much time."""

    percent: Annotated[int, Field(ge=1, le=100)]
    pairs: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="Scored pairs since the start of the experiment that the step waits for."
    )
    lasts: Duration | None = Field(
        default=None, ge=timedelta(minutes=1), le=_YEAR, description="Time that the step takes at least."
    )


DEFAULT_RAMP = tuple(RampStep(percent=percent, lasts=timedelta(days=1)) for percent in (1, 10, 50))


class GuardRails(RequestBody):
    """Limits that roll back at once; each counts from `requests` of either version on."""

    requests: int = Field(default=20, ge=1, le=10**6, description="Requests of each version that are needed.")
    error_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Failed requests of the challenger beyond the incumbent's share.",
    )
    fallback_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Series of the challenger that a simpler method answered, beyond the incumbent's share.",
    )
    latency_ratio: float = Field(
        default=3.0, gt=1, le=1000, description="Mean time of the challenger in multiples of the incumbent's."
    )


class NewOnlineExperiment(RequestBody):
    """A challenger against the version that is the model's champion when it is asked for."""

    name: Name
    model: Name
    challenger: Number
    mode: ExperimentMode = ExperimentMode.shadow
    share: int = Field(
        default=100,
        ge=1,
        le=100,
        description="Live requests in a hundred for which the version that did not answer is computed as well.",
    )
    ramp: Annotated[tuple[RampStep, ...], Field(min_length=1, max_length=20)] | None = Field(
        default=None,
        description="Of a canary: its shares of the series, in their order; 1, 10, 50 by default.",
    )
    replay_days: int = Field(
        default=0,
        ge=0,
        le=366,
        description="Of a shadow: days before the start whose forecasts it makes as well, as of their times.",
    )
    alpha: float = Field(
        default=0.05, gt=0, le=0.5, description="Chance that equal versions are called different."
    )
    margin: float = Field(default=0.02, ge=0, le=1, description="Difference of losses that counts as none.")
    loss: ComparedLoss = ComparedLoss.quantile
    promote: AutoPromotion = AutoPromotion.off
    roll_back: bool = Field(default=True, description="End it by itself when the challenger is worse.")
    guard_rails: GuardRails = GuardRails()
    lasts: Duration = Field(
        default=timedelta(days=60),
        ge=_HOUR,
        le=_YEAR,
        description="Time after which it ends without a verdict.",
    )

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode is ExperimentMode.shadow and self.ramp:
            raise ValueError(
                "a shadow answers nobody, so it has no ramp; leave it out, or use the mode canary"
            )
        if self.mode is ExperimentMode.canary and self.replay_days:
            raise ValueError("a canary replays nothing; leave replay_days out, or use the mode shadow")
        ramp = self.ramp or ()
        if any(step.pairs is None and step.lasts is None for step in ramp):
            raise ValueError("a step of the ramp never ends; give it pairs or a duration")
        if any(after.percent <= before.percent for before, after in pairwise(ramp)):
            raise ValueError("the shares of the ramp do not grow from step to step; order them")
        return self

    @property
    def steps(self) -> tuple[RampStep, ...]:
        """The shares of the series that a canary answers; none for a shadow."""
        return (self.ramp or DEFAULT_RAMP) if self.mode is ExperimentMode.canary else ()


class ArmFigures(Frozen):
    """Measures of one version's answers in the current step of an experiment; null where nothing was counted."""

    requests: int
    error_share: float | None
    fallback_share: float | None
    seconds: float | None = Field(description="Mean time of a request.")


class ExperimentAssessment(Frozen):
    """An assessment of an experiment: the figures, and what followed from them."""

    number: int = Field(
        description="Assessments count from 1; of assessments without consequence the last of a day is kept."
    )
    at: Timestamp
    verdict: ExperimentVerdict
    challenger: ArmFigures
    incumbent: ArmFigures
    action: ExperimentAction
    reason: str


class OnlineExperiment(Frozen):
    """An experiment; `traffic` is the challenger's share of the series now."""

    id: str
    name: str
    model: str
    challenger: int
    incumbent: int = Field(description="The champion when it began.")
    mode: ExperimentMode
    share: int
    ramp: tuple[RampStep, ...] = ()
    replay_days: int
    alpha: float
    margin: float
    loss: ComparedLoss
    promote: AutoPromotion
    roll_back: bool
    guard_rails: GuardRails
    lasts: Duration
    state: OnlineExperimentState
    reason: str | None = Field(default=None, description="Why it ended, or what it waits for.")
    step: int = Field(description="The step of the ramp, from 0 on.")
    traffic: int = Field(description="Share of the series in a hundred that the challenger answers.")
    approval: str | None = Field(default=None, description="The request that a second person decides.")
    started_at: Timestamp
    step_started_at: Timestamp | None = Field(default=None, description="Null until its share is in effect.")
    ended_at: Timestamp | None = None
    created_by: str
    latest: ExperimentAssessment | None = None


class OnlineExperimentWithHistory(Frozen):
    """An experiment with its assessments that are kept as evidence, latest first."""

    experiment: OnlineExperiment
    assessments: list[ExperimentAssessment]
    shadows: ShadowProgress = Field(
        default=ShadowProgress(), description="Forecasts that both versions made, and those left out."
    )
    next_cursor: str | None = None

"""Online experiments: a challenger beside the incumbent, judged on actuals that came after their forecasts."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from quantis.types.base import Frozen


class VerdictState(StrEnum):
    """The relation of a challenger's loss to the incumbent's, as far as the scored pairs show it."""

    undecided = "undecided"
    better = "better"
    worse = "worse"
    equivalent = "equivalent"


class ComparedLoss(StrEnum):
    """Loss of a point over its series' scale: pinball loss over the quantiles, or absolute error of the median."""

    quantile = "quantile"
    absolute = "absolute"


class ExperimentVerdict(Frozen):
    """A challenger against the incumbent on the same points; valid however often it is looked at."""

    state: VerdictState
    reason: str = Field(description="The state in a sentence with its figures.")
    loss: ComparedLoss
    estimate: float | None = Field(
        description="The challenger's loss over the incumbent's, less 1: 0.15 is 15 % worse; null without pairs."
    )
    low: float | None = Field(
        description="Lower end of the confidence sequence of `estimate`; null where it has none."
    )
    high: float | None = Field(description="Upper end; null where it has none.")
    e_value: float = Field(
        description="Evidence against equal losses; 1 / alpha decides. Capped at 1e300.", ge=0
    )
    alpha: float = Field(description="Chance that equal models are ever called different.")
    margin: float = Field(description="Differences up to this share of the incumbent's loss count as none.")
    points: int = Field(
        description="Steps of forecasts that both versions made and that the same actual scored."
    )
    pairs: int = Field(description="Pairs of series and cutoff that these are of.")
    series: int
    blocks: int = Field(
        description="Target days, or longer steps: all that is scored at one of them is one observation."
    )
    effective_blocks: float = Field(
        description="Independent observations that the blocks are worth, since forecasts overlap."
    )
    unpaired: int = Field(
        description="Scored points of one version alone, without a scale or of different actuals."
    )
    assumed: tuple[str, ...] = Field(description="Assumptions that the interval and the e-value rest on.")

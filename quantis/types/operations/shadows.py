"""Shadow forecasts: those that a challenger would have issued in place of the incumbent's."""

from __future__ import annotations

from pydantic import Field

from quantis.types.base import Frozen

_COUNTS = (
    "computed",
    "replayed",
    "series",
    "fallbacks",
    "incumbent_fallbacks",
    "failed",
    "learned",
    "gone",
    "not_sampled",
)


class ShadowProgress(Frozen):
    """Progress of an experiment's shadow forecasts, in forecasts that the incumbent issued."""

    computed: int = Field(default=0, description="Forecasts that the challenger made, too.")
    replayed: int = Field(
        default=0, description="Those of them that were issued before the experiment began."
    )
    series: int = Field(default=0, description="Series of these forecasts.")
    fallbacks: int = Field(
        default=0, description="Those of the series that a simpler method than the challenger answered."
    )
    incumbent_fallbacks: int = Field(
        default=0, description="Those that a simpler method than the incumbent answered."
    )
    failed: int = Field(
        default=0, description="Forecasts on which the challenger failed, in a series or altogether."
    )
    learned: int = Field(
        default=0,
        description="Forecasts left out: the challenger was fitted on data of later than their `as_of`.",
    )
    gone: int = Field(
        default=0,
        description="Forecasts left out: an input is gone, or nothing was stored that could judge them.",
    )
    not_sampled: int = Field(default=0, description="Forecasts left out by the experiment's share.")
    waiting: int = Field(default=0, description="Forecasts of the model that were not looked at yet.")
    latest_failure: str | None = Field(default=None, description="The reason of the last one that failed.")
    latest_gap: str | None = Field(default=None, description="The reason of the last one that is gone.")

    def plus(self, following: ShadowProgress) -> ShadowProgress:
        """Return the sum of both, with the later reasons of `following`."""
        counts = {name: getattr(self, name) + getattr(following, name) for name in _COUNTS}
        return ShadowProgress(
            **counts,
            latest_failure=following.latest_failure or self.latest_failure,
            latest_gap=following.latest_gap or self.latest_gap,
        )

"""Terms of the design frame: lag transforms of a column, stored with the model as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from quantis.panel import Y
from quantis.types.base import Frozen

Statistic = Literal["mean", "std", "min", "max"]
WHOLE_HISTORY = 2**31 - 1
"""The context length of a feature that depends on all values since the series began."""


class Rolling(Frozen):
    """Statistics of y over `window` steps that end h steps before the row."""

    window: int = Field(ge=2)
    statistics: tuple[Statistic, ...] = ("mean", "std", "min", "max")


class Lag(Frozen):
    """The value `steps` elapsed steps before."""

    kind: Literal["lag"] = "lag"
    steps: int = Field(ge=0)

    @property
    def min_offset(self) -> int:
        return self.steps

    @property
    def context_length(self) -> int:
        return self.steps

    @property
    def names(self) -> tuple[str, ...]:
        return (f"lag{self.steps}",)


class ClockLag(Frozen):
    """The value when a wall clock showed the same time `days` days before.

    Elapsed time differs from it on the days of 23 and 25 hours. An hour that the clock skipped is
    taken an hour later, one that it showed twice at its first showing. Missing where the value would
    lie nearer than the horizon, or the clock moved by more than two hours.
    """

    kind: Literal["clock_lag"] = "clock_lag"
    days: int = Field(ge=1)
    steps_per_day: int = Field(default=24, ge=1)

    @property
    def min_offset(self) -> int:
        return self.days * self.steps_per_day

    @property
    def context_length(self) -> int:
        return self.min_offset + -(-self.steps_per_day // 12)

    @property
    def names(self) -> tuple[str, ...]:
        return (f"clock_lag{self.days}d",)


class Difference(Frozen):
    """The value `offset` steps before less the one `period` steps before that."""

    kind: Literal["difference"] = "difference"
    offset: int = Field(ge=0)
    period: int = Field(default=1, ge=1)

    @property
    def min_offset(self) -> int:
        return self.offset

    @property
    def context_length(self) -> int:
        return self.offset + self.period

    @property
    def names(self) -> tuple[str, ...]:
        return (f"diff{self.period}_lag{self.offset}",)


class TrailingWindow(Frozen):
    """Statistics of the `window` steps that end `offset` steps before."""

    kind: Literal["last"] = "last"
    offset: int = Field(ge=0)
    window: int = Field(ge=2)
    statistics: tuple[Statistic, ...] = ("mean", "std", "min", "max")

    @property
    def min_offset(self) -> int:
        return self.offset

    @property
    def context_length(self) -> int:
        return self.offset + self.window - 1

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{name}{self.window}_lag{self.offset}" for name in self.statistics)


class Expanding(Frozen):
    """Statistics of all values up to `offset` steps before."""

    kind: Literal["expanding"] = "expanding"
    offset: int = Field(ge=0)
    statistics: tuple[Statistic, ...] = ("mean", "std", "min", "max")

    @property
    def min_offset(self) -> int:
        return self.offset

    @property
    def context_length(self) -> int:
        return WHOLE_HISTORY

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"expanding_{name}_lag{self.offset}" for name in self.statistics)


LagTransform = Annotated[
    Lag | ClockLag | Difference | TrailingWindow | Expanding, Field(discriminator="kind")
]


class Term(Frozen):
    """A lag transform of a column of the snapshot."""

    column: str = Y
    window: LagTransform

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.column}_{name}" for name in self.window.names)


class Fourier(Frozen):
    """Sines and cosines of a season of `period` steps, counted from 1970 in UTC."""

    period: float = Field(gt=1)
    order: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _no_faster_than_the_steps(self) -> Fourier:
        if 2 * self.order > self.period:
            raise ValueError(
                f"order {self.order} turns faster than steps of a period of {self.period} show; "
                f"use at most {int(self.period / 2)}"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        waves = range(1, self.order + 1)
        return tuple(f"fourier{self.period:g}_{wave}{k}" for k in waves for wave in ("sin", "cos"))

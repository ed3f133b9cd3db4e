"""The time limit of an evaluation job, shared among its candidates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobs.evaluation.candidates import CandidateBlock
from quantis.types.job_specs import EvaluationSpec

INCUMBENT_SHARE, EVALUATION_SHARE, REFIT_SHARE = 0.2, 0.7, 0.95
"""Shares of a time limit by whose end the incumbent, the evaluation and the refit are to be done."""

BASELINE_SECONDS = 10.0
"""Of a baseline that begins when little of the limit is left, or nothing."""


@dataclass
class TimeBudget:
    """The time limit of a job in seconds, if it has one, counted from `started` (`time.monotonic()`)."""

    limit: float | None
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def from_spec(cls, spec: EvaluationSpec, longest: float | None = None) -> TimeBudget:
        """Return the time limit of a specification, within the platform's bound `longest`."""
        limits = [longest, spec.time_limit.total_seconds() if spec.time_limit else None]
        return cls(min((seconds for seconds in limits if seconds is not None), default=None))

    def remaining(self, share: float = 1.0) -> float | None:
        """Return the seconds left of this share of the limit, at least one; None without a limit."""
        if self.limit is None:
            return None
        return max(1.0, share * self.limit - (time.monotonic() - self.started))

    def exceeded(self, share: float) -> bool:
        """Return True if this share of the limit is used up."""
        return self.limit is not None and time.monotonic() - self.started >= share * self.limit

    def baseline_allowance(self) -> Callable[[int], float | None]:
        """Return the allowance of blocks of baselines: all that is left of the limit, and `BASELINE_SECONDS` at least.

        They come first, and the job is worth nothing without them: they leave no share to others.
        """
        if self.limit is None:
            return lambda waiting: None
        end = max(self.started + self.limit, time.monotonic() + BASELINE_SECONDS)
        return lambda waiting: max(0.0, end - time.monotonic())

    def allowances(
        self, blocks: Sequence[CandidateBlock], width: int, share: float
    ) -> Callable[[int], float | None]:
        """Return a function from the number of waiting blocks to the seconds that the next of them may take.

        Blocks begin in order, `width` at a time. Each candidate weighs the same, however many blocks it has.
        """
        weights = [1 / block.parts for block in blocks]

        def allowance(waiting: int) -> float | None:
            seconds = self.remaining(share)
            if seconds is None:
                return None
            return seconds * min(1.0, width * weights[-waiting] / sum(weights[-waiting:]))

        return allowance

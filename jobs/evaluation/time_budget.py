"""The time limit of an evaluation job, shared among its candidates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobs.evaluation.candidates import CandidateBlock
from quantis.types.job_specs import EvaluationSpec

INCUMBENT_SHARE, EVALUATION_SHARE, REFIT_SHARE = 0.2, 0.7, 0.95
"""Shares of a time limit by whose end the incumbent, the evaluation and the refit are to be done."""


@dataclass
class TimeBudget:
    """The time limit of a job in seconds, if it has one, counted from `started` (`time.monotonic()`)."""

    limit: float | None
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def from_spec(cls, spec: EvaluationSpec) -> TimeBudget:
        return cls(spec.time_limit.total_seconds() if spec.time_limit else None)

    def remaining(self, share: float = 1.0) -> float | None:
        """Return the seconds left of this share of the limit, at least one; None without a limit."""
        if self.limit is None:
            return None
        return max(1.0, share * self.limit - (time.monotonic() - self.started))

    def exceeded(self, share: float) -> bool:
        """Return True if this share of the limit is used up."""
        return self.limit is not None and time.monotonic() - self.started >= share * self.limit

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

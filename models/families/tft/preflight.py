"""The training windows of a panel before anything is trained: how many each rule removes, by series."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from models.arrays import floats
from quantis.panel import ID, Snapshot, Task, Y, series_slices
from quantis.types.arrays import Integers
from quantis.types.job_specs import TftParams

RULES = ("too_little_history", "horizon_past_the_end", "no_observed_target")


def min_context_length(params: TftParams) -> int:
    """Return the steps that must precede a training window's horizon: half an encoder."""
    return max(1, params.encoder_length // 2)


@dataclass(frozen=True)
class WindowLengths:
    """Steps of history and of horizon of one window."""

    encoder_length: int
    h: int


@dataclass(frozen=True)
class PreflightReport:
    """Windows by series, and by the rule that removes them.

    A window could begin its horizon at any step of a history; it counts under the first rule that applies.
    by_series: unique_id, steps, one column per rule of `RULES`, and kept.
    """

    by_series: pa.Table
    requested: WindowLengths

    @cached_property
    def totals(self) -> dict[str, int]:
        """Windows of all series, by rule, and kept."""
        return {name: int(np.sum(self._column(name))) for name in (*RULES, "kept")}

    @cached_property
    def without_windows(self) -> tuple[str, ...]:
        """Series without a training window."""
        return tuple(self.by_series.filter(pa.array(self._column("kept") == 0))[ID].to_pylist())

    @cached_property
    def proposal(self) -> WindowLengths:
        """Lengths as requested, if three quarters of the series keep a window; else what the lower quartile allows."""
        steps = self._column("steps")
        fits = int(np.quantile(steps, 0.25, method="lower")) if len(steps) else 0
        min_context = max(1, self.requested.encoder_length // 2)
        if fits >= min_context + self.requested.h:
            return self.requested
        fits = max(fits, min(2, int(steps.max(initial=0))))
        h = min(self.requested.h, max(1, fits // 3))
        return WindowLengths(max(2, min(self.requested.encoder_length, 2 * (fits - h))), h)

    @property
    def summary(self) -> str:
        """Sentence that says what is removed by which rule, and what would help."""
        needed = max(1, self.requested.encoder_length // 2) + self.requested.h
        longest = int(self._column("steps").max(initial=0))
        removed = ", ".join(f"{name.replace('_', ' ')} {self.totals[name]}" for name in RULES)
        if longest < needed:
            problem = f"no history has the {needed} steps of a training window, the longest has {longest}"
        elif not self.totals["kept"]:
            problem = "no horizon that fits into a history has an observed target"
        else:
            problem = (
                f"{len(self.without_windows)} of {self.by_series.num_rows} series have no training window"
            )
        advice = f"encoder_length={self.proposal.encoder_length} and h={self.proposal.h}"
        if self.proposal == self.requested:
            advice = "histories with observed targets"
        counts = f"removed by rule: {removed}; kept {self.totals['kept']}"
        return f"{problem} ({counts}); try {advice}, or bring longer histories"

    def _column(self, name: str) -> Integers:
        return self.by_series[name].to_numpy().astype(np.int64)


def preflight(snapshot: Snapshot, task: Task, params: TftParams) -> PreflightReport:
    """Count the training windows of every series of `snapshot.future`, and those that each rule removes."""
    names = [name for name, _ in series_slices(snapshot.future[ID])]
    rows = dict(series_slices(snapshot.history[ID]))
    observed = np.isfinite(floats(snapshot.history[Y]))
    min_context = min_context_length(params)
    counts = [_count(observed[rows.get(name, slice(0, 0))], min_context, task.h) for name in names]
    columns = np.array(counts, np.int64).reshape(len(names), len(RULES) + 2).T
    labels = ("steps", *RULES, "kept")
    table = pa.table({ID: pa.array(names, pa.string())} | dict(zip(labels, columns, strict=True)))
    return PreflightReport(table, WindowLengths(params.encoder_length, task.h))


def _count(observed: np.ndarray[tuple[int], np.dtype[np.bool_]], min_context: int, h: int) -> tuple[int, ...]:
    """Count the steps of a history [steps], the windows that each rule removes, and those kept."""
    steps = len(observed)
    too_early = min(min_context, steps)
    too_late = min(h - 1, steps - too_early)
    observed_before = np.concatenate([[0], np.cumsum(observed)])  # [steps + 1]
    origins = np.arange(too_early, steps - too_late)
    has_target = (
        observed_before[origins + h] > observed_before[origins] if len(origins) else np.zeros(0, bool)
    )
    usable = int(has_target.sum())
    return steps, too_early, too_late, len(origins) - usable, usable

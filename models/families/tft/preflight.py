"""What training would see of a panel, before it is trained: how many windows each rule removes, and whose."""

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
    """The steps that must lie before a training window's horizon: half an encoder."""
    return max(1, params.encoder_length // 2)


@dataclass(frozen=True)
class WindowLengths:
    encoder_length: int
    h: int


@dataclass(frozen=True)
class PreflightReport:
    """Each step of each history could begin a horizon; these are the rules that remove it, the first that applies.

    by_series: unique_id, steps, then the windows that each of `RULES` removes, and kept.
    """

    by_series: pa.Table
    requested: WindowLengths

    @cached_property
    def totals(self) -> dict[str, int]:
        """Windows over all series, by rule, and kept."""
        return {name: int(np.sum(self._column(name))) for name in (*RULES, "kept")}

    @cached_property
    def without_windows(self) -> tuple[str, ...]:
        """The series that training would not see."""
        return tuple(self.by_series.filter(pa.array(self._column("kept") == 0))[ID].to_pylist())

    @cached_property
    def proposal(self) -> WindowLengths:
        """As asked, if three quarters of the series keep a window; else what the lower quartile's length allows."""
        steps = self._column("steps")
        fits = int(np.quantile(steps, 0.25, method="lower")) if len(steps) else 0
        least = max(1, self.requested.encoder_length // 2)
        if fits >= least + self.requested.h:
            return self.requested
        fits = max(fits, min(2, int(steps.max(initial=0))))
        h = min(self.requested.h, max(1, fits // 3))
        return WindowLengths(max(2, min(self.requested.encoder_length, 2 * (fits - h))), h)

    @property
    def summary(self) -> str:
        """What is removed by which rule, and what would help."""
        least = max(1, self.requested.encoder_length // 2)
        longest = int(self._column("steps").max(initial=0))
        removed = ", ".join(f"{name.replace('_', ' ')} {self.totals[name]}" for name in RULES)
        if longest < least + self.requested.h:
            why = f"no history has the {least + self.requested.h} steps of a training window, the longest has {longest}"
        elif not self.totals["kept"]:
            why = "no horizon that fits into a history has an observed target"
        else:
            why = f"{len(self.without_windows)} of {self.by_series.num_rows} series have no training window"
        advice = f"encoder_length={self.proposal.encoder_length} and h={self.proposal.h}"
        if self.proposal == self.requested:
            advice = "histories with observed targets"
        counts = f"removed by rule: {removed}; kept {self.totals['kept']}"
        return f"{why} ({counts}); try {advice}, or bring longer histories"

    def _column(self, name: str) -> Integers:
        return self.by_series[name].to_numpy().astype(np.int64)


def preflight(snapshot: Snapshot, task: Task, params: TftParams) -> PreflightReport:
    """Count the training windows of every series of `snapshot.future`, and those that each rule removes."""
    wanted = [name for name, _ in series_slices(snapshot.future[ID])]
    rows = dict(series_slices(snapshot.history[ID]))
    observed = np.isfinite(floats(snapshot.history[Y]))
    least = min_context_length(params)
    counts = [_count(observed[rows.get(name, slice(0, 0))], least, task.h) for name in wanted]
    columns = np.array(counts, np.int64).reshape(len(wanted), len(RULES) + 2).T
    names = ("steps", *RULES, "kept")
    table = pa.table({ID: pa.array(wanted, pa.string())} | dict(zip(names, columns, strict=True)))
    return PreflightReport(table, WindowLengths(params.encoder_length, task.h))


def _count(observed: np.ndarray[tuple[int], np.dtype[np.bool_]], least: int, h: int) -> tuple[int, ...]:
    """Steps, removed by each rule, kept."""
    steps = len(observed)
    young = min(least, steps)
    late = min(h - 1, steps - young)
    seen = np.concatenate([[0], np.cumsum(observed)])
    first = np.arange(young, steps - late)
    kept = int(np.sum(seen[first + h] > seen[first])) if len(first) else 0
    return steps, young, late, len(first) - kept, kept

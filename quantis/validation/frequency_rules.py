"""Checks of times: frequency, grid and gaps of each series."""

from __future__ import annotations

from collections import Counter

import numpy as np

from quantis.frequency import Frequency, infer, infer_counts
from quantis.types.arrays import Mask
from quantis.validation.findings import SHOWN_PER_CODE, Findings, SeriesMessage
from quantis.validation.rows import PanelRows

_MAX_INFERRED_SERIES = 1000  # series whose own frequency is inferred
_MIN_ROWS = 8  # rows from which a series' own coarser step is not taken for gaps


def check_frequency(rows: PanelRows, declared: str | None, findings: Findings) -> Frequency | None:
    """Check observed rows, one per series and time; return the frequency, or None when there is none."""
    inferred = _infer_frequencies(rows)
    frequency = Frequency.parse(declared) if declared else _most_common(inferred)
    if frequency is None:
        findings.add("D040", "no step repeats in any series")
        return None
    other_frequencies = _find_other_frequencies(rows, inferred, frequency.unanchored)
    messages = []
    for index, alias in other_frequencies.items():
        name = rows.name(int(rows.starts[index]))
        messages.append(SeriesMessage(name, f"{name} has steps of {alias}, the panel {frequency.alias}"))
    findings.add_series("D041", messages)
    _check_steps(rows, frequency, list(other_frequencies), findings)
    return frequency.anchored(rows.ds)


def _infer_frequencies(rows: PanelRows) -> dict[int, Frequency]:
    """Infer the frequency of each series on its own, by its index among the series that occur."""
    ends = np.append(rows.starts[1:], len(rows.series))
    spans = list(zip(rows.starts.tolist(), ends.tolist(), strict=True))[:_MAX_INFERRED_SERIES]
    infer_frequency = infer_counts if rows.counted else infer
    frequencies = {index: infer_frequency(rows.ds[start:end]) for index, (start, end) in enumerate(spans)}
    return {index: frequency.unanchored for index, frequency in frequencies.items() if frequency is not None}


def _most_common(inferred: dict[int, Frequency]) -> Frequency | None:
    counted = Counter(inferred.values()).most_common(1)
    return counted[0][0] if counted else None


def _find_other_frequencies(
    rows: PanelRows, inferred: dict[int, Frequency], frequency: Frequency
) -> dict[int, str]:
    """Return the series that are regular on another grid, as index to alias."""
    ends = np.append(rows.starts[1:], len(rows.series))
    other_frequencies = {}
    for index, inferred_frequency in inferred.items():
        ds = rows.ds[rows.starts[index] : ends[index]]
        if inferred_frequency == frequency or len(ds) < _MIN_ROWS:
            continue
        if len(inferred_frequency.grid(ds[0], ds[-1])) == len(ds) != len(frequency.grid(ds[0], ds[-1])):
            other_frequencies[index] = inferred_frequency.alias
    return other_frequencies


def _check_anchor(rows: PanelRows, frequency: Frequency, regular: Mask, findings: Findings) -> None:
    """Report times on another weekday or in another month than the declared anchor."""
    off = np.flatnonzero(~frequency.is_anchored(rows.ds) & regular)
    if len(off) == 0:
        return
    fitting = frequency.unanchored.anchored(rows.ds[regular])
    proposal = f"; the times are those of {fitting.alias}" if len(off) == regular.sum() else ""
    by_row = {int(rows.row[index]): int(index) for index in off}
    findings.add_rows(
        "D042",
        sorted(by_row),
        lambda row: f"{_format_day(rows.ds[by_row[row]])} is not a step of {frequency.alias}{proposal}",
        column="ds",
        series=lambda row: rows.name(by_row[row]),
    )


def _format_day(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[us]').item():%A, %Y-%m-%d}"


def _check_steps(rows: PanelRows, frequency: Frequency, irregular: list[int], findings: Findings) -> None:
    """Report times off the grid of their series, and missing steps."""
    lengths = np.diff(rows.starts, append=len(rows.series))
    steps = frequency.steps_between(np.repeat(rows.ds[rows.starts], lengths), rows.ds)
    regular = np.repeat(~np.isin(np.arange(len(lengths)), irregular), lengths)
    _check_anchor(rows, frequency, regular, findings)
    off = np.flatnonzero((steps < 0) & regular)
    by_row = {int(rows.row[index]): int(index) for index in off}
    findings.add_rows(
        "D042",
        sorted(by_row),
        lambda row: f"{rows.ds[by_row[row]]} is not a whole number of {frequency.alias} after the first",
        column="ds",
        series=lambda row: rows.name(by_row[row]),
    )
    last = np.maximum.reduceat(steps, rows.starts)
    missing = last + 1 - np.add.reduceat((steps >= 0).astype(np.int64), rows.starts)
    missing[irregular] = 0
    gaps = np.flatnonzero(missing > 0)
    messages = []
    for index in gaps[:SHOWN_PER_CODE]:
        name = rows.name(int(rows.starts[index]))
        text = f"{name} lacks {missing[index]:,} steps of {last[index] + 1:,}"
        messages.append(SeriesMessage(name, text))
    findings.add_series("D043", messages, total=len(gaps))

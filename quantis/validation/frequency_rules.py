"""Checks of times: frequency, grid and gaps of each series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.frequency import INTEGER, MICROSECONDS, Frequency
from quantis.frequency_inference import InferredFrequencies, infer_each
from quantis.panel import DS, ID, MAX_GAP, Panel, max_grid_steps, times_of
from quantis.types.arrays import Integers, Mask, Times
from quantis.validation.findings import SHOWN_PER_CODE, Findings, SeriesMessage
from quantis.validation.rows import PanelRows

_MIN_ROWS = 8  # rows from which a series' own coarser step is not taken for gaps


def check_frequency(rows: PanelRows, declared: str | None, findings: Findings) -> Frequency | None:
    """Check observed rows, one per series and time; return the frequency, or None when there is none."""
    inferred = infer_each(rows.ds, rows.starts, counted=rows.counted)
    fractional = _check_fractions(rows, inferred, findings)
    frequency = Frequency.parse(declared) if declared else _most_common(rows, inferred)
    if frequency is None:
        if not fractional.any():
            findings.add("D040", "no step repeats in any series")
        return None
    off_frequency = _has_other_frequency(rows, inferred, frequency.unanchored)
    messages = []
    for index in np.flatnonzero(off_frequency)[:SHOWN_PER_CODE].tolist():
        name, frequency_of_series = (
            rows.name(int(rows.starts[index])),
            inferred.distinct[int(inferred.kind[index])],
        )
        alias = frequency_of_series.alias if frequency_of_series else ""
        messages.append(SeriesMessage(name, f"{name} has steps of {alias}, the panel {frequency.alias}"))
    findings.add_series("D041", messages, total=int(off_frequency.sum()))
    _check_steps(rows, frequency, off_frequency | fractional, findings)
    return frequency.anchored(rows.ds)


def _check_fractions(rows: PanelRows, inferred: InferredFrequencies, findings: Findings) -> Mask:
    """Report series whose commonest step is no whole number of seconds; return them. Shape [series]."""
    fractional: Mask = inferred.steps_us % MICROSECONDS["s"] != 0
    messages = []
    for index in np.flatnonzero(fractional)[:SHOWN_PER_CODE].tolist():
        name, seconds = rows.name(int(rows.starts[index])), inferred.steps_us[index] / MICROSECONDS["s"]
        messages.append(SeriesMessage(name, f"{name} has steps of {seconds:g} seconds"))
    findings.add_series("D048", messages, column=DS, total=int(fractional.sum()))
    return fractional


def _most_common(rows: PanelRows, inferred: InferredFrequencies) -> Frequency | None:
    """Return the frequency of most series; of several that of most rows, then the shortest."""
    lengths = np.diff(rows.starts, append=len(rows.series))
    kinds = len(inferred.distinct)
    series = np.bincount(inferred.kind, minlength=kinds)
    row_counts = np.bincount(inferred.kind, weights=lengths, minlength=kinds)
    shortest = np.full(kinds, np.iinfo(np.int64).max)
    np.minimum.at(shortest, inferred.kind, inferred.steps_us)
    order = np.lexsort((shortest, -row_counts, -series)).tolist()
    return next((inferred.distinct[kind] for kind in order if inferred.distinct[kind] is not None), None)


def _has_other_frequency(rows: PanelRows, inferred: InferredFrequencies, frequency: Frequency) -> Mask:
    """Return the series that are regular on another grid. Shape [series]."""
    lengths = np.diff(rows.starts, append=len(rows.series))
    first, last = rows.ds[rows.starts], rows.ds[rows.starts + lengths - 1]
    differs: Mask = (lengths >= _MIN_ROWS) & (frequency.grid_lengths(first, last) != lengths)
    for kind, candidate in enumerate(inferred.distinct):
        of_kind = np.flatnonzero(inferred.kind == kind)
        if candidate is None or candidate == frequency:
            differs[of_kind] = False
        else:
            differs[of_kind] &= candidate.grid_lengths(first[of_kind], last[of_kind]) == lengths[of_kind]
    return differs


def _check_anchor(rows: PanelRows, frequency: Frequency, regular: Mask, findings: Findings) -> None:
    """Report times that the calendar of the frequency does not have, such as another weekday than the anchor's."""
    off = np.flatnonzero(~frequency.is_on_calendar(rows.ds) & regular)
    if len(off) == 0:
        return
    fitting = frequency.unanchored.anchored(rows.ds[regular])
    fits = len(off) == regular.sum() and fitting != frequency and fitting.is_on_calendar(rows.ds[off]).all()
    proposal = f"; the times are those of {fitting.alias}" if fits else ""
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


def _check_steps(rows: PanelRows, frequency: Frequency, irregular: Mask, findings: Findings) -> None:
    """Report times off the grid of their series, and missing steps, but of the irregular series."""
    lengths = np.diff(rows.starts, append=len(rows.series))
    steps = frequency.steps_between(np.repeat(rows.ds[rows.starts], lengths), rows.ds)
    regular = np.repeat(~irregular, lengths)
    _check_anchor(rows, frequency, regular, findings)
    off = np.flatnonzero((steps < 0) & regular & frequency.is_on_calendar(rows.ds))
    by_row = {int(rows.row[index]): int(index) for index in off}
    findings.add_rows(
        "D042",
        sorted(by_row),
        lambda row: (
            f"{format_time(rows.ds[by_row[row]], frequency)} is not a whole number of {frequency.alias} after the first"
        ),
        column="ds",
        series=lambda row: rows.name(by_row[row]),
    )
    last = np.maximum.reduceat(steps, rows.starts)
    missing = last + 1 - np.add.reduceat((steps >= 0).astype(np.int64), rows.starts)
    missing[irregular] = 0
    gaps = np.flatnonzero((missing > 0) & ~_check_gaps(rows, steps, missing, frequency, findings))
    messages = []
    for index in gaps[:SHOWN_PER_CODE]:
        name = rows.name(int(rows.starts[index]))
        text = f"{name} lacks {missing[index]:,} steps of {last[index] + 1:,}"
        messages.append(SeriesMessage(name, text))
    findings.add_series("D043", messages, total=len(gaps))


def _check_gaps(
    rows: PanelRows, steps: Integers, missing: Integers, frequency: Frequency, findings: Findings
) -> Mask:
    """Report gaps that no store can fill; return the series that have them. Shape [series]."""
    # Missing steps before each row, none before the first of a series, [rows]; the widest gap of each, [series].
    before = np.diff(steps, prepend=0) - 1
    before[rows.starts] = 0
    before[np.repeat(missing == 0, np.diff(rows.starts, append=len(steps)))] = 0
    too_wide = np.maximum.reduceat(before, rows.starts) > MAX_GAP
    grid_steps = int((missing + np.diff(rows.starts, append=len(steps)))[~too_wide].sum())
    if not too_wide.any() and grid_steps > (limit := max_grid_steps(len(steps))):
        worst = int(np.argmax(missing))
        findings.add(
            "D049",
            f"the {len(steps):,} rows span {grid_steps:,} steps of {frequency.alias}, more than the {limit:,} that a "
            f"panel of so many rows may; {rows.name(int(rows.starts[worst]))} lacks {missing[worst]:,} of them",
            series=rows.name(int(rows.starts[worst])),
        )
    ends = np.append(rows.starts[1:], len(steps))
    messages = []
    for index in np.flatnonzero(too_wide).tolist():
        start, end = int(rows.starts[index]), int(ends[index])
        row = start + int(np.argmax(before[start:end]))
        alone, side = (row - 1, "before") if row - start <= end - row else (row, "after")
        number = min(row - start, end - row)
        several = f"{number:,} rows at and {side} " if number > 1 else ""
        text = (
            f"{rows.name(row)} has {several}{format_time(rows.ds[alone], frequency)}, {before[row]:,} steps of "
            f"{frequency.alias} {side} its other rows, more than the {MAX_GAP:,} that a gap may hold"
        )
        messages.append(SeriesMessage(rows.name(row), text, int(rows.row[alone]) + 1))
    findings.add_series("D049", messages, column="ds")
    return too_wide


def check_grid_of_stored(panel: Panel, stored: pa.Table, frequency: Frequency, findings: Findings) -> None:
    """Report times of a panel that are off the grid of their series' stored values, or out of reach of them.

    A snapshot has the steps of one grid: what lies off it would be stored and never used. A series that is new
    brings its own grid.

    Parameters
    ----------
    panel
        The rows to be stored.
    stored
        `unique_id, first_ds, last_ds` of the observed values of each series that is there.
    """
    spans = _SeriesSpans.from_panel(panel, stored)
    off = np.zeros(len(spans.names), dtype=np.int64)
    first_off = np.full(len(spans.names), np.datetime64(np.iinfo(np.int64).max, "us"))
    for table in (panel.target, panel.future):
        series, times = spans.index(table), times_of(table[DS])
        on_grid = frequency.is_on_grid(spans.anchor[series], times)
        on_grid &= spans.is_stored[series] | frequency.is_on_calendar(times)
        off = np.maximum(off, np.bincount(series[~on_grid], minlength=len(off)))
        np.minimum.at(first_off, series[~on_grid], times[~on_grid])
    messages = []
    for index in np.flatnonzero(off).tolist():
        name, time = str(spans.names[index]), format_time(first_off[index], frequency)
        text = f"{name} has {off[index]:,} times off the grid, the first {time}; {spans.describe(index, frequency)}"
        messages.append(SeriesMessage(name, text))
    findings.add_series("D042", messages, column=DS)
    if not messages:
        _check_reach(panel, spans, frequency, findings)


def _check_reach(panel: Panel, spans: _SeriesSpans, frequency: Frequency, findings: Findings) -> None:
    """Report the series whose new and stored values are too far apart for one grid."""
    codes, times = spans.index(panel.target), times_of(panel.target[DS])
    stored = np.flatnonzero(spans.is_stored)
    last = np.where(spans.is_stored, spans.last, spans.anchor)
    first, last = spans.anchor.astype(np.int64), last.astype(np.int64)
    np.minimum.at(first, codes, times.astype(np.int64))
    np.maximum.at(last, codes, times.astype(np.int64))
    is_long = frequency.grid_lengths(first.astype("datetime64[us]"), last.astype("datetime64[us]")) > MAX_GAP
    if not is_long.any():
        return
    codes, times, stored = codes[is_long[codes]], times[is_long[codes]], stored[is_long[stored]]
    codes = np.concatenate([codes, stored, stored])
    times = np.concatenate([times, spans.anchor[stored], spans.last[stored]])
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    missing = frequency.grid_lengths(times[:-1], times[1:]) - 2
    # Gaps between two stored values have been accepted before.
    is_stored = spans.is_stored[codes[1:]]
    is_stored &= (times[:-1] >= spans.anchor[codes[1:]]) & (times[1:] <= spans.last[codes[1:]])
    wide = np.flatnonzero((missing > MAX_GAP) & (np.diff(codes) == 0) & ~is_stored)
    messages = {}
    for row in wide.tolist():
        name = str(spans.names[int(codes[row])])
        begin, end = (format_time(times[each], frequency) for each in (row, row + 1))
        messages[name] = SeriesMessage(
            name,
            f"{name} lacks {missing[row]:,} steps of {frequency.alias} between {begin} and {end}, more than the "
            f"{MAX_GAP:,} that a gap may hold",
        )
    findings.add_series("D049", list(messages.values()), column=DS)


@dataclass(frozen=True)
class _SeriesSpans:
    """The grid of each series of a panel: a time on it, and its last stored one where there are any."""

    names: pa.Array
    anchor: Times  # its first stored time, else its first one in the panel, [series]
    last: Times  # its last stored time, NaT where nothing is stored, [series]
    is_stored: Mask  # [series]

    @classmethod
    def from_panel(cls, panel: Panel, stored: pa.Table) -> _SeriesSpans:
        ids = [*panel.target[ID].chunks, *panel.future[ID].chunks]
        names = pc.unique(pa.chunked_array(ids, pa.string()))
        position = pc.index_in(names, value_set=stored[ID].combine_chunks())
        is_stored = position.is_valid().to_numpy(zero_copy_only=False)
        first, last = (times_of(stored[column].take(position)) for column in ("first_ds", "last_ds"))
        earliest = np.full(len(names), np.iinfo(np.int64).max)
        for table in (panel.target, panel.future):
            if (earliest == np.iinfo(np.int64).max).any():  # of future rows only where a series has no others
                series = pc.index_in(table[ID], value_set=names).to_numpy()
                observed = earliest.copy()
                np.minimum.at(observed, series, times_of(table[DS]).astype(np.int64))
                earliest = np.where(earliest == np.iinfo(np.int64).max, observed, earliest)
        anchor = np.where(is_stored, first, earliest.astype("datetime64[us]"))
        return cls(names, anchor, last, is_stored)

    def index(self, table: pa.Table) -> Integers:
        """Return the index of the series of each row. Shape [rows]."""
        index: Integers = pc.index_in(table[ID], value_set=self.names).to_numpy()
        return index

    def describe(self, index: int, frequency: Frequency) -> str:
        """Describe the grid of a series."""
        if self.is_stored[index]:
            last = format_time(self.last[index], frequency)
            return f"its stored values are steps of {frequency.alias} up to {last}"
        return f"it begins at {format_time(self.anchor[index], frequency)} in steps of {frequency.alias}"


def format_time(time: np.datetime64, frequency: Frequency) -> str:
    """Return a time as findings show it; a count where steps are counted."""
    if frequency.unit == INTEGER:
        return str(time.astype("datetime64[s]").astype(np.int64))
    return f"{time.astype('datetime64[s]')}Z"

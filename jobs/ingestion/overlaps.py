"""Conflicts between files: only series that several files hold at the same time are read, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.store.as_of import epoch_us
from features.store.panel_store import GROUPS
from jobs.ingestion.file_checks import CheckedFile
from quantis.panel import DS, ID, KNOWN_AT
from quantis.sandbox.client import load_checked_panel
from quantis.types.arrays import Integers

_ROWS = 1_000_000  # compared in one batch, unless one series has more
_FILE = "__file"


@dataclass(frozen=True)
class _SeriesRuns:
    """Runs of rows of one series in one file, sorted by series and first time. Each array is `[runs]`.

    `start` and `rows` locate the run in its file; `first` and `last` are its times in microseconds.
    """

    series: Integers
    file: Integers
    start: Integers
    rows: Integers
    first: Integers
    last: Integers

    def take(self, selection: npt.NDArray[np.generic]) -> _SeriesRuns:
        return _SeriesRuns(**{name: column[selection] for name, column in vars(self).items()})


def disagreements(checked: Sequence[CheckedFile]) -> Iterator[str]:
    """Yield the series and times for which two files have different values."""
    for group, key in GROUPS.items():
        runs = _overlapping_runs(_find_runs(checked, group))
        # batches of about _ROWS rows, each ending with the last run of a series
        ends = np.flatnonzero(np.diff(np.cumsum(runs.rows) // _ROWS, append=-1))
        start = 0
        for end in ends:
            stop = int(np.searchsorted(runs.series, runs.series[end], side="right"))
            if stop > start:
                batch = runs.take(np.arange(start, stop))
                yield from _conflicts(_read_rows(checked, group, batch), key, checked)
            start = max(start, stop)


def _find_runs(checked: Sequence[CheckedFile], group: str) -> _SeriesRuns:
    """Return the runs of all files; a checked panel is sorted by series."""
    codes_by_name: dict[str, int] = {}
    columns: list[Integers] = []
    for index, file in enumerate(checked):
        table = getattr(load_checked_panel(file.folder), group)
        if table.num_rows == 0:
            continue
        encoded = table[ID].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        lengths = np.diff(starts, append=len(codes))
        times = epoch_us(table[DS]) if DS in table.column_names else np.zeros(len(codes), np.int64)
        # codes of one file -> codes of all files
        shared_codes = [
            codes_by_name.setdefault(name, len(codes_by_name)) for name in encoded.dictionary.to_pylist()
        ]
        series = np.array(shared_codes, np.int64)[codes[starts]]
        first, last = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        columns.append(np.stack([series, np.full(len(starts), index), starts, lengths, first, last]))
    stacked = np.concatenate(columns, axis=1) if columns else np.zeros((6, 0), np.int64)
    runs = _SeriesRuns(*stacked)
    return runs.take(np.lexsort((runs.first, runs.series)))


def _overlapping_runs(runs: _SeriesRuns) -> _SeriesRuns:
    """Return all runs of those series of which a run starts before an earlier one ends."""
    if len(runs.series) == 0:
        return runs
    # times -> ranks, so that series * width + rank orders by series, then by time, in one integer
    _, ranks = np.unique(np.concatenate([runs.first, runs.last]), return_inverse=True)
    first, last = np.split(ranks.astype(np.int64), 2)
    width = 2 * len(first)
    latest_end = np.maximum.accumulate(runs.series * width + last)
    overlaps = np.append(False, (runs.series * width + first)[1:] <= latest_end[:-1])
    return runs.take(np.isin(runs.series, runs.series[overlaps]))


def _read_rows(checked: Sequence[CheckedFile], group: str, runs: _SeriesRuns) -> pa.Table:
    """Read the rows of the runs, with the index of their file."""
    tables = []
    for index in np.unique(runs.file):
        table = getattr(load_checked_panel(checked[index].folder), group)
        in_file = runs.take(runs.file == index)
        for start, length in zip(in_file.start.tolist(), in_file.rows.tolist(), strict=True):
            column = pa.repeat(pa.scalar(int(index)), length)
            tables.append(table.slice(start, length).append_column(_FILE, column))
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _conflicts(rows: pa.Table, key: Sequence[str], checked: Sequence[CheckedFile]) -> Iterator[str]:
    """Yield the first five keys that have more than one distinct row."""
    names = [name for name in rows.column_names if name != _FILE]
    keys = [*key, *([KNOWN_AT] if KNOWN_AT in names else [])]
    distinct = rows.group_by(names, use_threads=False).aggregate([(_FILE, "min")])
    counted = distinct.group_by(keys, use_threads=False).aggregate(
        [([], "count_all"), (f"{_FILE}_min", "min"), (f"{_FILE}_min", "max")]
    )
    repeated = counted.filter(pc.greater(counted["count_all"], 1))
    for row in repeated.sort_by([(name, "ascending") for name in key]).slice(0, 5).to_pylist():
        time = f" at {row[DS]:%Y-%m-%dT%H:%M}Z" if DS in row else ""
        first, last = (checked[row[f"{_FILE}_min_{edge}"]].file for edge in ("min", "max"))
        yield f"{row[ID]}{time} differs between {first} and {last}"

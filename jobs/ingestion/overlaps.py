"""Whether files agree where they meet: only series that several files hold at one time are read, few at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.store.as_of import epoch_us
from features.store.panel_store import GROUPS
from jobs.ingestion.file_checks import Checked
from quantis.panel import DS, ID, KNOWN_AT
from quantis.sandbox.client import load_checked_panel
from quantis.types.arrays import Integers

_ROWS = 1_000_000  # that are compared at once, unless one series has more
_FILE = "__file"


@dataclass(frozen=True)
class _Pieces:
    """The stretch of rows of each series in each file, sorted by series and first time. Shape [pieces] each."""

    series: Integers
    file: Integers
    start: Integers
    rows: Integers
    first: Integers
    last: Integers

    def take(self, chosen: npt.NDArray[np.generic]) -> _Pieces:
        return _Pieces(**{name: column[chosen] for name, column in vars(self).items()})


def disagreements(checked: Sequence[Checked]) -> Iterator[str]:
    """Series and times of which two files say different things."""
    for group, key in GROUPS.items():
        pieces = _shared(_pieces(checked, group))
        ends = np.flatnonzero(np.diff(np.cumsum(pieces.rows) // _ROWS, append=-1))
        start = 0
        for end in ends:
            stop = int(np.searchsorted(pieces.series, pieces.series[end], side="right"))
            if stop > start:
                part = pieces.take(np.arange(start, stop))
                yield from _conflicts(_rows(checked, group, part), key, checked)
            start = max(start, stop)


def _pieces(checked: Sequence[Checked], group: str) -> _Pieces:
    """Of every file; rows of a checked panel lie together by series."""
    names: dict[str, int] = {}
    found: list[npt.NDArray[np.int64]] = []
    for number, one in enumerate(checked):
        table = getattr(load_checked_panel(one.folder), group)
        if table.num_rows == 0:
            continue
        coded = table[ID].combine_chunks().dictionary_encode()
        codes = coded.indices.to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        lengths = np.diff(starts, append=len(codes))
        times = epoch_us(table[DS]) if DS in table.column_names else np.zeros(len(codes), np.int64)
        shown = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
        series = np.array(shown, np.int64)[codes[starts]]
        first, last = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        found.append(np.stack([series, np.full(len(starts), number), starts, lengths, first, last]))
    stacked = np.concatenate(found, axis=1) if found else np.zeros((6, 0), np.int64)
    pieces = _Pieces(*stacked)
    return pieces.take(np.lexsort((pieces.first, pieces.series)))


def _shared(pieces: _Pieces) -> _Pieces:
    """Those of series of which some piece begins before an earlier one has ended."""
    if len(pieces.series) == 0:
        return pieces
    _, places = np.unique(np.concatenate([pieces.first, pieces.last]), return_inverse=True)
    first, last = np.split(places.astype(np.int64), 2)
    width = 2 * len(first)
    reached = np.maximum.accumulate(pieces.series * width + last)
    early = np.append(False, (pieces.series * width + first)[1:] <= reached[:-1])
    return pieces.take(np.isin(pieces.series, pieces.series[early]))


def _rows(checked: Sequence[Checked], group: str, pieces: _Pieces) -> pa.Table:
    parts = []
    for number in np.unique(pieces.file):
        table = getattr(load_checked_panel(checked[number].folder), group)
        here = pieces.file == number
        parts += [
            table.slice(start, length).append_column(_FILE, pa.repeat(pa.scalar(int(number)), length))
            for start, length in zip(pieces.start[here].tolist(), pieces.rows[here].tolist(), strict=True)
        ]
    return pa.concat_tables(parts, promote_options="default").combine_chunks()


def _conflicts(rows: pa.Table, key: Sequence[str], checked: Sequence[Checked]) -> Iterator[str]:
    names = [name for name in rows.column_names if name != _FILE]
    keys = [*key, *([KNOWN_AT] if KNOWN_AT in names else [])]
    whole = rows.group_by(names, use_threads=False).aggregate([(_FILE, "min")])
    counted = whole.group_by(keys, use_threads=False).aggregate(
        [([], "count_all"), (f"{_FILE}_min", "min"), (f"{_FILE}_min", "max")]
    )
    again = counted.filter(pc.greater(counted["count_all"], 1)).sort_by([(name, "ascending") for name in key])
    for row in again.slice(0, 5).to_pylist():
        when = f" at {row[DS]:%Y-%m-%dT%H:%M}Z" if DS in row else ""
        one, other = (checked[row[f"{_FILE}_min_{edge}"]].file for edge in ("min", "max"))
        yield f"{row[ID]}{when} differs between {one} and {other}"

"""Repairs of a table, each named by the code of the finding that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.frequency_inference import infer, infer_counts
from quantis.panel import DS, ID, KNOWN_AT, MAX_GAP, Y, times_of, timestamps
from quantis.types.arrays import Integers, Mask, Times
from quantis.types.datasets import Roles
from quantis.types.reading import ReadOptions
from quantis.validation.column_mapping import is_reserved, map_columns
from quantis.validation.time_zones import WallClock, has_daily_steps, keep_wall_clock, to_utc
from quantis.validation.timestamps import parse_timestamps
from quantis.validation.value_parsing import parse_numbers, to_strings
from quantis.validation.value_rules import leading_zeros


class Repair(NamedTuple):
    code: str
    description: str
    rows: int


@dataclass(frozen=True)
class _State:
    table: pa.Table
    options: ReadOptions
    freq: str | None
    repairs: tuple[Repair, ...] = ()

    def record(self, code: str, table: pa.Table, description: str, rows: int) -> _State:
        return (
            replace(self, table=table, repairs=(*self.repairs, Repair(code, description, rows)))
            if rows
            else self
        )


def clean(
    table: pa.Table, codes: Iterable[str] | None = None, *, options: ReadOptions, freq: str | None = None
) -> tuple[pa.Table, list[Repair]]:
    """Apply the repairs of these codes (those without loss when none is named); return the table and what was done.

    InvalidInput for a code without a repair, and for a table that lacks the columns of a panel.
    """
    selected = set(LOSSLESS if codes is None else codes)
    for code in sorted(selected - set(REPAIRS)):
        raise InvalidInput(f"{code!r} has no repair; those with one are {', '.join(REPAIRS)}")
    state = _State(table.replace_schema_metadata(None), options, freq)
    for code, (_, repair) in REPAIRS.items():
        if code in selected:
            state = repair(state)
    return state.table, list(state.repairs)


def _require_columns(state: _State, *columns: str) -> None:
    for column in columns:
        if column not in state.table.column_names:
            raise InvalidInput(
                f"column {column!r} is not in the file; map one to it, such as --map date={column}"
            )


def _rename_columns(state: _State) -> _State:
    table, mapped = map_columns(state.table, Roles(), state.options)
    pairs = [f"{old} to {new}" for old, new in [*state.options.columns.items(), *mapped.items()]]
    return state.record("D007", table, f"renamed {', '.join(pairs)}", len(pairs))


def _drop_reserved(state: _State) -> _State:
    reserved = [
        name for name in state.table.column_names if is_reserved(name) and name not in (ID, DS, Y, KNOWN_AT)
    ]
    return state.record("D009", state.table.drop(reserved), f"dropped {', '.join(reserved)}", len(reserved))


def _trim_ids(state: _State) -> _State:
    _require_columns(state, ID)
    ids = to_strings(state.table[ID].combine_chunks())
    trimmed = pc.utf8_trim_whitespace(ids)
    changed = int(pc.sum(pc.not_equal(ids, trimmed)).as_py() or 0)
    return state.record("D014", _replace_column(state.table, ID, trimmed), "trimmed unique_id", changed)


def _normalize_timestamps(state: _State) -> _State:
    """Write `ds` as UTC timestamps or dates; from other forms, local times and local midnights."""
    _require_columns(state, ID, DS)
    parsed = parse_timestamps(state.table[DS].combine_chunks(), state.options.dates)
    is_plain = not (parsed.forms or parsed.naive.any()) and (
        parsed.wall is None
        or parsed.wall.equals(parsed.values.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")))
    )
    if parsed.counted or is_plain:
        return state
    if parsed.invalid.any() or parsed.unclear.any() or (parsed.zoned and parsed.naive.any()):
        raise InvalidInput("ds has times that cannot be read for sure; `quantis data check` names their rows")
    ds, zone = times_of(parsed.values), state.options.time_zone or "UTC"
    codes = _dictionary_codes(to_strings(state.table[ID].combine_chunks()))
    written = ds if parsed.wall is None else parsed.wall.to_numpy(zero_copy_only=False)
    days = None if parsed.naive.any() else _wall_days(state, ds, written, codes)
    if days is not None:
        moved = int(days.moved.sum())
        state = state.record("D034", state.table, "kept days as the local clock showed them", moved)
        ds = days.times
    elif parsed.naive.any() and zone != "UTC":
        local = to_utc(ds, codes, zone, in_order=KNOWN_AT not in state.table.column_names)
        if (local.skipped | local.ambiguous).any():
            raise InvalidInput(
                f"ds has times that the clock of {zone} skipped or showed twice; give their offset"
            )
        ds = local.times
    repaired = state
    for form, example in parsed.forms.items():
        repaired = repaired.record("D033", state.table, f"{example} was {form}", len(ds))
    naive = int(parsed.naive.sum())
    repaired = repaired.record("D021", state.table, f"took times without a zone as {zone}", naive)
    return replace(repaired, table=_replace_column(state.table, DS, timestamps(ds)))


def _wall_days(state: _State, ds: Times, written: Times, codes: Integers) -> WallClock | None:
    """Return the times of days and longer steps as the check keeps them; None for shorter steps."""
    is_daily = not Frequency.parse(state.freq).is_intraday if state.freq else has_daily_steps(written, codes)
    if not is_daily or len(codes) == 0 or codes.min() < 0:
        return None
    return keep_wall_clock(ds, written, codes, state.options.time_zone or "UTC")


def _empty_infinities(state: _State) -> _State:
    _require_columns(state, Y)
    parsed = parse_numbers(state.table[Y].combine_chunks())
    infinite = pc.is_inf(parsed.values).fill_null(False)
    count = int(pc.sum(infinite).as_py() or 0)
    values = pc.if_else(infinite, pa.scalar(None, pa.float64()), parsed.values)
    return state.record(
        "D031", _replace_column(state.table, Y, values), "emptied infinite values of y", count
    )


def _drop_identical(state: _State) -> _State:
    codes = [_dictionary_codes(state.table[name]) for name in state.table.column_names]
    _, first = np.unique(np.column_stack(codes), axis=0, return_index=True)
    indices = np.sort(first)
    count = state.table.num_rows - len(indices)
    return state.record("D002", state.table.take(pa.array(indices)), "dropped identical rows", count)


def _drop_empty_series(state: _State) -> _State:
    """Drop the series that have no y at all."""
    _require_columns(state, ID, Y)
    ids, valued = (
        _dictionary_codes(state.table[ID]),
        parse_numbers(state.table[Y].combine_chunks()).values.is_valid(),
    )
    alive = np.isin(ids, ids[_to_mask(valued)])
    return state.record(
        "D052", state.table.filter(pa.array(alive)), "dropped series without a value", int((~alive).sum())
    )


def _sort_rows(state: _State) -> _State:
    order = _sort_order(state)
    if order is None:
        return state
    moved = int((order != np.arange(len(order))).sum())
    return state.record("D044", state.table.take(pa.array(order)), "sorted by unique_id and ds", moved)


def _drop_leading_zeros(state: _State) -> _State:
    """Drop the zeros at the start of a series, where they are more than its other zeros explain."""
    state = _require_order(state, "D055")
    y = parse_numbers(state.table[Y].combine_chunks()).values.fill_null(np.nan).to_numpy(zero_copy_only=False)
    ds = times_of(parse_timestamps(state.table[DS].combine_chunks(), state.options.dates).values)
    is_kept = np.ones(len(y), dtype=bool)
    for start, end in _series_spans(state.table[ID]):
        frequency = Frequency.parse(state.freq) if state.freq else infer(ds[start:end])
        observed = np.flatnonzero(~np.isnan(y[start:end]))
        run = leading_zeros(y[start:end][observed], frequency.season_lengths[0] if frequency else 1)
        is_kept[start : start + (observed[run] if run else 0)] = False
    return state.record(
        "D055", state.table.filter(pa.array(is_kept)), "dropped leading zeros", int((~is_kept).sum())
    )


def _series_spans(ids: pa.ChunkedArray) -> list[tuple[int, int]]:
    """Return the first row and the end of each series of a sorted table."""
    starts = np.flatnonzero(np.diff(_dictionary_codes(ids), prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(ids)], strict=True)) if len(ids) else []


def _fill_gaps(state: _State) -> _State:
    """Add an empty row for each missing step of a series."""
    state = _require_order(state, "D043")
    parsed = parse_timestamps(state.table[DS].combine_chunks(), state.options.dates)
    ds, ids = times_of(parsed.values), to_strings(state.table[ID].combine_chunks())
    parts = []
    for start, end in _series_spans(state.table[ID]):
        series_ds = ds[start:end]
        inferred = infer_counts(series_ds) if parsed.counted else infer(series_ds)
        frequency = Frequency.parse(state.freq) if state.freq else inferred
        missing = _missing_steps(str(ids[start]), series_ds, frequency) if frequency else series_ds[:0]
        parts.append(pa.table({ID: pa.repeat(ids[start], len(missing)), DS: timestamps(missing)}))
    rows = pa.concat_tables(parts) if parts else pa.table({ID: ids[:0], DS: timestamps(ds[:0])})
    if not rows.num_rows:
        return state
    full = pa.concat_tables(
        [_replace_column(state.table, DS, parsed.values), rows], promote_options="default"
    )
    repaired = state.record("D043", full, "filled gaps with empty rows", rows.num_rows)
    order = _sort_order(repaired)
    return repaired if order is None else replace(repaired, table=full.take(pa.array(order)))


def _missing_steps(name: str, ds: Times, frequency: Frequency) -> Times:
    """Return the steps of the grid that are not among the times of a series; InvalidInput for too many."""
    number = int(frequency.grid_lengths(ds[:1], ds[-1:])[0]) - len(ds)
    if number > MAX_GAP:
        raise InvalidInput(
            f"{name} lacks {number:,} steps of {frequency.alias}, more than the {MAX_GAP:,} that are filled; leave out "
            "the row whose time stands apart, which `quantis data check` names"
        )
    return np.setdiff1d(frequency.grid(ds[0], ds[-1]), ds)


def _require_order(state: _State, code: str) -> _State:
    _require_columns(state, ID, DS, Y)
    order = _sort_order(state)
    if order is None:
        raise InvalidInput(
            f"ds cannot be read, so {code} cannot be repaired; `quantis data check` names the rows"
        )
    return replace(state, table=state.table.take(pa.array(order)))


def _sort_order(state: _State) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    _require_columns(state, ID, DS)
    parsed = parse_timestamps(state.table[DS].combine_chunks(), state.options.dates)
    if parsed.values.null_count:
        return None
    ids = to_strings(state.table[ID].combine_chunks())
    rank = pc.index_in(ids, pc.unique(ids).sort()).fill_null(-1).to_numpy()
    return np.lexsort((times_of(parsed.values), rank))


def _dictionary_codes(column: pa.Array | pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    codes: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        array.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return codes


def _to_mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask


def _replace_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


REPAIRS: dict[str, tuple[str, Callable[[_State], _State]]] = {
    "D007": ("name the columns unique_id, ds and y", _rename_columns),
    "D009": ("drop columns of reserved names", _drop_reserved),
    "D014": ("trim unique_id", _trim_ids),
    "D021": ("write ds in UTC, from local times of --time-zone", _normalize_timestamps),
    "D033": ("write ds as ISO 8601", _normalize_timestamps),
    "D034": ("write local midnights as dates", _normalize_timestamps),
    "D031": ("empty infinite values", _empty_infinities),
    "D002": ("drop identical rows", _drop_identical),
    "D052": ("drop series without a value", _drop_empty_series),
    "D044": ("sort by unique_id and ds", _sort_rows),
    "D055": ("drop leading zeros", _drop_leading_zeros),
    "D043": ("fill gaps with empty rows", _fill_gaps),
}
"""The repairs by code, with their descriptions, in the order in which they are applied."""

LOSSLESS = ("D007", "D009", "D014", "D021", "D033", "D034", "D002", "D044")
"""The repairs made when none is named: no value is changed or left out."""

"""From appended observations to a panel: only what was said, checked against the declared roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Panel, Y
from quantis.types.datasets import DatasetSpec
from quantis.types.observations import ObservedSeries


def panel_from_observations(series: Sequence[ObservedSeries], spec: DatasetSpec) -> Panel:
    """The panel that the observations are; InvalidInput names every value that cannot be one.

    Its tables hold the columns that were given; a series without given static values has a row too.
    """
    errors = [error for place, one in enumerate(series) for error in _wrong(place, one, spec)]
    if errors:
        raise InvalidInput(
            f"{len(errors)} parts of the observations are wrong; see the errors", errors=errors
        )
    panel = Panel(
        target=_long([_observed(one) for one in series], spec),
        future=_long([_ahead(one) for one in series], spec),
        static=_static(series, spec),
    )
    for table, key in ((panel.target, [ID, DS]), (panel.future, [ID, DS])):
        _check_distinct(table, [*key, KNOWN_AT])
    return panel


def _wrong(place: int, one: ObservedSeries, spec: DatasetSpec) -> Iterator[dict[str, str]]:
    roles = spec.roles
    where = f"/series/{place}"
    given: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [
        ("hist_exog", one.hist_exog, roles.hist_exog),
        ("futr_exog", one.futr_exog, roles.futr_exog),
        ("stat_exog", one.stat_exog, roles.stat_exog),
    ]
    for role, columns, declared in given:
        for name, values in columns.items():
            at = f"{where}/{role}/{name}"
            if name not in declared:
                known = ", ".join(declared) or "none"
                yield _error(at, f"{name!r} is not declared as {role}; declared: {known}")
                continue
            cells = values if isinstance(values, list) else [values]
            if role != "stat_exog" and len(cells) != len(one.ds):
                yield _error(at, f"has {len(cells)} values and ds has {len(one.ds)}; give one per time")
            kind = str if name in roles.categorical else float
            if not all(cell is None or isinstance(cell, kind) for cell in cells):
                wanted = "texts, since it is categorical" if kind is str else "numbers"
                yield _error(at, f"must hold {wanted}")
    if one.y is not None and len(one.y) != len(one.ds):
        yield _error(f"{where}/y", f"has {len(one.y)} values and ds has {len(one.ds)}; give one per time")
    elif one.known_at is not None and any(one.known_at < ds for ds in _observed(one).get(DS, [])):
        yield _error(f"{where}/known_at", "is before ds; a value is observed when it happens or later")
    if one.y is None and not (one.hist_exog or one.futr_exog or one.stat_exog):
        yield _error(where, "holds no values; give y, hist_exog, futr_exog or stat_exog")


def _error(pointer: str, message: str) -> dict[str, str]:
    return {"pointer": pointer, "message": message}


def _observed(one: ObservedSeries) -> dict[str, list[Any]]:
    """The rows that say something of the target, as columns; empty when none does."""
    columns: dict[str, Any] = {**({} if one.y is None else {Y: one.y}), **one.hist_exog}
    if not columns or any(len(values) != len(one.ds) for values in columns.values()):
        return {}
    ahead = [
        bool(one.futr_exog) and all(values[row] is None for values in columns.values())
        for row in range(len(one.ds))
    ]
    return _rows(one, columns, [row for row, only in enumerate(ahead) if not only])


def _ahead(one: ObservedSeries) -> dict[str, list[Any]]:
    return _rows(one, one.futr_exog, range(len(one.ds))) if one.futr_exog else {}


def _rows(
    one: ObservedSeries, columns: Mapping[str, Sequence[Any]], rows: Sequence[int]
) -> dict[str, list[Any]]:
    times: dict[str, list[Any]] = {
        ID: [one.unique_id] * len(rows),
        DS: [one.ds[row] for row in rows],
        KNOWN_AT: [one.known_at] * len(rows),
    }
    return {**times, **{name: [values[row] for row in rows] for name, values in columns.items()}}


def _long(parts: Sequence[Mapping[str, list[Any]]], spec: DatasetSpec) -> pa.Table:
    """The parts below each other; they must say the same columns, or a gap would pass for a null."""
    parts = [part for part in parts if part and part[ID]]
    names = list(parts[0]) if parts else [ID, DS, KNOWN_AT]
    if any(set(part) != set(names) for part in parts):
        raise InvalidInput(
            "the series do not give the same columns; send those with others in a further request"
        )
    return pa.table(
        {name: pa.array([cell for part in parts for cell in part[name]], _type(name, spec)) for name in names}
    )


def _static(series: Sequence[ObservedSeries], spec: DatasetSpec) -> pa.Table:
    rows = {one.unique_id: one.stat_exog for one in series}
    given = {name for values in rows.values() for name in values}
    if any(set(values) != given for values in rows.values()):
        raise InvalidInput(
            "the series do not give the same static columns; send the others in a further request"
        )
    return pa.table(
        {
            ID: pa.array(rows, pa.string()),
            **{
                name: pa.array([row[name] for row in rows.values()], _type(name, spec))
                for name in sorted(given)
            },
        }
    )


def _type(name: str, spec: DatasetSpec) -> pa.DataType:
    if name in (DS, KNOWN_AT):
        return TIMESTAMP
    return pa.string() if name == ID or name in spec.roles.categorical else pa.float64()


def _check_distinct(table: pa.Table, key: Sequence[str]) -> None:
    counts = table.group_by(list(key)).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1)).to_pylist()
    if twice:
        raise InvalidInput(
            f"{len(twice)} times occur twice, such as {twice[0][ID]!r} at {twice[0][DS]:%Y-%m-%dT%H:%M:%SZ}; "
            "give one value per series, time and known_at"
        )

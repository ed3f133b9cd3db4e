"""The span of each stored series: a time on its grid, and its last one.

Rows that are added are held against it before they are written. One pass over two columns, of the range of ids that
is asked for, batch by batch: a table is never held as a whole.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from features.store.panel_store import PanelStore, VersionPins
from features.store.record_filter import Bounds, RecordFilter
from quantis.panel import DS, ID, TIMESTAMP, Panel

_MAX_NAMED = 1000  # series up to which each is looked up by its id
_SPANS = pa.schema([(ID, pa.string()), ("first_ds", TIMESTAMP), ("last_ds", TIMESTAMP)])


def stored_spans(store: PanelStore, pins: VersionPins | None, panel: Panel) -> pa.Table:
    """Return `unique_id, first_ds, last_ds` of the observed records of a panel's series, where they have any."""
    names = pc.unique(pa.chunked_array([*panel.target[ID].chunks, *panel.future[ID].chunks], pa.string()))
    if pins is None or len(names) == 0:
        return _SPANS.empty_table()
    lowest, highest = pc.min_max(names).values()
    where = RecordFilter(
        Bounds(series=names.to_pylist() if len(names) <= _MAX_NAMED else None),
        id_range=(lowest.as_py(), highest.as_py()),
        recorded_to=pins.recorded_to,
    )
    batches = store.tables["target"].batches(pins.target, [ID, DS], where)
    spans = [_spans(pa.table(batch), DS, DS) for batch in batches if batch.num_rows]
    merged = _spans(pa.concat_tables([_SPANS.empty_table(), *spans]), "first_ds", "last_ds")
    return merged.filter(pc.is_in(merged[ID], value_set=names))


def _spans(table: pa.Table, first: str, last: str) -> pa.Table:
    spans = table.group_by(ID, use_threads=False).aggregate([(first, "min"), (last, "max")])
    return spans.rename_columns(_SPANS.names)

"""Single points as known at single times: the same as a read of the whole panel as of each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.store.as_of import datetime_epoch_us, latest
from monitoring.accuracy.as_of_lookup import AsOfLookup
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Y

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = st.integers(0, 5).map(lambda hours: START + timedelta(hours=hours))
RECORDS = st.lists(
    st.tuples(st.sampled_from("abc"), HOURS, st.one_of(st.none(), st.floats(-9, 9)), HOURS), max_size=30
)
QUERIES = st.lists(st.tuples(st.sampled_from("abcd"), HOURS, HOURS), min_size=1, max_size=10)


def table(records) -> pa.Table:
    names, ds, y, known_at = zip(*records, strict=True) if records else ((), (), (), ())
    recorded_at = [START + timedelta(days=1, seconds=number) for number in range(len(names))]
    columns = {
        ID: pa.array(names, pa.string()), DS: pa.array(ds, TIMESTAMP), Y: pa.array(y, pa.float64()),
        KNOWN_AT: pa.array(known_at, TIMESTAMP), RECORDED_AT: pa.array(recorded_at, TIMESTAMP),
    }  # fmt: skip
    return pa.table({name: pa.chunked_array([column]) for name, column in columns.items()})


@given(RECORDS, QUERIES)
def test_when_a_point_is_looked_up_then_it_is_the_latest_record_known_then(records, queries) -> None:
    stored = table(records)
    series, ds, known_to = zip(*queries, strict=True)
    values = AsOfLookup.from_records(stored).values(
        pa.chunked_array([pa.array(series)]),
        np.array([datetime_epoch_us(time) for time in ds]),
        np.array([datetime_epoch_us(time) for time in known_to]),
    )
    for name, time, known, value in zip(series, ds, known_to, values.tolist(), strict=True):
        then = latest(
            stored.filter(pa.compute.less_equal(stored[KNOWN_AT], pa.scalar(known, TIMESTAMP))), (ID, DS)
        )
        matches = [row[Y] for row in then.to_pylist() if (row[ID], row[DS]) == (name, time)]
        expected = np.nan if matches in ([], [None]) else matches[0]
        np.testing.assert_equal(value, expected)

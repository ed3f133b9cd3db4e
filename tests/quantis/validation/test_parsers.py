"""Every parser of what a caller writes, under any input: it reads, or refuses with an error of ours."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cluster.repositories import paging
from quantis.errors import InvalidInput, QuantisError
from quantis.frequency import Frequency
from quantis.reading import read_table
from quantis.types.base import Duration, Timestamp
from quantis.types.reading import DateOrder, Delimiter, Encoding, ReadOptions
from quantis.validation.date_formats import parse_dates
from quantis.validation.panel_check import check_panel, detect_spec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
datelike = st.text("0123456789-/:. TZ+JanFebsept年,", max_size=30)
orders = st.sampled_from([None, *get_args(DateOrder)])

options = st.builds(
    ReadOptions,
    delimiter=st.sampled_from([None, *get_args(Delimiter)]),
    decimal=st.just(None),
    encoding=st.sampled_from([None, *get_args(Encoding)]),
    quote=st.sampled_from([None, '"', "'", ""]),
    dates=orders,
    time_zone=st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Tokyo"]),
)
cells = st.one_of(
    texts, datelike, st.sampled_from(["unique_id", "ds", "y", "1,5", "1.5", "", "NaN", '"', "=1+1"])
)
files = st.one_of(
    st.binary(max_size=200),
    st.lists(st.lists(cells, min_size=1, max_size=4), max_size=6).flatmap(
        lambda rows: st.sampled_from([",", ";", "\t", "|"]).map(
            lambda mark: "\n".join(mark.join(row) for row in rows).encode()
        )
    ),
)


@settings(max_examples=300, deadline=None)
@given(files, options)
def test_when_any_bytes_are_read_in_any_dialect_then_there_is_a_table_or_an_error_of_ours(
    content: bytes, given: ReadOptions
) -> None:
    try:
        table = read_table(content, name="upload.csv", media_type="text/csv", options=given)
        report, _ = check_panel(table, detect_spec(table, "upload", given), file="upload.csv", options=given)
    except QuantisError:
        return
    assert isinstance(table, pa.Table)
    assert report.outcome in ("accept", "accept_with_warning", "reject")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.none(), texts, datelike), max_size=5), orders)
def test_when_any_texts_stand_for_dates_then_each_has_a_verdict(
    cells: list[str | None], order: object
) -> None:
    assert len(parse_dates(cells, order)) == len(cells)  # type: ignore[arg-type]


@given(st.datetimes(datetime(1700, 1, 2), datetime(2261, 12, 30), timezones=st.just(UTC)))
def test_when_a_moment_is_written_then_it_is_read_back(moment: datetime) -> None:
    assert TypeAdapter(Timestamp).validate_python(moment.isoformat()) == moment


@settings(max_examples=500)
@given(st.one_of(texts, datelike, st.integers(), st.floats(), st.booleans(), st.none()))
def test_when_anything_stands_for_a_time_or_a_duration_then_it_is_one_or_refused(value: object) -> None:
    for kind, made in ((Timestamp, datetime), (Duration, timedelta)):
        try:
            assert isinstance(TypeAdapter(kind).validate_python(value), made)
        except ValidationError:
            continue
        assert isinstance(value, str)


@given(st.timedeltas(timedelta(0), timedelta(days=300_000)))
def test_when_a_duration_is_written_then_it_is_as_rfc_3339_has_it_and_read_back(value: timedelta) -> None:
    written = json.loads(TypeAdapter(Duration).dump_json(value))
    time = r"T(\d+H(\d+M([\d.]+S)?)?|\d+M([\d.]+S)?|[\d.]+S)"
    assert re.fullmatch(rf"P(\d+D({time})?|{time})", written), written
    assert TypeAdapter(Duration).validate_python(written) == value


@given(
    st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100), min_size=1, max_size=3
    )
)
def test_when_a_cursor_is_given_out_then_it_is_taken_back(key: list[str]) -> None:
    assert paging.decode(paging.encode(key), len(key)) == key


@settings(max_examples=500)
@given(st.one_of(texts, st.text("ABCxyz019_-=+/", max_size=40)), st.integers(1, 3))
def test_when_a_cursor_is_made_up_then_it_is_taken_or_refused(cursor: str, length: int) -> None:
    try:
        key = paging.decode(cursor, length)
    except InvalidInput:
        return
    assert len(key) == length
    assert all(isinstance(part, str) for part in key)


@settings(max_examples=500)
@given(st.one_of(texts, st.text("0123456789hDWMSBQYEmin-SUN", max_size=10)))
def test_when_any_text_stands_for_a_frequency_then_it_is_one_or_refused(alias: str) -> None:
    try:
        found = Frequency.parse(alias)
    except InvalidInput:
        return
    assert Frequency.parse(found.alias) == found

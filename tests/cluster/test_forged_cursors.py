"""Cursors of pages come back from clients: whatever is in them is read, or refused as invalid input."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.repositories import paging
from quantis.errors import InvalidInput

PARTS = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100), min_size=1, max_size=3
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def wrapped(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


FORGED = [
    wrapped(["2024-01-01T00:00:00", "a"]), wrapped(["0001-01-01T00:00:00+23:59", "a"]),
    wrapped(["9999-12-31T23:59:59-23:59", "a"]), wrapped(["2024-01-01T00:00:00+00:00", "a\x00b"]),
    wrapped(["2024-01-01T00:00:00+00:00", "\ud800"]), wrapped(["2024-01-01T00:00:00+00:00", "é"]),
    wrapped(["2024-01-01T00:00:00+00:00", "a" * 101]), wrapped(["9" * 19]), wrapped(["١٢"]), wrapped(["²"]),
    wrapped(["-1"]), wrapped([" 1"]), wrapped(["1"]) + "=", "é", "\ud800", "[" * 200,
    base64.urlsafe_b64encode(b"[" * 100_000).decode(), wrapped(["1", "2", "3"]), wrapped("12"), "W10", "",
]  # fmt: skip


def read_page(cursor: str) -> None:
    """Read it as the lists by time and the lists by number do."""
    at, _ = paging.decode(cursor, 2)
    assert paging.timestamp(at).tzinfo is UTC


def read_offset(cursor: str) -> None:
    assert 0 <= paging.integer(paging.decode(cursor, 1)[0]) < 2**63


@pytest.mark.parametrize("cursor", FORGED)
@pytest.mark.parametrize("read", [read_page, read_offset])
def test_when_a_cursor_is_forged_then_it_is_invalid_input(cursor, read):
    with pytest.raises(InvalidInput, match="not one that this service gave out"):
        read(cursor)


@given(st.one_of(st.text(), JSON.map(wrapped), st.lists(st.text()).map(wrapped)))
def test_when_a_cursor_is_any_text_then_it_is_read_or_refused_and_nothing_breaks(cursor):
    for read in (read_page, read_offset):
        with contextlib.suppress(InvalidInput):
            read(cursor)


@given(PARTS)
def test_when_a_cursor_was_given_out_then_it_is_read_back(parts):
    assert paging.decode(paging.encode(parts), len(parts)) == parts


@given(st.datetimes(timezones=st.just(UTC)))
def test_when_a_time_was_given_out_then_it_is_read_back(at: datetime):
    assert paging.timestamp(at.isoformat()) == at

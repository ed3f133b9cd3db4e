"""Cursor pagination: the cursor is the sort key of the last item, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from quantis.errors import InvalidInput
from quantis.types.base import Page

Row = TypeVar("Row")
Item = TypeVar("Item")
MAX_PAGE = 500
MAX_PART, MAX_DIGITS = 100, 18
_FORGED = "the cursor is not one that this service gave out; leave it away"


def encode(key: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[str]:
    """Return the sort key in a cursor; InvalidInput for a cursor that was not issued here.

    Its parts are printable ASCII, which every database takes: a cursor is a client's text.
    """
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInput(_FORGED) from error
    if not isinstance(key, list) or len(key) != length or not all(map(_is_part, key)):
        raise InvalidInput(_FORGED)
    if encode(key) != cursor:  # another spelling of it
        raise InvalidInput(_FORGED)
    return key


def _is_part(part: object) -> bool:
    return isinstance(part, str) and part.isascii() and part.isprintable() and len(part) <= MAX_PART


def page(
    rows: Sequence[Row], limit: int, item: Callable[[Row], Item], key: Callable[[Row], Sequence[str]]
) -> Page[Item]:
    """Return a page from `limit + 1` rows: the extra one only shows that there are more."""
    has_more = len(rows) > limit
    return Page(
        items=[item(row) for row in rows[:limit]],
        next_cursor=encode(key(rows[limit - 1])) if has_more else None,
    )


def timestamp(text: str) -> datetime:
    """Parse a time inside a cursor, to UTC."""
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            raise ValueError("a time without a zone")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(_FORGED) from error


def integer(text: str) -> int:
    """Parse a count inside a cursor, which the databases' integers hold."""
    if not (text.isascii() and text.isdecimal()) or len(text) > MAX_DIGITS:
        raise InvalidInput(_FORGED)
    return int(text)

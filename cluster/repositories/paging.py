"""Cursor pagination: the cursor is the sort key of the last item, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from quantis.errors import InvalidInput
from quantis.types.base import Page

Row = TypeVar("Row")
Item = TypeVar("Item")
MAX_PAGE = 500


def encode(key: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[str]:
    """Return the sort key in a cursor; InvalidInput for a cursor that was not issued here."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("the cursor is not one that this service gave out; leave it away") from error
    if not isinstance(key, list) or len(key) != length or not all(isinstance(part, str) for part in key):
        raise InvalidInput("the cursor is not one that this service gave out; leave it away")
    return key


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
    """Parse a time inside a cursor."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("the cursor is not one that this service gave out; leave it away") from error

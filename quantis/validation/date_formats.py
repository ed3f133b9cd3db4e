"""Parse texts as dates, one by one: the forms that people and spreadsheets write.

The order of day and month in 01/02/2013 follows from the whole column or is declared; else it stays unclear.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from quantis.types.reading import DateOrder

ISO, UNCLEAR = "ISO 8601", "day or month first"

_CLOCK = (
    r"(?:[T ]\s*(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:\.(?P<f>\d{1,9}))?)?\s*(?P<p>[AaPp][Mm])?)?"
    r"\s*(?P<z>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
)
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_FORMS = tuple(
    (form, re.compile(pattern + (_CLOCK if clock else "")))
    for form, pattern, clock in (
        (ISO, r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})", True),
        ("year first", r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})", True),
        ("year, month and day without marks", r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})", True),
        ("a month, its first day taken", r"(?P<y>\d{4})[-/](?P<m>\d{1,2})", False),
        ("a quarter, its first day taken", r"(?P<y>\d{4})[- ]?Q(?P<q>[1-4])", False),
        ("a year, its first day taken", r"(?P<y>\d{4})", False),
        ("a named month", rf"(?P<d>\d{{1,2}})[-. ]+{_NAME}[-, ]+(?P<y>\d{{4}})", True),
        ("a named month", rf"{_NAME}[- ]+(?P<d>\d{{1,2}}),?[- ]+(?P<y>\d{{4}})", True),
        ("a named month, its first day taken", rf"{_NAME}[- ]+(?P<y>\d{{4}})", False),
        (UNCLEAR, r"(?P<a>\d{1,2})([-/.])(?P<b>\d{1,2})\2(?P<y>\d{4})", True),
    )
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH_NUMBERS = {"sept": 9} | {
    name[:size]: number for number, name in enumerate(_MONTHS, 1) for size in (3, 9)
}
_ORDERS: dict[DateOrder, str] = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}


class ParsedDate(NamedTuple):
    timestamp: datetime | None
    form: str = ""
    clock: bool = False  # has a time of day
    zone: bool = False
    undecided: dict[str, str | None] | None = None  # the parts of a date of two possible orders
    wall: datetime | None = None  # without its zone, as written

    @property
    def unclear(self) -> bool:
        return self.timestamp is None and self.form == UNCLEAR


def parse_dates(distinct: list[str | None], order: DateOrder | None) -> list[ParsedDate]:
    """Parse each text to a timestamp (UTC where it names no zone) and the form that it was read as."""
    return _resolve_orders([_parse_text(text) for text in distinct], order)


def _parse_text(text: str | None) -> ParsedDate:
    for form, pattern in _FORMS:
        match = pattern.fullmatch(text or "")
        if match:
            return _build_date(form, match.groupdict())
    return ParsedDate(None)


def _build_date(form: str, part: dict[str, str | None]) -> ParsedDate:
    """Build a date of its parts; of two possible orders, the parts wait until the column decides."""
    if form == UNCLEAR:
        return ParsedDate(None, form, undecided=part)
    month: int | None = int(part.get("m") or 1)
    if part.get("q"):
        month = 3 * int(part["q"] or 1) - 2
    if name := (part.get("name") or "").lower():
        month = _MONTH_NUMBERS.get(name)
    if month is None:
        return ParsedDate(None)
    clock = bool(part.get("H"))
    timestamp = _to_utc_datetime(
        int(part["y"] or 0), month, int(part.get("d") or 1), {k: part.get(k) for k in "HMSfpz"}
    )
    return ParsedDate(timestamp, form, clock, bool(part.get("z")), wall=_wall_time(timestamp, part.get("z")))


def _to_utc_datetime(year: int, month: int, day: int, clock: dict[str, str | None]) -> datetime | None:
    hour = int(clock["H"] or 0)
    if clock["p"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock["p"].lower() == "pm" else 0)
    micro = int((clock["f"] or "0").ljust(6, "0")[:6])
    try:
        local = datetime(
            year, month, day, hour, int(clock["M"] or 0), int(clock["S"] or 0), micro, tzinfo=UTC
        )
        return local.replace(tzinfo=_parse_offset(clock["z"])).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _wall_time(timestamp: datetime | None, offset: str | None) -> datetime | None:
    """Return a time as it was written, without its offset."""
    return timestamp and timestamp.astimezone(_parse_offset(offset)).replace(tzinfo=None)


def _parse_offset(text: str | None) -> timezone:
    if not text or text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(offset if text[0] == "+" else -offset)


def _resolve_orders(parsed: list[ParsedDate], order: DateOrder | None) -> list[ParsedDate]:
    """Resolve dates of two possible orders by the declared order, or by the column as a whole."""
    undecided = [date.undecided for date in parsed if date.undecided]
    if undecided and order not in ("dmy", "mdy"):
        order = _infer_order(undecided)
    return _reject_lone_years(
        [_apply_order(date.undecided, order) if date.undecided else date for date in parsed]
    )


def _infer_order(dates: list[dict[str, str | None]]) -> DateOrder | None:
    """Return the order in which every date has a month up to 12; None when both or none do."""
    day_first = max(int(part["a"] or 0) for part in dates) > 12
    month_first = max(int(part["b"] or 0) for part in dates) > 12
    if day_first == month_first:
        return None
    return "dmy" if day_first else "mdy"


def _apply_order(part: dict[str, str | None], order: DateOrder | None) -> ParsedDate:
    if order is None:
        return ParsedDate(None, UNCLEAR)
    first, second, year = (int(part[key] or 0) for key in ("a", "b", "y"))
    day, month = (first, second) if order == "dmy" else (second, first)
    timestamp = _to_utc_datetime(year, month, day, {key: part[key] for key in "HMSfpz"})
    wall = _wall_time(timestamp, part["z"])
    return ParsedDate(timestamp, _ORDERS[order], bool(part["H"]), bool(part["z"]), wall=wall)


def _reject_lone_years(parsed: list[ParsedDate]) -> list[ParsedDate]:
    """Reject years of four digits unless the whole column holds them."""
    kinds = Counter(date.form for date in parsed)
    lone_year = "a year, its first day taken"
    if kinds[lone_year] and kinds[lone_year] < len(parsed):
        return [ParsedDate(None) if date.form == lone_year else date for date in parsed]
    return parsed

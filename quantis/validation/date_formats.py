"""Texts as dates, one by one: the forms that people and spreadsheets write.

Of 01/02/2013 the column as a whole tells which comes first, or its owner; else it stays unclear.
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
    (how, re.compile(pattern + (_CLOCK if clock else "")))
    for how, pattern, clock in (
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
_FULL = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTHS = {name: number + 1 for number, full in enumerate(_FULL) for name in (full, full[:3])} | {"sept": 9}
_ORDERS: dict[DateOrder, str] = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}


class ParsedDate(NamedTuple):
    moment: datetime | None
    how: str = ""
    clock: bool = False
    zone: bool = False

    @property
    def unclear(self) -> bool:
        return self.moment is None and self.how == UNCLEAR


def parse_dates(distinct: list[str | None], order: DateOrder | None) -> list[ParsedDate]:
    """Each text as a moment (UTC where it names no zone) and how it was taken."""
    return _resolved([_parse(text) for text in distinct], order)


def _parse(text: str | None) -> ParsedDate:
    for how, pattern in _FORMS:
        found = pattern.fullmatch(text or "")
        if found:
            return _made(how, found.groupdict())
    return ParsedDate(None)


def _made(how: str, part: dict[str, str | None]) -> ParsedDate:
    """A moment of the parts; of two possible orders both are kept in `how` until the column decides."""
    if how == UNCLEAR:
        return ParsedDate(None, f"{part['a']}|{part['b']}|" + "|".join(part[k] or "" for k in "yHMSfpz"))
    month: int | None = int(part.get("m") or 1)
    if part.get("q"):
        month = 3 * int(part["q"] or 1) - 2
    if name := (part.get("name") or "").lower():
        month = _MONTHS.get(name)
    if month is None:
        return ParsedDate(None)
    clock = bool(part.get("H"))
    moment = _moment(int(part["y"] or 0), month, int(part.get("d") or 1), {k: part.get(k) for k in "HMSfpz"})
    return ParsedDate(moment, how, clock, bool(part.get("z")))


def _moment(year: int, month: int, day: int, clock: dict[str, str | None]) -> datetime | None:
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
        return local.replace(tzinfo=_zone(clock["z"])).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if not text or text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(ahead if text[0] == "+" else -ahead)


def _resolved(parsed: list[ParsedDate], order: DateOrder | None) -> list[ParsedDate]:
    """Dates of two possible orders, once the column as a whole or its owner tells which."""
    open_ = [one.how.split("|") for one in parsed if one.how.count("|") == 8]
    if open_:
        firsts, seconds = [int(part[0]) for part in open_], [int(part[1]) for part in open_]
        if order not in ("dmy", "mdy"):
            day_first, month_first = max(firsts) > 12, max(seconds) > 12
            order = None if day_first == month_first else "dmy" if day_first else "mdy"
        parsed = [_ordered(one, order) if one.how.count("|") == 8 else one for one in parsed]
    return _as_dates(parsed)


def _ordered(one: ParsedDate, order: DateOrder | None) -> ParsedDate:
    a, b, year, *clock = one.how.split("|")
    if order is None:
        return ParsedDate(None, UNCLEAR)
    day, month = (int(a), int(b)) if order == "dmy" else (int(b), int(a))
    parts = {key: value or None for key, value in zip("HMSfpz", clock, strict=True)}
    return ParsedDate(_moment(int(year), month, day, parts), _ORDERS[order], bool(clock[0]), bool(clock[-1]))


def _as_dates(parsed: list[ParsedDate]) -> list[ParsedDate]:
    """A year of four digits is one only where all are; the rest as it stands."""
    kinds = Counter(one.how for one in parsed)
    lone = "a year, its first day taken"
    if kinds[lone] and kinds[lone] < len(parsed):
        return [ParsedDate(None) if one.how == lone else one for one in parsed]
    return parsed

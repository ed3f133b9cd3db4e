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
_MONTH_NUMBERS = {name[:length]: number for number, name in enumerate(_MONTHS, 1) for length in (3, 9)} | {
    "sept": 9
}

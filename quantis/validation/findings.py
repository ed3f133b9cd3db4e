"""The findings of a data check: every code with its rule and remedy, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from quantis.types.base import MAX_SERIES_ID
from quantis.types.findings import Finding, Severity

SHOWN_PER_CODE = 20
"""Findings of one code and column that are listed; one more counts the rest."""

CheckOutcome = Literal["accept", "accept_with_warning", "reject"]
_ERROR, _WARNING, _INFO = Severity.error, Severity.warning, Severity.info


class CheckRule(NamedTuple):
    severity: Severity
    rule: str
    remedy: str


RULES: dict[str, CheckRule] = {
    "D000": CheckRule(_ERROR, "file that cannot be read", ""),  # the reader's message says the remedy
    "D001": CheckRule(
        _ERROR, "duplicate key with other values", "keep the row that is right, or give known_at"
    ),
    "D002": CheckRule(_WARNING, "duplicate row", "it was counted once"),
    "D003": CheckRule(_ERROR, "missing column", "add it, or declare other roles"),
    "D004": CheckRule(_WARNING, "column without a role", "it is left out; declare a role to use it"),
    "D005": CheckRule(_ERROR, "no rows", "give at least one row below the header"),
    "D006": CheckRule(
        _ERROR,
        "not the long format",
        "give one row per series and time with columns unique_id, ds and y (melt or unpivot the file)",
    ),
    "D007": CheckRule(_WARNING, "column taken under another name", "map the columns when it is another one"),
    "D008": CheckRule(_WARNING, "text that is not UTF-8", "say the encoding when it is another one"),
    "D009": CheckRule(_WARNING, "reserved column name", "it is left out; rename the column to use it"),
    "D010": CheckRule(_ERROR, "empty unique_id", "name the series of every row"),
    "D011": CheckRule(_ERROR, "unique_id too long", f"use at most {MAX_SERIES_ID} characters"),
    "D012": CheckRule(
        _WARNING, "unique_id reads as a spreadsheet formula", "start it with a letter or a digit"
    ),
    "D013": CheckRule(_ERROR, "unique_id with control characters", "use printable characters"),
    "D014": CheckRule(
        _WARNING, "unique_id with spaces around it", "trim it, lest it be taken for another one"
    ),
    "D015": CheckRule(_ERROR, "columns that differ only by case", "rename one, or leave it without a role"),
    "D016": CheckRule(
        _ERROR, "unique_id that is a step of a path", "name the series otherwise: no address leads to it"
    ),
    "D017": CheckRule(
        _ERROR, "unique_id whose digits were lost", "give ids as integers or as text, not as floats"
    ),
    "D018": CheckRule(
        _WARNING,
        "unique_id given as a large float",
        "give ids as integers or as text, when it stands for another integer",
    ),
    "D020": CheckRule(_ERROR, "ds is not a time", "write ISO 8601, such as 2013-01-31 or 2013-01-31T05:00Z"),
    "D021": CheckRule(
        _WARNING, "ds without a zone", "add Z or an offset, or declare time_zone, when it is another"
    ),
    "D022": CheckRule(_ERROR, "ds out of range", "use years from 1700 to 2261"),
    "D023": CheckRule(_ERROR, "known_at is not a time", "write ISO 8601, or leave it empty"),
    "D024": CheckRule(
        _WARNING, "value known before its time", "check known_at, or move ds to when the value applies"
    ),
    "D025": CheckRule(
        _ERROR, "local time that the clock skipped", "give the time with its offset, or in UTC"
    ),
    "D026": CheckRule(
        _ERROR, "local time that the clock showed twice", "give the time with its offset, or both of the hour"
    ),
    "D027": CheckRule(
        _WARNING, "hours that the clock showed twice", "they are taken in the order of the rows; check it"
    ),
    "D028": CheckRule(_ERROR, "zones mixed with none", "give every time its zone, or none"),
    "D029": CheckRule(
        _ERROR, "day and month cannot be told apart", "say the order of dates (dmy or mdy), or write ISO 8601"
    ),
    "D030": CheckRule(_ERROR, "y is not a number", "write a plain number such as 12.5, or leave it empty"),
    "D031": CheckRule(_ERROR, "infinite value", "leave it empty when it is missing"),
    "D032": CheckRule(_ERROR, "covariate is not a number", "write plain numbers, or declare it categorical"),
    "D033": CheckRule(
        _WARNING, "dates not in ISO 8601", "write ISO 8601, or say the order, when it is another"
    ),
    "D034": CheckRule(
        _WARNING,
        "days given by a local clock",
        "they are kept as that clock showed them; declare steps of hours, such as 24h, for points in time",
    ),
    "D035": CheckRule(
        _WARNING, "counted steps", "they are kept as seconds from 1970; give times when they are"
    ),
    "D036": CheckRule(_ERROR, "decimal mark unclear", "say whether it is a comma or a point"),
    "D037": CheckRule(
        _ERROR,
        "integers that are no times for sure",
        "write ISO 8601, such as 2024-01-31, or counts below 100 million",
    ),
    "D038": CheckRule(
        _INFO, "times of several offsets", "declare time_zone, so that the calendar is local, too"
    ),
    "D039": CheckRule(
        _INFO, "text taken as numbers", "write numbers as numbers, when it is a code or a name"
    ),
    "D040": CheckRule(_ERROR, "no frequency found", "declare freq, or give a series of three rows or more"),
    "D041": CheckRule(_ERROR, "series of several frequencies", "upload one dataset per frequency"),
    "D042": CheckRule(
        _ERROR, "times off the grid", "round ds to the steps of the frequency, or declare another frequency"
    ),
    "D043": CheckRule(
        _WARNING, "gaps", "missing steps count as missing values; fill them when they are zeros"
    ),
    "D044": CheckRule(_WARNING, "rows not sorted", "they were sorted by unique_id and ds"),
    "D045": CheckRule(
        _INFO, "value dated later than now", "check ds; until then it is stored, and moves no forecast"
    ),
    "D046": CheckRule(
        _WARNING,
        "integer that a 64-bit float does not hold exactly",
        "give it in a larger unit, or declare it categorical when it is a code",
    ),
    "D047": CheckRule(
        _ERROR,
        "number too large for a 64-bit float",
        "give it in a larger unit; the largest is about 1.8e308",
    ),
    "D049": CheckRule(
        _ERROR,
        "gap too wide to fill",
        "correct the time that stands apart (1970 is an empty one), or leave its row out",
    ),
    "D048": CheckRule(
        _ERROR,
        "steps of fractions of a second",
        "the shortest step is a second: aggregate to seconds or more, or give ds as counts (0, 1, 2 ...) with freq 1",
    ),
    "D050": CheckRule(
        _WARNING, "series too short", "give two seasons or more; until then a simpler method answers"
    ),
    "D051": CheckRule(_WARNING, "constant series", "check that it is alive; its forecast is the constant"),
    "D052": CheckRule(_WARNING, "series without a value", "give values, or leave the series out"),
    "D053": CheckRule(_ERROR, "no value at all", "fill column y"),
    "D054": CheckRule(_INFO, "intermittent series", "mostly zeros: judge it by its sum or its quantiles"),
    "D055": CheckRule(_INFO, "leading zeros", "drop the rows before the series began, if it had not begun"),
    "D056": CheckRule(
        _WARNING, "series of zeros", "check that it is alive; leave it empty where it is missing"
    ),
    "D057": CheckRule(_INFO, "outlier", "check the value; leave it empty when it is an error"),
    "D058": CheckRule(
        _INFO, "level shift", "check for a change of unit or meaning; give a covariate that tells it"
    ),
    "D059": CheckRule(_INFO, "missing values in y", "they stay missing; fill them where they are zeros"),
    "D060": CheckRule(
        _ERROR, "static column that varies", "keep one value per series, or declare another role"
    ),
    "D061": CheckRule(
        _WARNING, "known-future covariate missing in places", "fill it over history and horizon"
    ),
    "D062": CheckRule(
        _WARNING, "known-future covariate that ends early", "give it up to the series' last row"
    ),
    "D063": CheckRule(
        _WARNING,
        "covariate that repeats y",
        "leave it out, or check that it is known when the forecast is made",
    ),
    "D064": CheckRule(
        _ERROR,
        "known-future covariate that equals y",
        "leave it out: it gives forecasts their own answer; where that is meant, name it in target_copies",
    ),
}


class SeriesMessage(NamedTuple):
    """The text of a finding about one series; `row` counts from 1 in the file."""

    series: str
    text: str
    row: int | None = None


@dataclass
class Findings:
    """Collects findings; of each code and column the first ones are listed and the rest counted."""

    _findings: list[Finding] = field(default_factory=list)

    def add(
        self,
        code: str,
        text: str,
        *,
        series: str | None = None,
        row: int | None = None,
        column: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Add one finding; its message is `text` and the remedy, that of the code unless another one fits better."""
        rule = RULES[code]
        remedy = remedy or rule.remedy
        message = f"{text}; {remedy}" if remedy else text
        self._findings.append(
            Finding(code=code, severity=rule.severity, series=series, row=row, column=column, message=message)
        )

    def add_rows(
        self,
        code: str,
        rows: Sequence[int],
        describe: Callable[[int], str],
        *,
        column: str | None = None,
        series: Callable[[int], str] | None = None,
    ) -> None:
        """Add a finding per row (from 0), and one that counts the rows beyond `SHOWN_PER_CODE`."""
        for row in rows[:SHOWN_PER_CODE]:
            self.add(code, describe(row), row=row + 1, column=column, series=series(row) if series else None)
        self._count_unlisted(code, len(rows), column)

    def add_series(
        self, code: str, messages: Sequence[SeriesMessage], *, column: str | None = None, total: int = 0
    ) -> None:
        """Add a finding per message, and one that counts those beyond `SHOWN_PER_CODE`.

        `total` is the number of series where `messages` holds the first of them only.
        """
        for message in messages[:SHOWN_PER_CODE]:
            self.add(code, message.text, series=message.series, row=message.row, column=column)
        self._count_unlisted(code, max(total, len(messages)), column)

    def _count_unlisted(self, code: str, total: int, column: str | None) -> None:
        if total > SHOWN_PER_CODE:
            unlisted = total - SHOWN_PER_CODE
            self.add(code, f"{unlisted:,} more of the same ({RULES[code].rule})", column=column)

    @property
    def rejected(self) -> bool:
        """True if there is an error."""
        return any(finding.severity is Severity.error for finding in self._findings)

    def rejects_column(self, column: str) -> bool:
        """Return True if there is an error in a column."""
        return any(
            finding.column == column and finding.severity is Severity.error for finding in self._findings
        )

    @property
    def outcome(self) -> CheckOutcome:
        """Errors reject, warnings are accepted with a warning."""
        if self.rejected:
            return "reject"
        warned = any(finding.severity is Severity.warning for finding in self._findings)
        return "accept_with_warning" if warned else "accept"

    def to_list(self) -> list[Finding]:
        """Return the findings, most severe first."""
        order = list(Severity)
        return sorted(self._findings, key=lambda finding: (order.index(finding.severity), finding.code))

"""Cron expressions in a time zone: the times at which they run, on days of 23 and 25 hours too.

The fields and their rules are those of Debian's cron, and so is its treatment of clocks that are changed. A schedule
whose minute and hour are both fixed runs once a day: of a time that is skipped, at the end of the gap; of a time that
comes twice, the first time. Any other schedule runs at every time that the clock shows: 23 or 25 times a day where it
runs each hour. Times are found on the wall clock (cronsim, without a zone) and placed on the zone's stretches of
constant offset here, so that gaps of any length are right, such as Lord Howe's half an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from quantis.errors import InvalidInput

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
FIELDS = 5
FIRST_LOOK_BACK = timedelta(hours=1)
_SOME_WALL_CLOCK = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class CronExpression:
    """Five fields (minute, hour, day of month, month, day of week) in a zone."""

    text: str
    zone_name: str = "UTC"

    def __post_init__(self) -> None:
        if len(self.text.split()) != FIELDS:
            raise _refused(self.text, "it has five fields: minute, hour, day of month, month, day of week")
        try:
            first = next(CronSim(self.text, _SOME_WALL_CLOCK), None)
        except CronSimError as error:
            raise _refused(self.text, f"{str(error).lower()}") from None
        if first is None:
            raise _refused(self.text, "it never comes within fifty years")

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone_name)

    @cached_property
    def _has_fixed_time(self) -> bool:
        minute, hour = self.text.split()[:2]
        return not minute.startswith("*") and not hour.startswith("*")

    def next_after(self, time: datetime) -> datetime | None:
        """Return the first time after `time` (UTC); None where fifty years have none."""
        return self._next_fixed(time) if self._has_fixed_time else self._next_shown(time)

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the times after `after` and up to `until`."""
        following = self.next_after(after)
        while following is not None and following <= until:
            yield following
            following = self.next_after(following)

    def latest(self, after: datetime, until: datetime, count: int) -> list[datetime]:
        """Return the last `count` times after `after` and up to `until`, in their order.

        It looks back step by step, so that a year of minutes costs no more than `count` of them.
        """
        look_back = FIRST_LOOK_BACK
        while True:
            start = max(after, until - look_back)
            times = deque(self.between(start, until), maxlen=count)
            if start == after or len(times) == count:
                return list(times)
            look_back *= 4

    def _next_fixed(self, time: datetime) -> datetime | None:
        """Return the next of the times that come once a day, whatever is done to the clocks."""
        wall_clock = time.astimezone(self._zone).replace(tzinfo=None)
        for wall_time in CronSim(self.text, wall_clock):
            at = _first_instant(wall_time, self._zone)
            if at > time:
                return at
        return None

    def _next_shown(self, time: datetime) -> datetime | None:
        """Return the next instant at which the clock shows a time of the expression."""
        offset = _offset(time, self._zone)
        wall_clock_after = (time + offset).replace(tzinfo=None)
        while (wall_time := next(CronSim(self.text, wall_clock_after), None)) is not None:
            at = wall_time.replace(tzinfo=UTC) - offset
            change = _first_change(time, at, self._zone)
            if change is None:
                return at
            time, offset = change, _offset(change, self._zone)
            wall_clock_after = (time + offset - SECOND).replace(tzinfo=None)  # the time of the change counts
        return None


def _refused(text: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"cron {text[:100]!r} is no schedule: {reason}; write it as in 30 6 * * MON-FRI",
        errors=[{"pointer": "/cron", "message": reason}],
    )


def _offset(time: datetime, zone: ZoneInfo) -> timedelta:
    return time.astimezone(zone).utcoffset() or timedelta(0)


def _first_instant(wall_time: datetime, zone: ZoneInfo) -> datetime:
    """Return when a clock first shows a time, or the end of the gap in which it would have."""
    at = wall_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall_time:
        return at
    return _first_change(at - DAY, at, zone) or at


def _first_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first second after `start`, and not after `end`, at which the offset is another; None without one."""
    offset, low = _offset(start, zone), start
    while low < end:
        high = min(low + DAY, end)
        if _offset(high, zone) != offset:
            break
        low = high
    else:
        return None
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)

"""Quotas of teams, filled with the platform's defaults, and the use of them."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cluster.repositories.teams import Teams, month_start
from cluster.settings import Settings
from quantis.errors import QuotaExceeded
from quantis.types.teams import Quota, Usage, Used

_MEASURED_FOR = 30.0
_MB = 1_000_000


class _Measured(NamedTuple):
    """Bytes that a team stored at the start of a measurement, and the monotonic time until which it holds."""

    at: datetime
    size: int
    holds_until: float


class Quotas:
    """Quotas of teams; `jobs_at_once` and `job_seconds` bound the jobs of all of them."""

    def __init__(self, teams: Teams, settings: Settings) -> None:
        self._teams = teams
        self._data_layout = settings.data_layout
        self._defaults = settings.default_quota
        self.jobs_at_once, self.job_seconds = settings.jobs_at_once, settings.job_seconds
        self._measured: dict[str, _Measured] = {}
        self._lock = threading.Lock()

    def with_defaults(self, quota: Quota) -> Quota:
        """Return a team's quota with the defaults in its gaps."""
        return self._defaults.model_copy(update=quota.model_dump(exclude_none=True))

    def for_team(self, team: str) -> Quota:
        return self.with_defaults(self._teams.quota(team))

    def check_compute(self, team: str, quota: Quota) -> None:
        """Raise QuotaExceeded when the seconds of this month are used up."""
        limits = self.with_defaults(quota)
        if limits.cpu_seconds is None and limits.gpu_seconds is None:
            return
        work = self._teams.work(team)
        for name, used, limit in (
            ("cpu_seconds", work.cpu_seconds, limits.cpu_seconds),
            ("gpu_seconds", work.gpu_seconds, limits.gpu_seconds),
        ):
            if limit is not None and used >= limit:
                raise QuotaExceeded(
                    f"the team used {used:.0f} of its {limit} {name} of this month; "
                    "ask an operator for more, or wait for the next month"
                )

    def check_storage(self, team: str, quota: Quota, incoming: int = 0) -> None:
        """Raise QuotaExceeded when the team stores all that it may, or would with `incoming` bytes more."""
        limit = self.with_defaults(quota).storage_mb
        if limit is None:
            return
        measured = self._measure(team)
        used = measured.size + self._teams.reserved_bytes(team, measured.at)
        if used >= limit * _MB or used + incoming > limit * _MB:
            raise _exceeds(used, limit, incoming)

    @contextmanager
    def reserved(self, team: str, quota: Quota, size: int) -> Iterator[None]:
        """Hold `size` bytes of the team's storage while they are written; QuotaExceeded when they do not fit.

        Of writes that come together, in whatever process, only as many are let in as fit together.
        """
        limit = self.with_defaults(quota).storage_mb
        if limit is None:
            yield
            return
        measured = self._measure(team)
        reservation = self._teams.reserve_storage(team, size, limit * _MB - measured.size, measured.at)
        if reservation is None:
            used = measured.size + self._teams.reserved_bytes(team, measured.at)
            raise _exceeds(used, limit, size)
        try:
            yield
        finally:
            self._teams.end_reservation(team, reservation)

    def usage(self, team: str, requests: int, resets_at: datetime | None) -> Usage:
        """Return each limited resource and its use; `requests` are those of this minute."""
        limits, work, month = self.for_team(team), self._teams.work(team), _next_month()
        items = [
            Used(name="jobs_at_once", used=work.running, limit=limits.jobs_at_once, unit="jobs"),
            Used(name="jobs_waiting", used=work.waiting, limit=limits.jobs_waiting, unit="jobs"),
            Used(
                name="cpu_seconds", used=work.cpu_seconds, limit=limits.cpu_seconds, unit="s", resets_at=month
            ),
            Used(
                name="gpu_seconds", used=work.gpu_seconds, limit=limits.gpu_seconds, unit="s", resets_at=month
            ),
            Used(name="storage_mb", used=self._measure(team).size / _MB, limit=limits.storage_mb, unit="MB"),
            Used(
                name="requests_per_minute",
                used=requests,
                limit=limits.requests_per_minute,
                unit="requests",
                resets_at=resets_at,
            ),
        ]
        return Usage(team=team, at=datetime.now(UTC), items=items)

    def _measure(self, team: str) -> _Measured:
        """Return the bytes of the team's datasets, features, models, ledgers and forecasts.

        Measured twice a minute at most, and for no more than a twentieth of the time.
        """
        with self._lock:
            last = self._measured.get(team)
            if last is not None and time.monotonic() < last.holds_until:
                return last
            started, at = time.monotonic(), datetime.now(UTC)
            size = sum(_bytes(folder) for folder in self._data_layout.folders(team))
            size += self._teams.forecast_bytes(team)
            took = time.monotonic() - started
            measured = _Measured(at, size, time.monotonic() + max(_MEASURED_FOR, 20 * took))
            self._measured[team] = measured
            return measured


def _exceeds(used: int, limit: int, incoming: int) -> QuotaExceeded:
    addition = f", and this brings up to {math.ceil(incoming / _MB)} MB" if incoming else ""
    return QuotaExceeded(
        f"the team stores {used / _MB:.1f} of its {limit} MB (storage_mb), with what is being written{addition}; "
        "delete series and compact, or ask an operator for more"
    )


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many files
            except OSError:  # gone since
                continue
    return total


def _next_month() -> datetime:
    start = month_start()
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)

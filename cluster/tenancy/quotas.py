"""Quotas of teams, filled with the platform's defaults, and the use of them."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from cluster.repositories.teams import Teams, month_start
from cluster.settings import Settings
from quantis.errors import QuotaExceeded
from quantis.types.teams import Quota, Usage, Used

_MEASURED_FOR = 30.0
_MB = 1_000_000


class Quotas:
    def __init__(self, teams: Teams, settings: Settings) -> None:
        self._teams = teams
        self._data_layout = settings.data_layout
        self._defaults = settings.default_quota
        self._measured: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def with_defaults(self, quota: Quota) -> Quota:
        """Return a team's quota with the defaults in its gaps."""
        return self._defaults.model_copy(update=quota.model_dump(exclude_none=True))

    def for_team(self, team: str) -> Quota:
        return self.with_defaults(self._teams.quota(team))

    def may_start(self, team: str) -> bool:
        """Return True if Ray may get another job of the team now."""
        limit = self.for_team(team).jobs_at_once
        return limit is None or self._teams.work(team).running < limit

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

    def check_storage(self, team: str, quota: Quota) -> None:
        """Raise QuotaExceeded when the team's files take more than they may."""
        limit = self.with_defaults(quota).storage_mb
        if limit is not None and (used := self._stored_bytes(team)) >= limit * _MB:
            raise QuotaExceeded(
                f"the team stores {used // _MB} of its {limit} MB (storage_mb); "
                "delete series and compact, or ask an operator for more"
            )

    def usage(self, team: str, requests: int, resets_at: datetime | None) -> Usage:
        """Return each limited resource and its use; `requests` are those of this minute."""
        limits, work, month = self.for_team(team), self._teams.work(team), _next_month()
        items = [
            Used(name="jobs_at_once", used=work.running, limit=limits.jobs_at_once, unit="jobs"),
            Used(
                name="cpu_seconds", used=work.cpu_seconds, limit=limits.cpu_seconds, unit="s", resets_at=month
            ),
            Used(
                name="gpu_seconds", used=work.gpu_seconds, limit=limits.gpu_seconds, unit="s", resets_at=month
            ),
            Used(name="storage_mb", used=self._stored_bytes(team) / _MB, limit=limits.storage_mb, unit="MB"),
            Used(
                name="requests_per_minute",
                used=requests,
                limit=limits.requests_per_minute,
                unit="requests",
                resets_at=resets_at,
            ),
        ]
        return Usage(team=team, at=datetime.now(UTC), items=items)

    def _stored_bytes(self, team: str) -> int:
        """Return the bytes of the team's datasets, features, ledgers and models; measured twice a minute at most."""
        with self._lock:
            at, size = self._measured.get(team, (-_MEASURED_FOR, 0))
            if time.monotonic() - at >= _MEASURED_FOR:
                size = sum(_bytes(folder) for folder in self._data_layout.folders(team))
                self._measured[team] = (time.monotonic(), size)
            return size


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

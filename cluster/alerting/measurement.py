"""Measurement of what the database knows by itself, and the passing of time for alerts that wait for it."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

from cluster.alerting.fact_recorder import FactRecorder
from cluster.repositories.leases import Leases
from cluster.repositories.operations.alert_rules import AlertRules
from cluster.repositories.operations.alerts import Alerts
from cluster.repositories.operations.measured_facts import MeasuredFacts
from monitoring import instruments

LEASE = "alert-measurement"
LEASE_TIME = timedelta(seconds=60)
_JOBS_BEFORE = timedelta(days=1)
"""Time to look back for a process that begins to measure; jobs whose ends are known change nothing."""
_OVERLAP = timedelta(minutes=1)
"""A job's end may be written a while after the time that it names."""
_SECONDS = 30.0
"""Between measurements of what changes with time alone."""


class MeasurementLoop:
    def __init__(
        self,
        recorder: FactRecorder,
        measured: MeasuredFacts,
        rules: AlertRules,
        alerts: Alerts,
        leases: Leases,
    ) -> None:
        self._recorder, self._measured, self._rules = recorder, measured, rules
        self._alerts, self._leases = alerts, leases
        self._holder = uuid.uuid4().hex
        self._measured_at = -_SECONDS
        self._jobs_since: datetime | None = None

    def tick(self, now: datetime | None = None) -> None:
        """Measure once; do nothing while another process does."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            self._jobs_since = None
            return
        now = now or datetime.now(UTC)
        teams = self._measured.teams()
        since = self._jobs_since or now - _JOBS_BEFORE
        for team in teams:
            self._recorder.record_facts(team, self._measured.ended_jobs(team, since))
            self._recorder.record_facts(team, self._measured.ended_experiments(team, since))
        self._jobs_since = now - _OVERLAP
        if time.monotonic() - self._measured_at >= _SECONDS:
            self._measured_at = time.monotonic()
            for team in teams:
                self._recorder.record_facts(team, self._measured.delays(team, now))
            for team, fact in self._measured.awaited_forecasts(self._rules.awaited_models(), now):
                self._recorder.record_facts(team, [fact])
        self._alerts.advance(now)
        instruments.set_alerts(self._alerts.counts())

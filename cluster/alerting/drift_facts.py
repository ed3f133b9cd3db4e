"""Drift as facts and events: each dataset that a model serves is measured after it got a new version."""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster.backend import Backend
from cluster.model_monitoring.dataset_reports import DatasetReports
from cluster.model_monitoring.tables import MonitoringTables, version_counter
from cluster.repositories.leases import Leases
from quantis.errors import QuantisError
from quantis.types.operations.alert_channels import PlatformEvent, PlatformEventKind
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.drift import DatasetDrift, DriftFinding
from quantis.types.registry import CANDIDATE

LEASE = "alert-drift-facts"
LEASE_TIME = timedelta(minutes=5)
"""Longer than the largest dataset takes."""
EVERY = timedelta(minutes=10)
"""Least time from one measurement of a dataset to the next, whatever arrives meanwhile."""
SERIES_AT_ONCE = 5000
"""Series that are compared at a time, so that a wide dataset does not fill the memory."""
_SERVING_SECONDS = 60.0
_SERIES_SHOWN = 5
log = logging.getLogger("quantis.alerts")


class DriftFactsLoop:
    """Measures a version of a dataset once, at most every ten minutes, when its actuals are scored."""

    def __init__(self, backend: Backend, every: timedelta = EVERY) -> None:
        self._backend = backend
        self._reports = DatasetReports(backend)
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._every = every.total_seconds()
        self._measured: dict[tuple[str, str], int] = {}  # dataset -> version
        self._measured_at: dict[tuple[str, str], float] = {}
        self._serving: dict[str, tuple[float, dict[str, list[str]]]] = {}  # team -> time, models by dataset

    def tick(self) -> None:
        """Measure what is new and due; do nothing while another process does."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            self._measured.clear()
            return
        for team in [team.name for team in self._backend.teams.all()]:
            for dataset, newest in self._backend.catalogue.datasets.newest_versions(team).items():
                try:
                    self._measure(team, dataset, newest)
                except QuantisError as error:
                    log.warning("drift of dataset %s was not measured: %s", dataset, error.message)
                except Exception:
                    log.exception("drift of dataset %s was not measured; it is tried again", dataset)

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _measure(self, team: str, dataset: str, newest: int) -> None:
        key = (team, dataset)
        if key not in self._measured:
            self._measured[key] = self._backend.work_counters.get(team, LEASE, dataset) or 0
        waited = time.monotonic() - self._measured_at.get(key, -self._every)
        if newest <= self._measured[key] or waited < self._every:
            return
        models = self._models(team).get(dataset, [])
        if not models or not self._is_scored(team, dataset, newest):
            return
        self._measured_at[key] = time.monotonic()
        reports = self._reports.drift_by_model(team, dataset, models, SERIES_AT_ONCE)
        events = [event for report in reports for event in _events(report)]
        self._backend.alert_deliveries.tell_events(team, events)
        self._backend.facts.record_facts(team, [_fact(report) for report in reports])
        self._backend.work_counters.advance(team, LEASE, dataset, newest)
        self._measured[key] = newest
        self._leases.take(LEASE, self._holder, LEASE_TIME)

    def _is_scored(self, team: str, dataset: str, newest: int) -> bool:
        """Return True once the residuals of a version are there, or where the dataset has none."""
        tables = MonitoringTables.of_team(self._backend.data_layout, team)
        scored = tables.scores.progress(version_counter(dataset))
        return scored is None or scored >= newest

    def _models(self, team: str) -> dict[str, list[str]]:
        """Return the models that serve, by the dataset that their serving versions learned from."""
        at, models = self._serving.get(team, (-_SERVING_SECONDS, {}))
        if time.monotonic() - at >= _SERVING_SECONDS:
            models = self._serving_models(team)
            self._serving[team] = (time.monotonic(), models)
        return models

    def _serving_models(self, team: str) -> dict[str, list[str]]:
        registry, models = self._backend.registry(team), defaultdict(set)
        for model in registry.models():
            shares = {share.version for share in registry.traffic(model.name).shares}
            for version in registry.versions(model.name):
                if version.dataset and (version.version in shares or set(version.aliases) - {CANDIDATE}):
                    models[version.dataset].add(model.name)
        return {dataset: sorted(names) for dataset, names in models.items()}


def finding_size(finding: DriftFinding) -> float:
    """Return how large a finding is: importance times its population stability index, or its change of a share."""
    if finding.psi is not None:
        return finding.importance * finding.psi
    return abs(finding.rank_score) * finding.tested / max(1, finding.drifted)


def _fact(report: DatasetDrift) -> Fact:
    """Return the largest finding; 0 where nothing drifted."""
    findings = report.drift.findings
    largest = max(findings, key=finding_size, default=None)
    detail: dict[str, Any] = {"version": report.version, "findings": len(findings)}
    if largest is not None:
        detail |= {**_summary_of(largest), "message": _sentence(largest)}
    return Fact(
        name=FactName.drift,
        value=0.0 if largest is None else finding_size(largest),
        at=datetime.now(UTC),
        model=report.model,
        dataset=report.dataset,
        points=report.drift.tested,
        detail=detail,
    )


def _events(report: DatasetDrift) -> list[PlatformEvent]:
    """Return an event of each finding, the same one for a week while it lasts."""
    events = []
    for finding in report.drift.findings:
        end = report.drift.end or datetime.now(UTC)
        year, week, _ = end.isocalendar()
        parts = (report.dataset, report.model or "", finding.column, finding.kind, finding.aspect)
        events.append(
            PlatformEvent(
                kind=PlatformEventKind.drift_found,
                key=f"drift {' '.join(parts)} {year}-{week}",
                at=datetime.now(UTC),
                subject=report.model or report.dataset,
                message=f"{report.dataset}: {_sentence(finding)}",
                detail={"dataset": report.dataset, "model": report.model, **_summary_of(finding)},
            )
        )
    return events


def _summary_of(finding: DriftFinding) -> dict[str, Any]:
    return {
        **finding.model_dump(mode="json", include={"column", "kind", "aspect", "drifted", "tested", "psi"}),
        "series": _names(finding),
    }


def _names(finding: DriftFinding) -> list[str]:
    return [part.unique_id or part.category or "all series" for part in finding.parts[:_SERIES_SHOWN]]


def _sentence(finding: DriftFinding) -> str:
    names, hidden = _names(finding), finding.drifted - _SERIES_SHOWN
    suffix = f" and {hidden} more" if hidden > 0 else ""
    return f"{finding.aspect} of {finding.column} in {', '.join(names)}{suffix}"

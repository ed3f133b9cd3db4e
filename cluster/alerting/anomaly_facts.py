"""Anomalies as facts and events: a listener of the scorer that looks at each append once its actuals are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.model_monitoring.dataset_reports import RECENT, DatasetReports
from features.store.record_filter import timestamp_scalar
from monitoring.accuracy.live import is_live
from quantis.panel import RECORDED_AT
from quantis.types.operations.alert_channels import PlatformEvent, PlatformEventKind
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.operations.anomalies import Anomaly, AnomalyScan
from quantis.types.operations.live import SERVED

_EVENT_ANOMALIES = 20


class AnomalyFacts:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reports = DatasetReports(backend)

    def record_anomalies(self, team: str, dataset: str, scores: pa.Table) -> None:
        """Record how many actuals of the appends in a commit of scores are anomalies, and tell of them.

        The fact has the time of the commit, and an event is told once, so the same again changes nothing.
        """
        since = timestamp_scalar(datetime.now(UTC) - RECENT)
        is_served = pc.field("kind").isin([kind.value for kind in SERVED])
        recent = scores.filter(is_live() & is_served & (pc.field(RECORDED_AT) >= since))
        arrivals = pc.unique(recent[RECORDED_AT]).sort()
        if not len(arrivals):
            return
        scans = self._reports.scans(team, dataset, arrivals)
        events = [
            _event(dataset, arrival.as_py(), scan)
            for arrival, scan in zip(arrivals, scans, strict=True)
            if scan.anomalies
        ]
        self._backend.alert_deliveries.tell_events(team, events)
        points = sum(scan.points for scan in scans)
        if points:
            anomalies = [anomaly for scan in scans for anomaly in scan.anomalies]
            scored_at = pc.max(scores["scored_at"]).as_py()
            self._backend.facts.record_facts(team, [_fact(dataset, anomalies, points, scored_at)])


def _fact(dataset: str, anomalies: list[Anomaly], points: int, at: datetime) -> Fact:
    detail: dict[str, Any] = {}
    if anomalies:
        worst = max(anomalies, key=lambda anomaly: abs(anomaly.score))
        detail = {"worst": _summary_of(worst), "message": _sentence(worst)}
    return Fact(
        name=FactName.anomaly,
        value=float(len(anomalies)),
        at=at,
        dataset=dataset,
        points=points,
        detail=detail,
    )


def _event(dataset: str, arrival: datetime, scan: AnomalyScan) -> PlatformEvent:
    """Return the event of an append; it is another one when later forecasts show other anomalies in it."""
    keys = sorted(f"{anomaly.unique_id}/{anomaly.ds.isoformat()}" for anomaly in scan.anomalies)
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    count = len(scan.anomalies)
    return PlatformEvent(
        kind=PlatformEventKind.anomaly_found,
        key=f"anomalies {dataset} {arrival.isoformat()} {digest}",
        at=arrival,
        subject=dataset,
        message=f"{count} of {scan.points} new values of {dataset}: {_sentence(scan.anomalies[0])}",
        detail={
            "dataset": dataset,
            "recorded_at": arrival.isoformat(),
            "count": count,
            "anomalies": list(_first(scan.anomalies)),
        },
    )


def _first(anomalies: Iterable[Anomaly]) -> list[dict[str, Any]]:
    return [_summary_of(anomaly) for anomaly in list(anomalies)[:_EVENT_ANOMALIES]]


def _summary_of(anomaly: Anomaly) -> dict[str, Any]:
    return anomaly.model_dump(mode="json", include={"unique_id", "ds", "y", "expected", "score", "model"})


def _sentence(anomaly: Anomaly) -> str:
    return (
        f"{anomaly.y:g} of {anomaly.unique_id} at {anomaly.ds:%Y-%m-%d %H:%M}, where {anomaly.expected:.4g} was "
        f"expected ({anomaly.score:+.1f} standard deviations)"
    )

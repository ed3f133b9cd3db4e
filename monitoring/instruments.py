"""Instruments of the platform, each declared once: the one door to prometheus_client.

Callers use the functions below; no metric object leaves this file. Label values must come from a closed set (a
route's template, a registered model), never from a client's text.

prometheus_client decides when it is imported whether a process shares its values: the process must have been
started with PROMETHEUS_MULTIPROC_DIR (`cluster/settings` sees to that). Then every process of a node writes to that
folder, and `render` answers the node's scrape, in one of them or in a process of its own (`monitoring/exporter.py`).
Without it the process counts for itself, as in a unit test.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import IO, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import mark_process_dead

from monitoring.collectors import DeclaredMetrics, ShownMetrics
from quantis import __version__
from quantis.errors import Unavailable
from quantis.types.jobs import JOB_KINDS, JobState
from quantis.types.operations.alert_channels import DeliveryState
from quantis.types.operations.alerts import AlertSeverity, AlertState, Fact

PREFIX = "quantis_"

Upload = Literal["created", "identical", "rejected", "failed"]
SignIn = Literal["success", "refused", "limited"]
Tick = Literal["ok", "failed", "not_leader"]
Load = Literal["ok", "failed"]

KINDS = tuple(JOB_KINDS)
CHANNELS = ("webhook", "slack", "mail")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_FAST = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0)
_SERIES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class _Instruments:
    """The declarations. A gauge's mode says how the processes of a node become one value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        self.http_requests = counter("http_requests", "HTTP requests answered.", "route", "method", "status")
        self.http_seconds = histogram("http_request_seconds", "Seconds to answer a request.", _FAST, "route")

        self.forecast_entries = counter(
            "forecast_entries", "Series answered, by method and reason.", "model", "method", "reason"
        )
        self.forecast_seconds = histogram("forecast_seconds", "Seconds in the forecaster.", _FAST, "model")
        self.forecast_series = histogram("forecast_series", "Series in one request.", _SERIES)
        self.vintages = counter("vintages_written", "Forecasts kept for good.")
        self.interval_points = counter("interval_points", "Scored points of issued intervals.", "model")
        self.interval_misses = counter("interval_misses", "Actuals outside of their interval.", "model")
        self.interval_expected = counter("interval_misses_expected", "Misses that levels allow.", "model")
        self.model_loads = counter("model_loads", "Bundles loaded by replicas.", "model", "outcome")

        self.jobs = gauge("jobs", "Jobs in the database.", "livemostrecent", "state", "kind")
        self.job_seconds = histogram("job_seconds", "Seconds from start to end.", _LONG, "kind", "state")
        self.outbox = gauge("outbox_pending", "Jobs written but not yet submitted.", "livemostrecent")
        self.lease = gauge("reconciler_lease_held", "1 where a process holds the lease.", "livemax")
        self.ticks = counter("reconciler_ticks", "Rounds of the reconciler.", "outcome")

        self.facts = gauge(
            "fact", "Values that alert rules compare.", "livemostrecent", "fact", "team", "model", "dataset"
        )
        self.alerts = gauge("alerts", "Alerts not resolved.", "livemostrecent", "state", "severity")
        self.notifications = counter("notifications", "Attempts to notify.", "kind", "outcome")
        self.notifications_pending = gauge(
            "notifications_pending", "Notifications on their way.", "livemostrecent"
        )

        self.uploads = counter("uploads", "Panels uploaded.", "outcome")
        self.rows = counter("rows_ingested", "Rows stored.")
        self.sign_ins = counter("sign_ins", "Attempts to sign in.", "outcome")
        self.build = gauge("build_info", "Versions that run, always 1.", "livemax", "version", "ray_version")

        for metric, outcomes in (
            (self.uploads, get_args(Upload)),
            (self.sign_ins, get_args(SignIn)),
            (self.ticks, get_args(Tick)),
        ):
            for outcome in outcomes:  # a rate needs a zero to rise from
                metric.labels(outcome)
        for channel, outcome in product(CHANNELS, DeliveryState):
            self.notifications.labels(channel, outcome.value)
        for kind in KINDS:
            for state in JobState:
                if state.final:
                    self.job_seconds.labels(kind, state.value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: Literal["livemostrecent", "livemax"], *labels: str) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry, multiprocess_mode=mode)


class _Process:
    """State of this process: its instruments, made at first use, and its claim on a place in the node's folder."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.instruments: _Instruments | None = None
        self.folder: Path | None = None
        self.claim: IO[str] | None = None
        self.leads = False

    def get(self) -> _Instruments:
        with self.lock:
            if self.instruments is None:
                self.instruments = _Instruments()
            return self.instruments


_process = _Process()


def configure(folder: Path) -> None:
    """Share this process's values with the node through `folder`, the one PROMETHEUS_MULTIPROC_DIR names.

    Call it at the start of a process. Unavailable when the process was started without that variable.
    """
    if not getattr(values.ValueClass, "_multiprocess", False):
        raise Unavailable(
            f"the metrics of process {os.getpid()} cannot be shared: prometheus_client was imported before "
            f"PROMETHEUS_MULTIPROC_DIR was set; start the process with PROMETHEUS_MULTIPROC_DIR={folder}"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _process.claim is None:
        _process.claim = _claim(folder)
    _process.folder = folder
    _process.get().build.labels(__version__, _ray_version()).set(1)


def _ray_version() -> str:
    try:
        return version("ray")
    except PackageNotFoundError:
        return "none"


def _claim(folder: Path) -> IO[str]:
    """Lock a file by this process's id for as long as it lives, and drop gauges of one that had the id before.

    A lock tells life across the process namespaces of a pod's containers, and of an id that was given anew.
    """
    claim = _claim_file(folder, os.getpid()).open("w")
    fcntl.lockf(claim, fcntl.LOCK_EX)
    if _process.instruments is None:
        mark_process_dead(os.getpid(), str(folder))  # type: ignore[no-untyped-call]
    return claim


def _claim_file(folder: Path, pid: int) -> Path:
    return folder / f"{pid}.alive"


def render(folder: Path | None = None) -> tuple[bytes, str]:
    """Return the node's metrics as text and its content type; gauges of ended processes are left out.

    The node's folder is the one of `configure`, unless it is given: an exporter writes no metrics of its own.
    """
    folder = folder or _process.folder
    registry = CollectorRegistry(auto_describe=False)
    if folder is None:
        registry.register(ShownMetrics(_process.get().registry))
    else:
        sweep(folder)
        registry.register(ShownMetrics(DeclaredMetrics(folder, PREFIX)))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def sweep(folder: Path) -> list[int]:
    """Drop the gauges of processes that have ended; their counters stay, because counters only rise."""
    dead = [pid for pid in _writers(folder.glob("gauge_live*.db")) if not _alive(folder, pid)]
    for pid in dead:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    return dead


def clear(folder: Path) -> None:
    """Start from zero. Only while no process of the node writes there."""
    for pattern in ("*.db", "*.alive"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def _writers(files: Iterable[Path]) -> set[int]:
    return {int(pid) for file in files if (pid := file.stem.rpartition("_")[2]).isdigit()}


def _alive(folder: Path, pid: int) -> bool:
    """Return True if the process holds its claim; one without a claim is looked for by its id."""
    if pid == os.getpid() and _process.claim is not None:
        return True  # to open the file here and close it would drop the lock
    try:
        with _claim_file(folder, pid).open("r+") as claim:
            fcntl.lockf(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def declare_routes(routes: Iterable[tuple[str, str]], statuses: Iterable[int]) -> None:
    """Start the counters of errors at zero, by (method, route): the first error is a rise, too."""
    instruments = _process.get()
    for method, route in routes:
        for status in statuses:
            instruments.http_requests.labels(route, method, str(status))


def observe_request(route: str, method: str, status: int, seconds: float | None) -> None:
    """Count one HTTP answer. `route` is the template, such as /v1/jobs/{id}, or "unknown".

    `seconds` is None for a stream of events: it lasts as long as its reader likes, which is no latency.
    """
    instruments = _process.get()
    instruments.http_requests.labels(route, method if method in _METHODS else "OTHER", str(status)).inc()
    if seconds is not None:
        instruments.http_seconds.labels(route).observe(seconds)


def count_entry(model: str, method: str, reason: str | None, entries: int = 1) -> None:
    """Count the entries of one answer by method and reason; `model` is a registered name."""
    _process.get().forecast_entries.labels(model, method, reason or "none").inc(entries)


def observe_forecast(model: str, series: int, seconds: float) -> None:
    """Count one forecast request of `series` series."""
    instruments = _process.get()
    instruments.forecast_seconds.labels(model).observe(seconds)
    instruments.forecast_series.observe(series)


def count_vintages(forecasts: int = 1) -> None:
    _process.get().vintages.inc(forecasts)


def count_interval_points(model: str, points: int, missed: int, expected: float) -> None:
    """Count scored points of the interval nearest to 80 %, misses, and the misses that its levels allow."""
    instruments = _process.get()
    instruments.interval_points.labels(model).inc(points)
    instruments.interval_misses.labels(model).inc(missed)
    instruments.interval_expected.labels(model).inc(expected)


def declare_model(model: str) -> None:
    """Start the counters of a model's loads and intervals at zero."""
    for outcome in get_args(Load):
        _process.get().model_loads.labels(model, outcome)
    count_interval_points(model, 0, 0, 0.0)


def count_model_load(model: str, outcome: Load) -> None:
    _process.get().model_loads.labels(model, outcome).inc()


def set_jobs(counts: Mapping[tuple[str, str], int]) -> None:
    """Set the number of jobs by (state, kind); absent combinations are zero."""
    for state in JobState:
        for kind in KINDS:
            _process.get().jobs.labels(state.value, kind).set(counts.get((state.value, kind), 0))


def observe_job(kind: str, state: str, seconds: float) -> None:
    """Count a job that ended in `state`, `seconds` after its start."""
    _process.get().job_seconds.labels(kind, state).observe(seconds)


def set_outbox(pending: int) -> None:
    _process.get().outbox.set(pending)


def set_lease(holds: bool) -> None:
    """Record who leads; one that leads no more takes back what only a leader knows, or it would stay for good."""
    instruments = _process.get()
    instruments.lease.set(int(holds))
    if _process.leads and not holds:
        instruments.outbox.set(math.nan)
        for state in JobState:
            for kind in KINDS:
                instruments.jobs.labels(state.value, kind).set(math.nan)
    _process.leads = holds


def count_tick(outcome: Tick) -> None:
    _process.get().ticks.labels(outcome).inc()


def count_upload(outcome: Upload) -> None:
    _process.get().uploads.labels(outcome).inc()


def count_rows(rows: int) -> None:
    _process.get().rows.inc(rows)


def count_sign_in(outcome: SignIn) -> None:
    _process.get().sign_ins.labels(outcome).inc()


def set_fact(team: str, fact: Fact) -> None:
    """Set a measured value; of a model's parts, which are without bound, the last one measured counts."""
    _process.get().facts.labels(fact.name.value, team, fact.model or "", fact.dataset or "").set(fact.value)


def set_alerts(counts: Mapping[tuple[str, str], int]) -> None:
    """Set the number of alerts by (state, severity); absent combinations are zero."""
    for state, severity in product(AlertState, AlertSeverity):
        if state != AlertState.resolved:
            count = counts.get((state.value, severity.value), 0)
            _process.get().alerts.labels(state.value, severity.value).set(count)


def count_notification(kind: str, outcome: str) -> None:
    _process.get().notifications.labels(kind, outcome).inc()


def set_pending_notifications(pending: int) -> None:
    _process.get().notifications_pending.set(pending)

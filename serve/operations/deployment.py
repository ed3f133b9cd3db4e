"""The Serve deployment of what happens after a forecast: loops in the background, in a process of their own.

A loop takes a lease of its own in each tick, so there may be any number of replicas, and one that dies is replaced.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray import serve

from cluster.alerting.anomaly_facts import AnomalyFacts
from cluster.alerting.drift_facts import DriftFactsLoop
from cluster.alerting.live_facts import LiveFactsLoop
from cluster.alerting.model_events import ModelEventsLoop
from cluster.automation.pipeline_runner import PipelineRunner
from cluster.automation.scheduler import Scheduler
from cluster.backend import Backend
from cluster.model_monitoring.calibration_updates import CalibrationUpdates
from cluster.model_monitoring.score_listeners import ScoresListener
from cluster.model_monitoring.scorer import Scorer
from cluster.model_ops.experiment_loop import ExperimentLoop
from cluster.settings import Settings
from monitoring import instruments, logs
from serve.operations.shadow_forecasts import ShadowForecasts

log = logging.getLogger("quantis.operations")


@dataclass(frozen=True)
class Loop:
    """Work that is looked for every few seconds."""

    name: str
    tick: Callable[[], object]
    every: float = 1.0

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop`; an error is logged and the next tick tries again."""
        while not stop.wait(self.every):
            try:
                self.tick()
            except Exception:
                log.exception("the %s failed; it goes on", self.name)


def loops(backend: Backend) -> list[Loop]:
    """Return every loop of the platform."""
    listeners = [
        ScoresListener("calibration", CalibrationUpdates(backend).update_calibration),
        ScoresListener("anomaly-facts", AnomalyFacts(backend).record_anomalies),
    ]
    scorer = Scorer(backend, listeners)
    return [
        Loop("scorer", scorer.tick),
        Loop("scheduler", Scheduler(backend).tick),
        Loop("alert-measurement", backend.measurement_loop().tick, every=5.0),
        Loop("alert-live-facts", LiveFactsLoop(backend).tick, every=5.0),
        Loop("alert-drift-facts", DriftFactsLoop(backend).tick, every=5.0),
        Loop("model-events", ModelEventsLoop(backend).tick, every=5.0),
        Loop("alert-delivery", backend.delivery_loop().tick),
        Loop("pipelines", PipelineRunner(backend).tick),
        Loop("shadow-forecasts", ShadowForecasts(backend).tick),
        Loop("experiments", ExperimentLoop(backend).tick, every=5.0),
    ]


class OperationsReplica:
    """A replica: each loop in a thread."""

    def __init__(self) -> None:
        backend = Backend.from_settings()
        settings = backend.settings
        instruments.configure(settings.data_layout.metrics)
        logs.configure("operations", file=settings.data_layout.logs / "operations.log")
        self._stop = threading.Event()
        for loop in loops(backend):
            threading.Thread(target=loop.run, args=(self._stop,), name=loop.name, daemon=True).start()

    def __del__(self) -> None:
        self._stop.set()


def deployment(settings: Settings) -> Any:
    """Return the deployment: one replica, which Serve replaces when it dies."""
    return serve.deployment(
        name="Operations",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.1, "memory": settings.process_memory},
        health_check_period_s=5,
    )(OperationsReplica)

"""The loop of online experiments: assesses each by the scores that came, and does what follows.

The state and the assessment that it follows from are one transaction; the registry is changed after it, by
`experiment_traffic`, until it is what the state asks for. So a kill at any point repeats nothing and loses nothing.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cluster.backend import Backend
from cluster.model_monitoring.tables import MonitoringTables
from cluster.model_ops.experiment_scores import ExperimentScores, scored_to
from cluster.model_ops.experiment_traffic import ExperimentTraffic
from cluster.repositories.leases import Leases
from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.operations.online_experiments import StoredExperiment
from monitoring.experiments.decision import decide_action
from monitoring.experiments.verdict import decide_verdict
from quantis.errors import Conflict, QuantisError
from quantis.types.operations.experiments import ExperimentVerdict
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import (
    ArmFigures,
    ExperimentAction,
    ExperimentAssessment,
    OnlineExperimentState,
)

LEASE = "online-experiments"
LEASE_TIME = timedelta(seconds=60)
PAUSE_FACTOR = 10
"""Times of an assessment that pass before the next one of the same experiment: a tenth of a processor at most."""

log = logging.getLogger("quantis.experiments")


@dataclass
class _Seen:
    """The verdict on an experiment, how far its forecasts were scored then, and when it may be made anew."""

    scored_to: tuple[int | None, int | None]
    verdict: ExperimentVerdict
    due: float


class ExperimentLoop:
    """Runs the experiments of all teams, in as many processes as like: a lease lets one of them work at a time."""

    def __init__(self, backend: Backend, pause_factor: float = PAUSE_FACTOR) -> None:
        self._backend, self._pause_factor = backend, pause_factor
        self._experiments = backend.online_experiments
        self._traffic = ExperimentTraffic(backend)
        self._leases = Leases(backend.database)
        self._holder = uuid.uuid4().hex
        self._seen: dict[str, _Seen] = {}

    def tick(self) -> None:
        """Assess the experiments that run, and do what follows; nothing while another process does."""
        if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
            self._seen.clear()
            return
        unfinished = self._experiments.unfinished()
        current = {stored.experiment.id for stored in unfinished}
        self._seen = {key: state for key, state in self._seen.items() if key in current}
        for stored in unfinished:
            name = stored.experiment.name
            try:
                self._advance(stored)
            except QuantisError as error:
                log.warning("experiment %s of team %s: tried again: %s", name, stored.team, error.message)
            except Exception:
                log.exception("experiment %s of team %s: tried again", name, stored.team)
            if not self._leases.hold(LEASE, self._holder, LEASE_TIME):
                raise Conflict("another process assesses the experiments now")

    def close(self) -> None:
        self._leases.release(LEASE, self._holder)

    def _advance(self, stored: StoredExperiment) -> None:
        """Bring about what was decided, assess, and bring about what follows."""
        self._traffic.bring_about(stored)
        renewed = self._experiments.stored(stored.team, stored.experiment.id)
        if renewed.experiment.state is OnlineExperimentState.running:
            action = self._assess(renewed)
            if action in (None, ExperimentAction.wait):
                return
            renewed = self._experiments.stored(stored.team, stored.experiment.id)
            self._traffic.bring_about(renewed)
            renewed = self._experiments.stored(stored.team, stored.experiment.id)
        if renewed.experiment.state is not OnlineExperimentState.running:
            self._traffic.bring_about(renewed)

    def _assess(self, stored: StoredExperiment) -> ExperimentAction | None:
        """Record an assessment where there is something new, and return its action; None where there is not."""
        experiment, now = stored.experiment, datetime.now(UTC)
        verdict, is_new = self._verdict(stored)
        challenger, incumbent = self._figures(stored)
        decision = decide_action(experiment, verdict, challenger, incumbent, now)
        action = decision.action
        if stored.promoting and action in (ExperimentAction.promote, ExperimentAction.end):
            action = ExperimentAction.wait  # the request was made; a second person decides
        if action is ExperimentAction.wait and not is_new:
            return None
        assessment = ExperimentAssessment(
            number=1,
            at=now,
            verdict=verdict,
            challenger=challenger,
            incumbent=incumbent,
            action=action,
            reason=decision.reason,
        )
        recorded = self._experiments.record(stored.team, experiment, assessment)
        if recorded is not None and action is not ExperimentAction.wait:
            log.info(
                "experiment %s of team %s: %s: %s", experiment.name, stored.team, action, decision.reason
            )
        return None if recorded is None else action

    def _verdict(self, stored: StoredExperiment) -> tuple[ExperimentVerdict, bool]:
        """Return the verdict on the scores that there are, and True where it was made anew."""
        experiment, started = stored.experiment, time.monotonic()
        tables = MonitoringTables.of_team(self._backend.data_layout, stored.team)
        dataset = self._backend.registry(stored.team).get(experiment.model, experiment.challenger).dataset
        marker = scored_to(tables, dataset or "")
        previous = self._seen.get(experiment.id)
        if previous is not None and (previous.scored_to == marker or started < previous.due):
            return previous.verdict, False
        scores = ExperimentScores.read(tables, experiment)
        verdict = decide_verdict(
            scores.challenger,
            scores.incumbent,
            alpha=experiment.alpha,
            margin=experiment.margin,
            loss=experiment.loss,
        )
        now = time.monotonic()
        self._seen[experiment.id] = _Seen(marker, verdict, now + self._pause_factor * (now - started))
        return verdict, True

    def _figures(self, stored: StoredExperiment) -> tuple[ArmFigures, ArmFigures]:
        """Return the measures of the challenger and of the incumbent in the current step."""
        counts = self._backend.experiment_arms.of_step(stored.team, stored.experiment)
        versions = (stored.experiment.challenger, stored.experiment.incumbent)
        challenger, incumbent = (_figures(counts, version) for version in versions)
        return challenger, incumbent


def _figures(counts: dict[tuple[int, VintageKind], ArmCounts], version: int) -> ArmFigures:
    """Return the measures of a version over its answers and shadows; its time is that of answers, if it gave any."""
    online = counts.get((version, VintageKind.online))
    shadow = counts.get((version, VintageKind.shadow))
    total = ArmCounts(requests=0)
    for arm in (online, shadow):
        total = total.plus(arm) if arm is not None else total
    measured = online if online is not None and online.requests > online.failed else shadow
    seconds = measured.figures().seconds if measured is not None else None
    return total.figures().model_copy(update={"seconds": seconds})

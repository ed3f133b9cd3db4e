"""The trial of the demo's challenger: it forecasts the held-out week in the shadow of the champion."""

from __future__ import annotations

from typing import Any

from jobs.demo_week.polling import PATIENCE, await_value
from quantis.client import Client
from quantis.errors import NotFound, Unavailable
from quantis.progress import StepReporter
from quantis.types.operations.online_experiments import OnlineExperiment, OnlineExperimentState
from quantis.types.registry import ModelVersion

TRIAL = "held-out-week"


class Trial:
    """A shadow experiment over the week; one of an earlier run is used again."""

    def __init__(
        self, client: Client, steps: StepReporter, champion: ModelVersion, challenger: ModelVersion
    ) -> None:
        self.client, self.steps = client, steps
        self.champion, self.challenger = champion, challenger

    def start(self) -> None:
        """Have the challenger forecast what the champion does, from now on; nobody gets its answers."""
        title = f"v{self.challenger.version} ({self.challenger.family}) stands trial in the shadow"
        with self.steps.step(title) as step:
            try:
                self.client.online_experiment(TRIAL)
                step.note = "reused"
            except NotFound:
                self.client.start_experiment(TRIAL, self.champion.model, self.challenger.version)

    def judge(self, pairs: int) -> dict[str, Any]:
        """Wait for the verdict on so many pairs of series and day, end the trial, and return what it says."""
        with self.steps.step("the trial's verdict") as step:
            experiment = await_value(lambda: self._assessed(pairs), PATIENCE)
            if experiment is None or experiment.latest is None:
                raise Unavailable(
                    f"no verdict on {pairs} pairs within {PATIENCE:.0f} s; `quantis experiments show {TRIAL}` says more"
                )
            verdict = experiment.latest.verdict
            step.note = verdict.state
            if experiment.state is OnlineExperimentState.running:
                self.client.stop_experiment(TRIAL)
        self.steps.report(f"      v{experiment.challenger} against v{experiment.incumbent}: {verdict.reason}")
        return {
            "challenger": experiment.challenger,
            "incumbent": experiment.incumbent,
            "state": experiment.state.value,
            "verdict": verdict.model_dump(mode="json"),
        }

    def _assessed(self, pairs: int) -> OnlineExperiment | None:
        """Return the experiment once it has ended, or its latest verdict is on all of the week."""
        experiment = self.client.online_experiment(TRIAL, limit=1).experiment
        latest = experiment.latest
        if latest is None:
            return None
        has_ended = experiment.state is not OnlineExperimentState.running
        return experiment if has_ended or latest.verdict.pairs >= pairs else None

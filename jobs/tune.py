"""`python -m jobs.tune`: search the size, the window and the learning rate of the Temporal Fusion Transformer.

The only door to `ray.tune`. ASHA ends trials by their training loss; the best is chosen by the WQL of
a window that no trial was trained on. Every trial is a line of the job's ledger, so that a job that is
submitted again, after its driver was killed, runs what is left: finished trials count, unfinished ones go
on from their last state, and the sampler has heard of all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from features.store.snapshots import PanelSnapshots, cutoffs
from jobs.evaluation import candidates
from jobs.evaluation.candidates import EvaluationSetup
from jobs.runtime import Context, run
from jobs.tft.trial_ledger import TrialLedger, TrialResult
from models.evaluation.metrics import evaluate
from models.families.tft.checkpoint import CheckpointFolder, fingerprint
from models.families.tft.sampling_order import mixed_seed
from models.families.tft.training import Checkpointer
from models.families.tft.training import fit as fit_tft
from quantis.errors import Unavailable
from quantis.panel import Snapshot
from quantis.types.job_results import TuneResult, TuneTrial
from quantis.types.job_specs import TftParams, TuneSpec

REPORTS = 20  # how often training tells its loss
CPUS_PER_TRIAL = 1
ProgressCallback = Callable[[int, TrialResult], None]


def work(context: Context[TuneSpec]) -> TuneResult:
    """Run the trials; the parameters of the best, and every trial's figures."""
    spec = context.spec
    with context.step("read the panel", 0.05):
        task = context.dataset.task(context.as_of, spec.h, spec.quantiles)
        snapshots = PanelSnapshots(context.dataset.panel(context.as_of), task)
        last = context.last_cutoff(task)
        trial = EvaluationSetup(
            task, snapshots, snapshots(last).history, tuple(cutoffs(last, task, 1, task.h))
        )

    def hear(done: int, outcome: TrialResult) -> None:
        what = f"WQL {outcome.wql:.4f}" if outcome.wql is not None else outcome.state
        context.tell(f"trial {done} of {spec.trials}: {what}", 0.05 + 0.9 * done / spec.trials)

    with context.step(f"{spec.trials} trials", 0.95):
        search = Search(trial, spec.tft, context.folder, spec.trials, spec.time_limit)
        outcomes = search.run(hear)
    for number, one in enumerate(outcomes, start=1):
        context.registry.log_run(
            f"{spec.model}-tune",
            f"{context.job_id} trial {number}",
            params=one.config,
            metrics={"wql": one.wql, "loss": one.loss},
            tags={"quantis.experiment": context.job_id, "quantis.trial_state": one.state},
        )
    finished = [one for one in outcomes if one.wql is not None]
    if not finished:
        raise Unavailable("every trial failed; the job's log says why")
    best = min(finished, key=lambda one: one.wql or 0.0)
    context.tell(f"best of {len(outcomes)} trials: WQL {best.wql:.4f}")
    trials = [TuneTrial(params=one.config, wql=one.wql, loss=one.loss, state=one.state) for one in outcomes]
    return TuneResult(best=spec.tft.model_copy(update=best.config), trials=trials)


@dataclass(frozen=True)
class Search:
    """`trials` trials, or as many as `limit` lets begin, with their states and ledger in `folder`."""

    trial: EvaluationSetup
    params: TftParams
    folder: Path
    trials: int
    limit: timedelta | None = None

    def run(self, hear: ProgressCallback) -> list[TrialResult]:
        """Every trial's outcome, those of earlier runs in the same folder included, in the order of their end."""
        ledger = TrialLedger(self.folder / "trials")
        done, begun = ledger.results(), ledger.interrupted_configs()
        left = self.trials - len(done)
        if left <= 0:
            return done
        space = self._space()
        search = OptunaSearch(
            OptunaSearch.convert_search_space(space), metric="loss", mode="min", points_to_evaluate=begun,
            seed=mixed_seed(self.params.seed, len(done) + len(begun)) % 2**31,
        )  # fmt: skip
        for outcome in done:
            if outcome.loss is not None:
                search.add_evaluated_point(outcome.config, outcome.loss)
        trainable = tune.with_parameters(_trial, trial=self.trial, params=self.params, folder=self.folder)
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": CPUS_PER_TRIAL}),
            tune_config=tune.TuneConfig(
                metric="loss", mode="min", num_samples=left, search_alg=search,
                scheduler=ASHAScheduler(max_t=REPORTS + 1, grace_period=5, reduction_factor=2),
                time_budget_s=self.limit, reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"tune-{len(done)}", storage_path=str(self.folder), verbose=0,
                callbacks=[_Listener(ledger, hear)], failure_config=tune.FailureConfig(max_failures=1),
            ),
        ).fit()  # fmt: skip
        return ledger.results()

    def _space(self) -> dict[str, Any]:
        base = self.params.encoder_length
        return {
            "hidden_size": tune.choice([8, 16, 32]),
            "learning_rate": tune.loguniform(1e-3, 2e-2),
            "encoder_length": tune.choice(sorted({max(2, base // 2), base})),
        }


def _trial(config: dict[str, Any], trial: EvaluationSetup, params: TftParams, folder: Path) -> None:
    """One trial: train with these parameters, report the loss as it goes and the WQL at the end."""
    torch.set_num_threads(1)
    params = params.model_copy(update=config)
    last = float("inf")

    def progress(step: int, loss: float) -> None:
        nonlocal last
        last = loss
        if step < params.steps:
            tune.report({"loss": loss})

    def fitted(snapshot: Snapshot) -> Any:
        states = CheckpointFolder(folder / "states" / fingerprint(snapshot, trial.task, params))
        checkpointer = Checkpointer(states.latest, states.save, max(1, params.steps // REPORTS))
        return fit_tft(snapshot, trial.task, params, progress=progress, checkpointer=checkpointer)

    judged = candidates.evaluate_on_origins(trial, fitted)
    metrics = evaluate(judged.predictions, trial.history, trial.task.season_lengths[0]).metrics
    tune.report({"loss": last, "wql": metrics["wql"]})


class _Listener(tune.Callback):
    """Writes each trial's beginning and end into the ledger."""

    def __init__(self, ledger: TrialLedger, hear: ProgressCallback) -> None:
        self._ledger = ledger
        self._hear = hear

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ledger.record_start(trial.config)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        wql, loss = (trial.last_result.get(name) for name in ("wql", "loss"))
        state = "finished" if wql is not None else "stopped early"
        self._end(TrialResult(trial.config, state, loss, wql))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(TrialResult(trial.config, "failed", None, None))

    def _end(self, outcome: TrialResult) -> None:
        self._ledger.record_end(outcome)
        self._hear(len(self._ledger.results()), outcome)

    def get_state(self) -> None:
        """Nothing: the ledger is the record."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_ledger": self._ledger, "_hear": _deaf}


def _deaf(done: int, outcome: TrialResult) -> None:
    """In copies that Tune saves; nobody listens there."""


if __name__ == "__main__":
    sys.exit(run(TuneSpec, work))

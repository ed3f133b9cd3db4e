"""`python -m jobs.tune`: search the size, the window and the learning rate of the Temporal Fusion Transformer.

The best of the search is then trained and published as a train job does it, through the same gate.

The only module that uses `ray.tune`. ASHA ends trials by their training loss; the best is chosen by the WQL of
a window that no trial was trained on. The job's ledger records every trial, so that a job that is submitted
again, after its driver was killed, runs the remaining ones: finished trials count, interrupted ones continue
from their last state, and the sampler learns from all of them.
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

from cluster.machine import BOUNDS
from cluster.ray.session import declared_memory
from features.store.snapshots import cutoffs
from jobs.evaluation import candidates
from jobs.evaluation.candidates import EvaluationSetup
from jobs.runtime import Context, run
from jobs.tft.trial_ledger import TrialLedger, TrialResult
from jobs.train import train_and_publish
from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import require_windows
from models.families.tft.checkpoint import CheckpointFolder, fingerprint
from models.families.tft.sampling_order import mixed_seed
from models.families.tft.training import Checkpointer
from models.families.tft.training import fit as fit_tft
from quantis.errors import Unavailable
from quantis.panel import Snapshot
from quantis.types.job_results import TuneResult, TuneTrial
from quantis.types.job_specs import Family, TftParams, TrainSpec, TuneSpec

REPORTS = 20  # of the loss in a training
CPUS_PER_TRIAL = 1
TrialCallback = Callable[[int, TrialResult], None]


def work(context: Context[TuneSpec]) -> TuneResult:
    """Run the trials, train with the parameters of the best and publish it; return both, and every trial's scores."""
    spec, reporter = context.spec, context.reporter
    with reporter.step("read the panel", 0.05):
        task = context.dataset.task(spec.h, spec.quantiles)
        snapshots, last = context.dataset.snapshots(task), context.dataset.last_cutoff(task)
        latest = snapshots(last)
        require_windows(max(map(latest.history_index.length, latest.history_index.rows), default=0), task.h)
        setup = EvaluationSetup(task, snapshots, latest.history, tuple(cutoffs(last, task, 1, task.h)))

    def report_trial(count: int, result: TrialResult) -> None:
        outcome = f"WQL {result.wql:.4f}" if result.wql is not None else result.state
        reporter.event(f"trial {count} of {spec.trials}: {outcome}", 0.05 + 0.5 * count / spec.trials)

    with reporter.step(f"{spec.trials} trials", 0.55):
        search = Search(setup, spec.tft, context.folder, spec.trials, spec.time_limit)
        results = search.run(report_trial)
    for number, result in enumerate(results, start=1):
        context.registry.log_run(
            f"{spec.model}-tune",
            f"{context.job_id} trial {number}",
            params=result.config,
            metrics={"wql": result.wql, "loss": result.loss},
            tags={"quantis.experiment": context.job_id, "quantis.trial_state": result.state},
        )
    finished = [result for result in results if result.wql is not None]
    if not finished:
        raise Unavailable("every trial failed; the job's log says why")
    best = min(finished, key=lambda result: result.wql or 0.0)
    reporter.event(f"best of {len(results)} trials: WQL {best.wql:.4f}")
    trials = [
        TuneTrial(params=result.config, wql=result.wql, loss=result.loss, state=result.state)
        for result in results
    ]
    params = spec.tft.model_copy(update=best.config)
    training = Context(context.backend, context.team, context.job_id, _train_spec(context, params))
    trained = train_and_publish(training, Family.tft)
    return TuneResult(
        best=params,
        trials=trials,
        model=trained.model,
        gate=trained.gate,
        leaderboard=trained.leaderboard,
    )


def _train_spec(context: Context[TuneSpec], params: TftParams) -> TrainSpec:
    """Return the training of the transformer with these parameters, on what the search saw."""
    spec, view = context.spec, context.dataset
    return TrainSpec(
        dataset=spec.dataset,
        version=view.dataset.version.number,
        as_of=view.as_of,
        model=spec.model,
        h=spec.h,
        quantiles=spec.quantiles,
        families=(Family.tft,),
        tft=params,
    )


@dataclass(frozen=True)
class Search:
    """`trials` trials, or as many as start within `limit`, with their states and ledger in `folder`."""

    setup: EvaluationSetup
    params: TftParams
    folder: Path
    trials: int
    limit: timedelta | None = None

    def run(self, callback: TrialCallback) -> list[TrialResult]:
        """Return the results of all trials in the order of their end, with those of earlier runs in the folder."""
        ledger = TrialLedger(self.folder / "trials")
        earlier, interrupted = ledger.results(), ledger.interrupted_configs()
        remaining = self.trials - len(earlier)
        if remaining <= 0:
            return earlier
        trainable = tune.with_parameters(
            _run_trial,
            setup=self.setup,
            params=self.params,
            folder=self.folder,
            memory_limit=BOUNDS.limit,
        )
        tune.Tuner(
            tune.with_resources(
                trainable, {"cpu": CPUS_PER_TRIAL, "memory": declared_memory(CPUS_PER_TRIAL)}
            ),
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=remaining,
                search_alg=self._sampler(earlier, interrupted),
                scheduler=ASHAScheduler(max_t=REPORTS + 1, grace_period=5, reduction_factor=2),
                time_budget_s=self.limit,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"tune-{len(earlier)}",
                storage_path=str(self.folder),
                verbose=0,
                callbacks=[_LedgerCallback(ledger, callback)],
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        ).fit()
        return ledger.results()

    def _sampler(self, earlier: list[TrialResult], interrupted: list[dict[str, Any]]) -> OptunaSearch:
        """Return a sampler that starts with the interrupted trials and has learned from the earlier ones."""
        sampler = OptunaSearch(
            OptunaSearch.convert_search_space(self._space()),
            metric="loss",
            mode="min",
            points_to_evaluate=interrupted,
            seed=mixed_seed(self.params.seed, len(earlier) + len(interrupted)) % 2**31,
        )
        for result in earlier:
            if result.loss is not None:
                sampler.add_evaluated_point(result.config, result.loss)
        return sampler

    def _space(self) -> dict[str, Any]:
        encoder_length, heads = self.params.encoder_length, self.params.attention_heads
        sizes = [size for size in (8, 16, 32) if size % heads == 0]
        return {
            "hidden_size": tune.choice(sizes or [self.params.hidden_size]),
            "learning_rate": tune.loguniform(1e-3, 2e-2),
            "encoder_length": tune.choice(sorted({max(2, encoder_length // 2), encoder_length})),
        }


def _run_trial(
    config: dict[str, Any],
    setup: EvaluationSetup,
    params: TftParams,
    folder: Path,
    memory_limit: int | None = None,
) -> None:
    """Train with the trial's parameters, report the loss in the course of it and the WQL at the end."""
    torch.set_num_threads(1)
    if memory_limit is not None:
        BOUNDS.set(memory_limit)
    params = params.model_copy(update=config)
    last_loss = float("inf")

    def progress(step: int, loss: float) -> None:
        nonlocal last_loss
        last_loss = loss
        if step < params.steps:
            tune.report({"loss": loss})

    def fit(snapshot: Snapshot) -> Any:
        states = CheckpointFolder(folder / "states" / fingerprint(snapshot, setup.task, params))
        checkpointer = Checkpointer(states.latest, states.save, max(1, params.steps // REPORTS))
        return fit_tft(snapshot, setup.task, params, progress=progress, checkpointer=checkpointer)

    result = candidates.evaluate_on_origins(setup, fit)
    metrics = evaluate(result.predictions, setup.history, setup.task.season_lengths[0]).metrics
    tune.report({"loss": last_loss, "wql": metrics["wql"]})


class _LedgerCallback(tune.Callback):
    """Records the start and the end of each trial in the ledger."""

    def __init__(self, ledger: TrialLedger, callback: TrialCallback) -> None:
        self._ledger = ledger
        self._callback = callback

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ledger.record_start(trial.config)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        wql, loss = (trial.last_result.get(name) for name in ("wql", "loss"))
        state = "finished" if wql is not None else "stopped early"
        self._record_end(TrialResult(trial.config, state, loss, wql))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._record_end(TrialResult(trial.config, "failed", None, None))

    def _record_end(self, result: TrialResult) -> None:
        self._ledger.record_end(result)
        self._callback(len(self._ledger.results()), result)

    def get_state(self) -> None:
        """Return nothing: the ledger is the record."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_ledger": self._ledger, "_callback": _ignore}


def _ignore(count: int, result: TrialResult) -> None:
    """Stand in for the callback in the copies that Tune saves."""


if __name__ == "__main__":
    sys.exit(run(TuneSpec, work))

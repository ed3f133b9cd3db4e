"""`python -m jobs.tune`: search the size and learning rate of the Temporal Fusion Transformer.

The only door to `ray.tune`. ASHA ends trials by their training loss; the best is chosen by the WQL of
a window that no trial was trained on.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs
from features.snapshots import PlainSnapshots, cutoffs
from jobs import choose
from jobs.choose import Trial
from jobs.runtime import Context, run
from models.metrics import evaluate
from models.tft.training import fit as fit_tft
from quantis.errors import Unavailable
from quantis.types.jobs import TftParams, TuneSpec

REPORTS = 20  # how often training tells its loss
CPUS_PER_TRIAL = 0.5


def work(context: Context[TuneSpec]) -> dict[str, Any]:
    """Run the trials; the parameters of the best, and every trial's figures."""
    spec = context.spec
    with context.step("read the panel", 0.05):
        task = context.dataset.task(context.as_of, spec.h, spec.quantiles)
        snapshots = PlainSnapshots(context.dataset.panel(context.as_of), task)
        last = context.last_cutoff(task)
        trial = Trial(task, snapshots, snapshots(last).history, tuple(cutoffs(last, task, 1, task.h)))
    with context.step(f"{spec.trials} trials", 0.95):
        results = _search(context, trial)
    trials = [_described(result) for result in results]
    for number, one in enumerate(trials, start=1):
        context.registry.log_run(
            f"{spec.model}-tune",
            f"{context.job_id} trial {number}",
            params=one["params"],
            metrics={"wql": one["wql"], "loss": one["loss"]},
            tags={"quantis.experiment": context.job_id, "quantis.trial_state": one["state"]},
        )
    finished = [one for one in trials if one["wql"] is not None]
    if not finished:
        raise Unavailable("every trial failed; the job's log says why")
    best = min(finished, key=lambda one: one["wql"])
    context.tell(f"best of {len(trials)} trials: WQL {best['wql']:.4f}")
    return {"best": spec.tft.model_copy(update=best["params"]).model_dump(), "trials": trials}


def _search(context: Context[TuneSpec], trial: Trial) -> Any:
    spec = context.spec
    space = {
        "hidden_size": tune.choice([8, 16, 32]),
        "learning_rate": tune.loguniform(1e-3, 2e-2),
    }
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_trial, trial=trial, params=spec.tft), {"cpu": CPUS_PER_TRIAL}
        ),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=spec.trials,
            search_alg=OptunaSearch(seed=spec.tft.seed),
            scheduler=ASHAScheduler(max_t=REPORTS + 1, grace_period=5, reduction_factor=2),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(context.folder),
            verbose=0,
            callbacks=[_Storyteller(context.settings.sql_url, context.team, context.job_id, spec.trials)],
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    return tuner.fit()


def _trial(config: dict[str, Any], trial: Trial, params: TftParams) -> None:
    """One trial: train with these parameters, report the loss as it goes and the WQL at the end."""
    torch.set_num_threads(1)
    params = params.model_copy(update=config)

    def progress(step: int, loss: float) -> None:
        if step < params.steps:
            tune.report({"loss": loss})

    judged = choose.judge(trial, lambda snapshot: fit_tft(snapshot, trial.task, params, progress=progress))
    metrics = evaluate(judged.predictions, trial.history, trial.task.season_lengths[0]).metrics
    tune.report({"loss": metrics["wql"] or float("inf"), "wql": metrics["wql"]})


class _Storyteller(tune.Callback):
    """Tells the job's readers how the trials go. Tune saves it with its state, so it holds values only."""

    def __init__(self, url: str, team: str, job_id: str, trials: int) -> None:
        self._url = url
        self._team = team
        self._job_id = job_id
        self._trials = trials
        self._done = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._done += 1
        wql = trial.last_result.get("wql")
        outcome = f"WQL {wql:.4f}" if wql is not None else "ended early"
        database = Database(self._url)
        Jobs(database).tell(
            self._team, self._job_id, "progress", f"trial {self._done} of {self._trials}: {outcome}",
            progress=0.05 + 0.9 * self._done / self._trials,
        )  # fmt: skip
        database.close()


def _described(result: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    state = "failed" if result.error else "finished" if metrics.get("wql") is not None else "stopped early"
    return {"params": result.config, "wql": metrics.get("wql"), "loss": metrics.get("loss"), "state": state}


if __name__ == "__main__":
    sys.exit(run(TuneSpec, work))

"""`python -m jobs.train`: fit the families, judge them on rolling origins, publish the best.

The only door to `ray.train`. `_worker` is all that a training worker runs; the rest runs in the
job's driver, or as Ray tasks.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer, prepare_model

from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs
from cluster.session import OnRay
from cluster.settings import Settings
from features.snapshots import PlainSnapshots, VintageSnapshots, cutoffs
from jobs import choose
from jobs.choose import Member, Trial
from jobs.runtime import Context, run
from models.backtest import Score, gate, leaderboard
from models.bundle import read_bundle, write_bundle
from models.forecaster import Forecaster
from models.tft.training import fit as fit_tft
from quantis.errors import Unavailable
from quantis.panel import Snapshot, Task
from quantis.types.jobs import Family, TrainSpec
from quantis.types.registry import Leaderboard, LeaderboardRow


def work(context: Context[TrainSpec]) -> dict[str, Any]:
    """Backtest every family, choose, refit the choice on all that is known, publish and promote it."""
    spec = context.spec
    with context.step("read the panel", 0.05):
        task = context.dataset.task(context.as_of, spec.h, spec.quantiles)
        plain = PlainSnapshots(context.dataset.panel(context.as_of), task)
        last = context.last_cutoff(task)
        now = plain(last)
        origins = cutoffs(last, task, spec.n_windows, spec.step_size or spec.h)
        trial = Trial(task, _vintage(context, task) or plain, now.history, tuple(origins))
    candidates = choose.members(spec, task)
    scores = _judge(context, trial, candidates)
    _check_floor(scores)
    rows = leaderboard(scores)
    decision = gate(rows)
    board = _board(context, trial, rows)
    chosen = next(member for member in candidates if member.name == decision.chosen)
    with context.step(f"refit {chosen.name} on all that is known", 0.92):
        forecaster = _fit(context, chosen, now, task, "refit")
    with context.step("publish", 0.99):
        bundle = write_bundle(context.folder / "bundle", forecaster, now)
        context.registry.log_leaderboard(board, params=spec.tft.model_dump())
        version = context.registry.publish(
            spec.model,
            bundle,
            metrics=next(score.metrics for score in scores if score.model == chosen.name),
            gate=decision,
            experiment=context.job_id,
        )
        if context.settings.policy == "gate" and decision.passed:
            version = context.registry.promote(spec.model, version.version)
    shutil.rmtree(context.folder, ignore_errors=True)
    context.tell(decision.reason)
    return {
        "leaderboard": board.model_dump(mode="json"),
        "model": version.model_dump(mode="json"),
        "gate": asdict(decision),
    }


def _vintage(context: Context[TrainSpec], task: Task) -> VintageSnapshots | None:
    """What was known at each cutoff, when the job asks to be judged on that."""
    if context.spec.backtest_mode == "plain":
        return None
    opened = context.dataset
    return VintageSnapshots(opened.store, opened.pins, task, opened.spec.publication_lag)


def _judge(context: Context[TrainSpec], trial: Trial, candidates: Sequence[Member]) -> list[Score]:
    scores = []
    plain = choose.local(candidates)
    with context.step(f"backtest {', '.join(member.name for member in plain)}", 0.35):
        outcomes = OnRay(cpus=1).map(choose.judge_member, trial, plain)
        for member, outcome in zip(plain, outcomes, strict=True):
            scores.append(_told(context, choose.score(member, outcome, trial)))
    for member in candidates:
        if member.family == Family.tft:
            with context.step(f"backtest {member.name} on {context.spec.tft.workers} workers", 0.7):
                outcome = _judge_tft(context, member, trial)
                scores.append(_told(context, choose.score(member, outcome, trial)))
    return scores


def _judge_tft(context: Context[TrainSpec], member: Member, trial: Trial) -> choose.Judged | Exception:
    try:
        return choose.judge(trial, lambda snapshot: _fit(context, member, snapshot, trial.task, "backtest"))
    except Exception as error:
        return error


def _check_floor(scores: Sequence[Score]) -> None:
    """Without the naive floor nothing can be judged: say why there is none."""
    naive = [score for score in scores if score.family == Family.seasonal_naive]
    if all(score.failed for score in naive):
        raise Unavailable(f"seasonal naive, the floor to beat, failed: {naive[0].failed}")


def _told(context: Context[TrainSpec], score: Score) -> Score:
    data = {"seconds": score.seconds, "failed": score.failed, **score.metrics}
    context.jobs.tell(context.team, context.job_id, "metric", score.model, data=data)
    return score


def _fit(
    context: Context[TrainSpec], member: Member, snapshot: Snapshot, task: Task, what: str
) -> Forecaster:
    if member.family == Family.tft:
        return train_tft(context, snapshot, task, what)
    return choose.fit(member, snapshot, task)


def train_tft(context: Context[TrainSpec], snapshot: Snapshot, task: Task, what: str) -> Forecaster:
    """Train on Ray Train's workers; the bundle of rank 0 comes back as the forecaster."""
    params = context.spec.tft
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "snapshot": ray.put(snapshot),
            "task": task,
            "params": params,
            "team": context.team,
            "job": context.job_id,
            "what": what,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=params.workers, resources_per_worker={"CPU": 0.5}, use_gpu=torch.cuda.is_available()
        ),
        run_config=ray.train.RunConfig(
            name=what,
            storage_path=str(context.folder),
            failure_config=ray.train.FailureConfig(max_failures=2),
        ),
    )
    result = trainer.fit()
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as folder:
        return read_bundle(Path(folder) / "bundle")


def _worker(config: dict[str, Any]) -> None:
    """What one training worker runs."""
    torch.set_num_threads(1)
    place = ray.train.get_context()
    snapshot, task, params = ray.get(config["snapshot"]), config["task"], config["params"]
    jobs = Jobs(Database(Settings().sql_url))

    def progress(step: int, loss: float) -> None:
        if place.get_world_rank() == 0:
            text = f"tft ({config['what']}): step {step} of {params.steps}, loss {loss:.4f}"
            jobs.tell(
                config["team"], config["job"], "progress", text, data={"step": step, "loss": round(loss, 5)}
            )

    forecaster = fit_tft(snapshot, task, params, worker=_RayWorker(), progress=progress)
    if place.get_world_rank() == 0:
        folder = Settings().storage.training / config["job"] / f"{config['what']}-result"
        write_bundle(folder / "bundle", forecaster, snapshot)
        ray.train.report({"done": 1}, checkpoint=ray.train.Checkpoint.from_directory(str(folder)))
    else:
        ray.train.report({"done": 1})


class _RayWorker:
    """The training loop's view of Ray Train."""

    @property
    def rank(self) -> int:
        rank: int = ray.train.get_context().get_world_rank()
        return rank

    @property
    def world_size(self) -> int:
        size: int = ray.train.get_context().get_world_size()
        return size

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        wrapped: torch.nn.Module = prepare_model(module)
        return wrapped


def _board(context: Context[TrainSpec], trial: Trial, rows: list[LeaderboardRow]) -> Leaderboard:
    return Leaderboard(
        experiment=context.job_id,
        model=context.spec.model,
        dataset=trial.task.dataset,
        dataset_version=trial.task.version,
        cutoffs=[cutoff.astype("datetime64[us]").item().replace(tzinfo=UTC) for cutoff in trial.cutoffs],
        h=trial.task.h,
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(run(TrainSpec, work))

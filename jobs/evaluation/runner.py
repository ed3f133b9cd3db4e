"""Every member judged within the job's time: local families as Ray tasks, the transformer on Ray Train."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from cluster.ray.session import OnRay
from features.store.snapshots import PlainSnapshots, VintageSnapshots, cutoffs
from jobs.evaluation import candidates as choose
from jobs.evaluation.candidates import Judged, Member, Trial, Unit
from jobs.runtime import Context
from jobs.tft.ray_trainer import train_tft
from models.evaluation.promotion_gate import Score
from models.families.tft.training import SHORT, short_past
from models.forecaster import Forecaster
from models.postprocessing.ensembling import ENSEMBLE, Candidate
from models.postprocessing.reconciliation import Levels, WithNodes
from quantis.errors import TimedOut, Unavailable
from quantis.panel import Snapshot, SnapshotProvider, Task
from quantis.types.jobs import CompareSpec, Family

COMPARING, REFITTED = 0.7, 0.95
"""The parts of a time limit by which the comparison and the refit are to be done."""

Result = TypeVar("Result")


@dataclass
class Clock:
    """The job's time: what is left of its limit, if it has one."""

    limit: float | None
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, spec: CompareSpec) -> Clock:
        return cls(spec.time_limit.total_seconds() if spec.time_limit else None)

    def left(self, part: float = 1.0) -> float | None:
        """Seconds left of this part of the limit; None without one."""
        if self.limit is None:
            return None
        return max(1.0, part * self.limit - (time.monotonic() - self.started))

    def over(self, part: float) -> bool:
        """Whether this part of the limit is used up."""
        return self.limit is not None and time.monotonic() - self.started >= part * self.limit

    def shares(self, units: Sequence[Unit], width: int, part: float) -> Callable[[int], float | None]:
        """The allowance of each unit when it begins: its fair part of what is left, for every member alike."""
        weights = [1 / unit.parts for unit in units]

        def allowance(waiting: int) -> float | None:
            left = self.left(part)
            mine, all_left = weights[-waiting], sum(weights[-waiting:])
            return None if left is None else left * min(1.0, width * mine / all_left)

        return allowance


@dataclass(frozen=True)
class Compared:
    """What the comparison found: every member's outcome and its score, in the members' order.

    `published` has what a member, or the blend, is published as: its weights and calibration.
    """

    members: list[Member]
    outcomes: list[Judged | Exception]
    scores: list[Score]
    published: dict[str, Candidate]


def trial_of(context: Context[Any], task: Task, levels: Levels | None = None) -> tuple[Trial, Snapshot]:
    """What the members of a job are judged on, and all that is known now."""
    spec: CompareSpec = context.spec
    plain = PlainSnapshots(context.dataset.panel(context.as_of), task)
    last = context.last_cutoff(task)
    now = plain(last)
    provider: SnapshotProvider = _vintage(context, task) or plain
    origins = cutoffs(last, task, choose.windows(spec, task, now.history), spec.step_size or task.h)
    history = now.history
    if levels is not None:
        provider, history = WithNodes(provider, levels), levels.extended(now).history
    return Trial(task, provider, history, tuple(origins), spec.refit, levels, context.families), now


def compare(context: Context[Any], trial: Trial, clock: Clock) -> Compared:
    """Judge every member of the job's specification; Unavailable when the naive floor failed.

    One that fails or overruns its share of the time has its reason for an outcome; the rest go on.
    """
    spec: CompareSpec = context.spec
    candidates = choose.members(spec, trial.task, trial.families)
    outcomes: dict[str, Judged | Exception] = {}
    floor = [member for member in candidates if member.floor]
    rivals = [member for member in choose.local(candidates) if not member.floor]
    for group, share, progress in ((floor, None, 0.2), (rivals, COMPARING, 0.5)):
        if group:
            with context.step(f"backtest {', '.join(member.name for member in group)}", progress):
                outcomes |= _judged(context, trial, group, clock, share)
    for member in candidates:
        if member.family == Family.tft:
            with context.step(f"backtest {member.name} on {spec.tft.workers} workers", 0.7):
                outcomes[member.name] = _judge_tft(context, member, trial, clock)
    with context.step("blend and calibrate", 0.85):
        found = choose.published(candidates, outcomes, trial, Family.ensemble in spec.families)
    for name, candidate in found.items():
        outcomes[name] = _as_published(outcomes, name, candidate)
    if ENSEMBLE in found:
        candidates = [*candidates, Member(ENSEMBLE, Family.ensemble)]
    scores = [_told(context, choose.score(m, outcomes[m.name], trial)) for m in candidates]
    naive = [score for score in scores if score.family == Family.seasonal_naive]
    if all(score.failed for score in naive):
        raise Unavailable(f"seasonal naive, the floor to beat, failed: {naive[0].failed}")
    return Compared(candidates, [outcomes[member.name] for member in candidates], scores, found)


def _as_published(outcomes: Mapping[str, Judged | Exception], name: str, candidate: Candidate) -> Judged:
    """The outcome with the candidate's predictions; a blend took the time and the room of its members."""
    parts = [one for part in candidate.weights if isinstance(one := outcomes[part], Judged)]
    if name in outcomes:
        return replace(parts[0], predictions=candidate.predictions)
    seconds, size = sum(part.seconds for part in parts), sum(part.size_bytes for part in parts)
    return Judged(candidate.predictions, seconds, size)


def _judged(
    context: Context[Any], trial: Trial, group: Sequence[Member], clock: Clock, part: float | None
) -> dict[str, Judged | Exception]:
    """The outcomes of these members by name; as long as they take without a `part` of the time."""
    executor = OnRay(cpus=1)
    units = choose.units(group, trial, executor.width)
    allowance = clock.shares(units, executor.width, part) if part else _unlimited
    found: dict[str, list[Judged | Exception]] = {member.name: [] for member in group}
    for number, outcome in executor.within(choose.judge_unit, trial, units, allowance):
        member, mine = units[number].member, found[units[number].member.name]
        mine.append(outcome)
        if len(mine) == units[number].parts:
            context.tell(f"{member.name}: {_said(choose.joined(mine))}")
    return {name: choose.joined(parts) for name, parts in found.items()}


def _unlimited(waiting: int) -> None:
    return None


def _said(outcome: Judged | Exception) -> str:
    if isinstance(outcome, Exception):
        return choose.reason_of(outcome)
    fallen = len({one.unique_id for one in outcome.fallen})
    return f"{outcome.seconds:.1f} s" + (f", {fallen} series fell back to a simpler method" if fallen else "")


def _judge_tft(context: Context[Any], member: Member, trial: Trial, clock: Clock) -> Judged | Exception:
    spec: CompareSpec = context.spec
    left = clock.left(COMPARING)
    needed = tft_seconds(spec, trial.task.h, len(trial.cutoffs))
    if left is not None and left < needed:
        return TimedOut(f"left out: it needs about {needed:.0f} s, and {left:.0f} s of the time were left")
    outcome = attempt(
        lambda: choose.judge(
            trial,
            lambda snapshot: train_tft(context, snapshot, trial.task, "backtest", clock.left(COMPARING)),
        )
    )
    over = clock.over(COMPARING)
    return (
        TimedOut(f"timed out: {left:.0f} s were left") if isinstance(outcome, Exception) and over else outcome
    )


def attempt(work: Callable[[], Result]) -> Result | Exception:
    try:
        return work()
    except Exception as error:
        return error


def fit_within(
    trial: Trial, members: Sequence[Member], snapshot: Snapshot, seconds: float | None
) -> dict[str, Forecaster | Exception]:
    """Members fitted as Ray tasks, by name; one that overruns is killed."""
    if not members:
        return {}
    shared = (snapshot, trial.task, trial.families)
    done = OnRay(cpus=1).within(choose.fit_shared, shared, members, lambda waiting: seconds)
    return {members[number].name: outcome for number, outcome in done}


def tft_seconds(spec: CompareSpec, h: int, windows: int) -> float:
    """About how long the transformer trains on two shared cores; measured, good to a factor of two.

    15 s until Ray Train's workers have begun; 12 ms a step, whatever its size, and 0.22 us for each window, hour
    and hidden unit.
    """
    params, fits = spec.tft, windows if spec.refit else 1
    past = SHORT * short_past(h, params) + (1 - SHORT) * params.encoder_length
    step = 0.012 + 2.2e-7 * params.batch_size * (past + h) * params.hidden_size
    return fits * (15 + params.steps * params.workers * step)


def _vintage(context: Context[Any], task: Task) -> VintageSnapshots | None:
    """What was known at each cutoff, when the job asks to be judged on that."""
    if context.spec.backtest_mode == "plain":
        return None
    opened = context.dataset
    return VintageSnapshots(opened.store, opened.pins, task, opened.spec.publication_lag)


def _told(context: Context[Any], score: Score) -> Score:
    data = {"seconds": score.seconds, "failed": score.failed, **score.metrics}
    context.jobs.tell(context.team, context.job_id, "metric", score.model, data=data)
    return score

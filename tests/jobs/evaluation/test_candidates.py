"""Judging by blocks and within shares of the time: the same answers, nobody starved."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cluster.ray.session import InProcessExecutor
from features.store.snapshots import PanelSnapshots, cutoffs
from jobs import batch_forecast
from jobs.evaluation import candidates
from jobs.evaluation.candidates import Candidate, CandidateBlock, EvaluationResult, EvaluationSetup
from jobs.evaluation.runner import tft_seconds
from jobs.evaluation.time_budget import BASELINE_SECONDS, TimeBudget
from models.families.catalogue import known_families
from models.families.naive import SeasonalNaive
from models.families.theta import Theta
from models.prediction import fallback
from quantis.errors import InvalidInput, TimedOut
from quantis.panel import Panel, Task, timestamps
from quantis.types.forecasts import ForecastMethod
from quantis.types.job_specs import EvaluationSpec, Family, Preset

DAYS, SERIES = 60, 30
START = np.datetime64("2024-01-01", "us")


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(
        dataset="toy", version=1, content_hash="0", as_of=datetime(2024, 6, 1, tzinfo=UTC), freq="D", h=5,
        quantiles=(0.1, 0.5, 0.9), season_lengths=(7,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(0)
    ids = [f"s{number:02}" for number in range(SERIES)]
    y = 20 + 5 * np.sin(np.arange(DAYS) / 7 * 2 * np.pi) + rng.normal(0, 1, (SERIES, DAYS))
    ds = START + np.arange(DAYS) * np.timedelta64(1, "D")
    columns = {"unique_id": np.repeat(ids, DAYS), "ds": timestamps(np.tile(ds, SERIES)), "y": y.ravel()}
    target = pa.table(columns)
    return Panel(target, target.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": ids}))


@pytest.fixture(scope="module")
def setup(task: Task, panel: Panel) -> EvaluationSetup:
    plain = PanelSnapshots(panel, task)
    last = START + (DAYS - 1) * np.timedelta64(1, "D")
    return EvaluationSetup(task, plain, plain(last).history, tuple(cutoffs(last, task, 2, task.h)))


def test_when_a_local_family_is_judged_by_blocks_then_it_says_the_same_as_at_once(
    setup: EvaluationSetup,
) -> None:
    member = Candidate("theta", Family.theta)
    whole = candidates.evaluate_block(setup, CandidateBlock(member), None)
    parts = [candidates.evaluate_block(setup, CandidateBlock(member, part, 4), None) for part in range(4)]
    joined = candidates.merge_results(parts)
    assert isinstance(joined, EvaluationResult)
    assert [part.predictions.num_rows for part in parts] == [70, 80, 70, 80]
    keys = [("unique_id", "ascending"), ("cutoff", "ascending"), ("ds", "ascending")]
    assert joined.predictions.sort_by(keys).equals(whole.predictions.sort_by(keys))
    scores = [candidates.score_candidate(member, outcome, setup) for outcome in (whole, joined)]
    assert scores[0].metrics == pytest.approx(scores[1].metrics)
    assert scores[0].errors == pytest.approx(scores[1].errors)


def test_when_members_have_measured_their_intervals_then_they_are_published_no_narrower(
    setup: EvaluationSetup,
) -> None:
    floor, theta = (
        Candidate("seasonal_naive_7", Family.seasonal_naive, season=7),
        Candidate("theta", Family.theta),
    )
    outcomes: dict[str, EvaluationResult | Exception] = {
        member.name: candidates.evaluate_block(setup, CandidateBlock(member), None)
        for member in (floor, theta)
    }
    judged = outcomes["theta"]
    assert isinstance(judged, EvaluationResult)
    assert not judged.intervals_measured
    wide = judged.predictions
    for name in ("q0.1", "q0.9"):  # ten times as wide as they are
        moved = pc.add(wide["q0.5"], pc.multiply(10.0, pc.subtract(wide[name], wide["q0.5"])))
        wide = wide.set_column(wide.column_names.index(name), name, moved)
    factors = {}
    for measured in (False, True):
        outcomes["theta"] = replace(judged, predictions=wide, intervals_measured=measured)
        found = candidates.calibrate_and_blend([floor, theta], outcomes, setup, blend=False)[
            "theta"
        ].calibration
        assert found is not None
        factors[measured] = found.factors["q0.9"]
    assert max(factors[False]) < 1
    assert set(factors[True]) == {1.0}


def test_when_families_are_blended_then_peoples_own_are_among_them(setup: EvaluationSetup) -> None:
    own = replace(setup, families=known_families({"drift": "examples.own_model:Drift"}))
    members = [Candidate("seasonal_naive_7", Family.seasonal_naive, season=7), Candidate("drift", "drift")]
    naive = candidates.evaluate_block(own, CandidateBlock(members[0]), None)
    mirrored = naive.predictions  # errs as much as naive, to the other side
    for name in ("mean", "q0.1", "q0.5", "q0.9"):
        other = pc.subtract(pc.multiply(2.0, mirrored["y"]), mirrored[name])
        mirrored = mirrored.set_column(mirrored.column_names.index(name), name, other)
    outcomes: dict[str, EvaluationResult | Exception] = {
        "seasonal_naive_7": naive,
        "drift": replace(naive, predictions=mirrored),
    }
    assert set(candidates.calibrate_and_blend(members, outcomes, own, blend=True)["ensemble"].weights) == {
        "seasonal_naive_7",
        "drift",
    }
    assert "ensemble" not in candidates.calibrate_and_blend(members, outcomes, own, blend=False)


def test_when_one_block_failed_then_the_member_has_its_reason(setup: EvaluationSetup) -> None:
    whole = candidates.evaluate_block(setup, CandidateBlock(Candidate("theta", Family.theta)), None)
    outcome = candidates.merge_results([whole, InvalidInput("no")])
    assert isinstance(outcome, InvalidInput)
    assert candidates.score_candidate(Candidate("theta", Family.theta), outcome, setup).failed == "no"
    slow = candidates.score_candidate(Candidate("theta", Family.theta), TimeoutError("61 s of 60"), setup)
    assert slow.failed == "timed out: 61 s of 60"


def test_when_families_look_at_one_series_at_a_time_then_they_are_cut_and_others_come_whole_and_first(
    setup: EvaluationSetup,
) -> None:
    many_series = replace(setup, history=pa.table({"unique_id": [str(n) for n in range(1000)]}))
    found = candidates.split_into_blocks(
        [Candidate("theta", "theta"), Candidate("boosting", "boosting")], many_series, width=2
    )
    assert [(unit.candidate.name, unit.parts) for unit in found] == [("boosting", 1)] + [("theta", 4)] * 4
    assert [unit.part for unit in found[1:]] == [0, 1, 2, 3]


def test_when_series_are_forecast_in_blocks_then_every_entry_is_as_without(
    setup: EvaluationSetup, task: Task
) -> None:
    snapshot = setup.snapshots(setup.cutoffs[1])
    theta = Theta(task)
    whole = fallback.forecast(theta, snapshot, task)
    blocks = batch_forecast.forecast(theta, snapshot, task, InProcessExecutor(), size=7)
    assert [entry.unique_id for entry in blocks] == [entry.unique_id for entry in whole]
    for one, other in zip(whole, blocks, strict=True):
        assert one.method == other.method == ForecastMethod.model
        assert np.array_equal(one.mean, other.mean)


class Dying(InProcessExecutor):
    """An executor whose second task dies."""

    def map(self, function: Any, shared: Any, items: Any) -> list[Any]:
        done = super().map(function, shared, items)
        done[1] = RuntimeError("the worker died")
        return done


def test_when_the_task_of_a_block_dies_then_its_series_fall_to_a_lower_rung(
    setup: EvaluationSetup, task: Task
) -> None:
    snapshot = setup.snapshots(setup.cutoffs[1])
    found = batch_forecast.forecast(SeasonalNaive(task, 7), snapshot, task, Dying(), size=10)
    assert [entry.method for entry in found] == [ForecastMethod.model] * 10 + [
        ForecastMethod.seasonal_naive
    ] * 10 + [ForecastMethod.model] * 10


def test_when_time_is_shared_then_each_member_gets_an_equal_part_of_what_is_remaining() -> None:
    now = [0.0]
    budget = TimeBudget(100.0, started=0.0)
    budget.remaining = lambda share=1.0: share * 100.0 - now[0]  # type: ignore[method-assign]
    units = [CandidateBlock(Candidate(name, name)) for name in "abcd"]
    allowance = budget.allowances(units, width=2, share=0.8)
    assert allowance(4) == pytest.approx(40.0)  # two at once: half of the time for each
    assert allowance(3) == pytest.approx(80 * 2 / 3)
    now[0] = 10.0  # a and b ended early
    assert allowance(2) == pytest.approx(70.0)
    now[0] = 75.0
    assert allowance(1) == pytest.approx(5.0)


def test_when_a_member_is_cut_into_blocks_then_they_share_what_the_member_would_get() -> None:
    budget = TimeBudget(100.0, started=0.0)
    budget.remaining = lambda share=1.0: share * 100.0  # type: ignore[method-assign]
    units = [
        *(CandidateBlock(Candidate("a", "a"), part, 4) for part in range(4)),
        CandidateBlock(Candidate("b", "b")),
    ]
    allowance = budget.allowances(units, width=2, share=1.0)
    assert allowance(5) == pytest.approx(25.0)  # four blocks, two at a time: half of the time in all
    assert allowance(1) == pytest.approx(100.0)


def test_when_there_is_no_limit_then_there_are_no_shares() -> None:
    budget = TimeBudget.from_spec(EvaluationSpec(dataset="a", families=("theta",)))
    assert budget.remaining() is None
    assert budget.allowances([CandidateBlock(Candidate("a", "a"))], 2, 0.7)(1) is None
    assert TimeBudget.from_spec(EvaluationSpec(dataset="a", preset=Preset.fast)).limit == 120


def test_when_a_baseline_is_evaluated_then_the_limit_of_the_job_bounds_it_and_no_share_less() -> None:
    budget = TimeBudget(100.0)
    assert budget.baseline_allowance()(5) == pytest.approx(100.0, abs=5)
    late = TimeBudget(100.0, started=time.monotonic() - 95.0)
    allowance = late.baseline_allowance()
    assert allowance(1) == pytest.approx(BASELINE_SECONDS, abs=5)
    over = TimeBudget(0.0)
    over_allowance = over.baseline_allowance()
    assert 0 < cast("float", over_allowance(1)) <= BASELINE_SECONDS
    assert TimeBudget(None).baseline_allowance()(1) is None


def test_when_the_baseline_has_used_up_its_time_then_nothing_more_of_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobs.evaluation.time_budget.BASELINE_SECONDS", 0.0)
    assert TimeBudget(10.0, started=time.monotonic() - 20.0).baseline_allowance()(3) == 0


def test_when_a_job_sets_no_limit_then_the_longest_that_a_job_may_run_is_its_limit() -> None:
    spec = EvaluationSpec(dataset="a", families=("theta",))
    assert TimeBudget.from_spec(spec, 3600).limit == 3600
    assert TimeBudget.from_spec(EvaluationSpec(dataset="a", preset=Preset.best), 60).limit == 60


def test_when_a_transformer_gets_larger_then_it_is_thought_to_take_longer() -> None:
    spec = EvaluationSpec(dataset="a")
    larger = EvaluationSpec.model_validate({"dataset": "a", "tft": {"steps": 4000}})
    assert 15 < tft_seconds(spec, 24, 2) < 120 < tft_seconds(larger, 24, 2)


def test_when_training_begins_with_a_short_past_then_it_is_thought_to_take_less_long() -> None:
    def seconds(short: bool) -> float:
        tft = {"encoder_length": 168, "hidden_size": 64, "short_start": short}
        return tft_seconds(EvaluationSpec.model_validate({"dataset": "a", "tft": tft}), 24, 2)

    assert 15 < seconds(True) < 0.7 * seconds(False)


def test_when_a_preset_names_families_then_what_is_given_wins_and_naive_always_stands(task: Task) -> None:
    fast = EvaluationSpec(dataset="a", preset=Preset.fast)
    assert fast.families[:2] == ("seasonal_naive", "theta")
    named = EvaluationSpec(dataset="a", preset=Preset.fast, families=("boosting",))
    assert (named.families, named.time_limit) == (("boosting",), Preset.fast.time_limit)
    found = candidates.build_candidates(cast("Any", SimpleNamespace(families=("theta",), baselines=())), task)
    assert [member.name for member in found] == ["seasonal_naive_7", "theta"]


def test_when_the_time_of_a_training_is_over_then_its_next_step_says_so() -> None:
    from jobs.tft.train_worker import TrainingProgress

    with pytest.raises(TimedOut, match="timed out at step 40 of 100"):
        TrainingProgress("default", "job-1", "backtest", 100, until=time.time() - 1)(40, 0.5)


def test_when_a_part_of_the_limit_is_used_up_then_the_clock_says_so() -> None:
    budget = TimeBudget(100.0, started=time.monotonic() - 80)
    assert (budget.exceeded(0.7), budget.exceeded(0.95)) == (True, False)
    assert budget.remaining(0.95) == pytest.approx(15, abs=1)
    assert budget.remaining(0.7) == 1.0
    assert not TimeBudget(None).exceeded(0.7)

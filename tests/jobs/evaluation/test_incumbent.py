"""Which windows a new version and the champion are compared on, and what follows when nothing can be compared."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from jobs.evaluation.candidates import Candidate, EvaluationResult, EvaluationSetup
from jobs.evaluation.incumbent import Incumbent, decide_succession
from jobs.evaluation.runner import EvaluatedCandidate, EvaluationReport
from models.evaluation.promotion_gate import GateDecision, Score
from models.registry.bundle import BundleBroken
from quantis.errors import InvalidInput, TimedOut
from quantis.panel import Task, timestamps
from quantis.types.registry import HeadToHead, ModelVersion

START, DAY = np.datetime64("2024-01-01", "us"), np.timedelta64(1, "D")
DAYS, H = 60, 2
CUTOFFS = tuple(START + day * DAY for day in (50, 52, 54))
IDS = [f"s{number}" for number in range(8)]
TASK = Task(
    dataset="a", version=1, content_hash="0", as_of="2024-03-01T00:00Z", freq="D", h=H, quantiles=(0.5,)  # type: ignore[arg-type]
)  # fmt: skip


def history() -> pa.Table:
    rng = np.random.default_rng(2)
    ds = timestamps(np.tile(START + np.arange(DAYS) * DAY, len(IDS)))
    return pa.table({"unique_id": np.repeat(IDS, DAYS), "ds": ds, "y": rng.normal(100, 10, DAYS * len(IDS))})


HISTORY = history()


def forecasts(errors: list[float]) -> pa.Table:
    """Forecasts that are off by this much in each window."""
    y = np.array(HISTORY["y"]).reshape(len(IDS), DAYS)
    tables = []
    for cutoff, error in zip(CUTOFFS, errors, strict=True):
        first = int((cutoff - START) / DAY) + 1
        actual = y[:, first : first + H].ravel()
        ds = np.tile(START + np.arange(first, first + H) * DAY, len(IDS))
        columns = {"unique_id": np.repeat(IDS, H), "ds": timestamps(ds)}
        columns |= {"cutoff": timestamps(np.full(len(ds), cutoff)), "y": actual}
        tables.append(pa.table(columns | {"mean": actual + error, "q0.5": actual + error}))
    return pa.concat_tables(tables)


def champion(family: str = "boosting") -> ModelVersion:
    return ModelVersion(
        model="m", version=1, family=family, aliases=["champion"], created_at=datetime(2024, 1, 1, tzinfo=UTC),
        h=H, freq="D",
    )  # fmt: skip


def decided(incumbent: Incumbent | None, chosen: str = "boosting", **tables: pa.Table) -> GateDecision:
    setup = EvaluationSetup(TASK, cast("Any", None), HISTORY, CUTOFFS)
    evaluated = [
        EvaluatedCandidate(Candidate(name, name), EvaluationResult(table, 1.0), Score(name, name, 1.0))
        for name, table in tables.items()
    ]
    decision = GateDecision(chosen, True, 1.0, 0.1, 2.0, 0.2, "it beats naive", beats_naive=True)
    return decide_succession(decision, EvaluationReport(evaluated, {}), incumbent, setup)


def row_of(decision: GateDecision) -> HeadToHead:
    assert decision.head_to_head is not None
    return decision.head_to_head


def test_when_there_is_no_champion_then_the_decision_stays() -> None:
    decision = decided(None, boosting=forecasts([1, 1, 1]))
    assert (decision.replaces, decision.head_to_head, decision.reason) == (True, None, "it beats naive")


def test_when_the_champion_is_better_then_it_stays_with_the_figures() -> None:
    decision = decided(
        Incumbent(champion("theta"), forecasts([1, 1, 1]), quantiles=(0.5,)), boosting=forecasts([2.4] * 3)
    )
    assert not decision.replaces
    assert decision.with_version(2).reason.startswith(
        "v2 stays candidate: v2 has 2.4 times the error of v1 (MASE "
    )
    assert (row_of(decision).windows, row_of(decision).in_sample) == (3, False)


@pytest.mark.parametrize(("day", "windows"), [(40, 3), (50, 3), (51, 2), (54, 1)])
def test_when_the_champion_learned_from_some_windows_then_the_later_ones_decide(
    day: int, windows: int
) -> None:
    """It is perfect on what it learned, and worse on what came after."""
    errors = [0.0 if cutoff < START + day * DAY else 3.0 for cutoff in CUTOFFS]
    incumbent = Incumbent(champion(), forecasts(errors), START + day * DAY, quantiles=(0.5,))
    decision = decided(incumbent, boosting=forecasts([2, 2, 2]))
    assert (decision.replaces, row_of(decision).windows, row_of(decision).in_sample) == (True, windows, False)
    assert ("v1 learned from the others" in decision.reason) == (windows < 3)


def test_when_it_learned_from_all_windows_and_more_than_this_one_then_it_stays_and_the_reason_says_so() -> (
    None
):
    incumbent = Incumbent(champion(), forecasts([0.1] * 3), START + 59 * DAY, quantiles=(0.5,))
    decision = decided(incumbent, boosting=forecasts([2, 2, 2]))
    assert (decision.replaces, row_of(decision).in_sample) == (False, True)
    assert "v1 learned from these windows, which flatters it" in decision.reason


@pytest.mark.parametrize(("chosen_error", "replaces"), [(1.5, True), (2.5, False)])
def test_when_both_learned_from_the_same_values_then_the_family_of_before_stands_for_the_champion(
    chosen_error: float, replaces: bool
) -> None:
    incumbent = Incumbent(champion(), forecasts([0.1] * 3), START + 59 * DAY, True, (0.5,))
    tables = {"theta": forecasts([chosen_error] * 3), "boosting": forecasts([2.0] * 3)}
    decision = decided(incumbent, "theta", **tables)
    assert (decision.replaces, row_of(decision).in_sample) == (replaces, False)
    assert "v1 as boosting fitted before the windows" in decision.reason


@pytest.mark.parametrize(
    "error", [InvalidInput("it has h 12"), TimedOut("timed out after 3 s"), ValueError("odd")]
)
def test_when_the_champion_cannot_be_compared_then_it_stays_with_the_cause(error: Exception) -> None:
    decision = decided(Incumbent(champion(), error), boosting=forecasts([1, 1, 1]))
    assert (decision.replaces, row_of(decision).verdict) == (False, "not compared")
    assert "v1 could not be compared: " in decision.reason
    assert str(error.args[0] if error.args else error) in decision.reason


def test_when_the_champion_s_bundle_is_broken_then_it_is_replaced_since_it_answers_nobody() -> None:
    decision = decided(Incumbent(champion(), BundleBroken("m.bin is missing")), boosting=forecasts([1, 1, 1]))
    assert decision.replaces
    assert "m.bin is missing" in decision.reason


def test_when_the_quantiles_differ_then_the_wql_is_left_out() -> None:
    incumbent = Incumbent(champion("theta"), forecasts([1, 1, 1]), quantiles=(0.1, 0.5))
    row = row_of(decided(incumbent, boosting=forecasts([1, 1, 1])))
    assert (row.verdict, row.challenger_wql, row.incumbent_wql) == ("not worse", None, None)

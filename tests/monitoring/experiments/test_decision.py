"""The consequence of an assessment, from the verdict, the measures of both versions, and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring.experiments.decision import decide_action
from quantis.types.operations.experiments import ComparedLoss, ExperimentVerdict, VerdictState
from quantis.types.operations.online_experiments import (
    ArmFigures,
    AutoPromotion,
    ExperimentAction,
    ExperimentMode,
    GuardRails,
    OnlineExperiment,
    OnlineExperimentState,
    RampStep,
)

START = datetime(2026, 5, 1, tzinfo=UTC)
RAMP = (
    RampStep(percent=1, pairs=100),
    RampStep(percent=10, lasts=timedelta(days=2)),
    RampStep(percent=50, pairs=1000, lasts=timedelta(days=1)),
)
WAIT, ADVANCE, PROMOTE, ROLL_BACK, END = ExperimentAction


def trial(**values: Any) -> OnlineExperiment:
    defaults: dict[str, Any] = {
        "id": "1",
        "name": "trial",
        "model": "demand",
        "challenger": 2,
        "incumbent": 1,
        "mode": ExperimentMode.canary if values.get("ramp") else ExperimentMode.shadow,
        "share": 100,
        "replay_days": 0,
        "alpha": 0.05,
        "margin": 0.02,
        "loss": ComparedLoss.quantile,
        "promote": AutoPromotion.when_better,
        "roll_back": True,
        "guard_rails": GuardRails(),
        "lasts": timedelta(days=30),
        "state": OnlineExperimentState.running,
        "step": 0,
        "traffic": 0,
        "started_at": START,
        "step_started_at": START,
        "created_by": "ada",
    }
    return OnlineExperiment(**defaults | values)


def verdict(state: VerdictState, pairs: int = 500, high: float | None = 0.1) -> ExperimentVerdict:
    return ExperimentVerdict(
        state=state,
        reason=f"{state}: as scored",
        loss=ComparedLoss.quantile,
        estimate=0.0,
        low=-0.1,
        high=high,
        e_value=1.0,
        alpha=0.05,
        margin=0.02,
        points=pairs,
        pairs=pairs,
        series=1,
        blocks=1,
        effective_blocks=1.0,
        unpaired=0,
        assumed=(),
    )


def arm(
    requests: int = 100, error: float | None = 0.0, fallback: float | None = 0.0, seconds: float | None = 0.1
) -> ArmFigures:
    return ArmFigures(requests=requests, error_share=error, fallback_share=fallback, seconds=seconds)


def action(
    experiment: OnlineExperiment, state: VerdictState, days: float = 1.0, **values: Any
) -> ExperimentAction:
    now = START + timedelta(days=days)
    return decide_action(experiment, verdict(state, **values), arm(), arm(), now).action


@pytest.mark.parametrize(
    ("promote", "state", "high", "expected"),
    [
        (AutoPromotion.when_better, VerdictState.better, -0.01, PROMOTE),
        (AutoPromotion.when_better, VerdictState.equivalent, 0.01, END),
        (AutoPromotion.when_better, VerdictState.undecided, 0.1, WAIT),
        (AutoPromotion.when_not_worse, VerdictState.equivalent, 0.01, PROMOTE),
        (AutoPromotion.when_not_worse, VerdictState.undecided, 0.015, PROMOTE),
        (AutoPromotion.when_not_worse, VerdictState.undecided, 0.03, WAIT),
        (AutoPromotion.when_not_worse, VerdictState.undecided, None, WAIT),
        (AutoPromotion.off, VerdictState.better, -0.01, WAIT),
        (AutoPromotion.off, VerdictState.equivalent, 0.01, WAIT),
        (AutoPromotion.when_better, VerdictState.worse, 0.3, ROLL_BACK),
        (AutoPromotion.off, VerdictState.worse, 0.3, ROLL_BACK),
    ],
)
def test_when_a_shadow_has_a_verdict_then_its_promotion_rule_decides(
    promote: AutoPromotion, state: VerdictState, high: float | None, expected: ExperimentAction
) -> None:
    assert action(trial(promote=promote), state, high=high) is expected


def test_when_roll_back_is_off_then_a_worse_challenger_stays_and_gets_no_larger_share() -> None:
    assert action(trial(roll_back=False), VerdictState.worse) is WAIT
    canary = trial(roll_back=False, ramp=RAMP)
    assert action(canary, VerdictState.worse) is WAIT
    assert action(canary, VerdictState.undecided) is ADVANCE


@pytest.mark.parametrize(
    ("step", "days", "pairs", "expected"),
    [
        (0, 9, 99, WAIT),
        (0, 0, 100, ADVANCE),
        (1, 1.9, 5000, WAIT),
        (1, 2, 0, ADVANCE),
        (2, 1, 999, WAIT),
        (2, 0.9, 1000, WAIT),
        (2, 1, 1000, PROMOTE),
    ],
)
def test_when_a_canary_is_better_then_it_goes_through_its_ramp_before_it_is_promoted(
    step: int, days: float, pairs: int, expected: ExperimentAction
) -> None:
    assert action(trial(ramp=RAMP, step=step), VerdictState.better, days, pairs=pairs) is expected


def test_when_a_share_is_not_in_effect_then_the_ramp_waits() -> None:
    canary = trial(ramp=RAMP, step_started_at=None)
    assert action(canary, VerdictState.better, 9, pairs=5000) is WAIT
    assert action(canary, VerdictState.worse, 9, pairs=5000) is ROLL_BACK


def test_when_its_time_is_over_then_it_ends_unless_the_verdict_is_there() -> None:
    assert action(trial(), VerdictState.undecided, 30) is END
    assert action(trial(), VerdictState.better, 30) is PROMOTE
    assert action(trial(promote=AutoPromotion.off), VerdictState.better, 30) is END


@pytest.mark.parametrize(
    ("challenger", "incumbent", "words"),
    [
        (arm(error=0.06), arm(), "6.0% of the challenger's requests failed"),
        (arm(fallback=0.3), arm(fallback=0.15), "30.0% of the challenger's series fell back"),
        (arm(fallback=0.3), arm(0, None, None, None), "30.0% of the challenger's series fell back"),
        (arm(seconds=0.5), arm(seconds=0.1), "5 times as long"),
    ],
)
def test_when_a_guard_rail_breaks_then_it_rolls_back_whatever_the_verdict(
    challenger: ArmFigures, incumbent: ArmFigures, words: str
) -> None:
    for experiment in (trial(roll_back=False), trial(ramp=RAMP, step=2)):
        decision = decide_action(experiment, verdict(VerdictState.better), challenger, incumbent, START)
        assert decision.action is ROLL_BACK
        assert words in decision.reason


@pytest.mark.parametrize(
    ("challenger", "incumbent"),
    [
        (arm(19, error=1.0, fallback=1.0, seconds=9.0), arm()),
        (arm(error=0.05, fallback=0.1), arm()),
        (arm(error=0.5, fallback=0.5), arm(error=0.5, fallback=0.5)),
        (arm(seconds=9.0), arm(19)),
        (arm(seconds=None), arm()),
    ],
)
def test_when_there_are_few_requests_or_the_incumbent_is_as_bad_then_no_guard_rail_breaks(
    challenger: ArmFigures, incumbent: ArmFigures
) -> None:
    decision = decide_action(trial(), verdict(VerdictState.undecided), challenger, incumbent, START)
    assert decision.action is WAIT

"""The loop after the forecast, once: what the demo's held-out week left behind, and a model trained again for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import pytest

from jobs.demo import MODEL, SHOWN, WEEK
from jobs.demo_data import SERIES, TRAIN_AS_OF
from jobs.demo_week.trial import TRIAL
from jobs.demo_week.week import NO_VALUE
from quantis.client import Client
from quantis.types.job_specs import Family, TrainSpec
from quantis.types.operations.live import VintageKind
from quantis.types.operations.pipelines import PipelineDefinition, PipelineRun, PipelineStep
from quantis.types.registry import CHAMPION
from tests.platform.live import Live

POINTS = WEEK.days * 24 * SERIES
T = TypeVar("T")


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with live.client() as client:
        yield client


def wait_until(ask: Callable[[], T | None], seconds: float = 300) -> T:
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"nothing within {seconds:.0f} s"
        time.sleep(0.3)
    return answer


def test_when_the_week_arrived_then_each_forecast_of_it_is_scored_once_and_the_correction_says_so(
    live: Live, client: Client
) -> None:
    week = client.live(MODEL, "step", since=WEEK.start, until=WEEK.end, kinds=[VintageKind.online])
    assert week.overall.n == POINTS
    assert {(item.label, item.n) for item in week.items} == {
        (str(step), POINTS // 24) for step in range(1, 25)
    }
    assert week.corrected == 1
    assert live.report["week"]["live"]["n"] == POINTS
    assert len(live.report["week"]["days"]) == WEEK.days


def test_when_the_week_was_forecast_as_it_came_then_its_error_is_that_of_the_job_which_looks_back(
    live: Live,
) -> None:
    figures, scores = live.report["week"]["live"], live.report["scores"]
    assert figures["wape"] == pytest.approx(scores[MODEL]["wape"], rel=1e-6)
    assert figures["mase"] == pytest.approx(scores[MODEL]["mase"], rel=0.01)  # scaled by another history
    assert figures["wape"] < figures["seasonal_naive_wape"]
    assert figures["backtest_wape"] == pytest.approx(live.report["champion"]["metrics"]["wape"])
    assert 0.6 < figures["coverage_80"] < 0.95


def test_when_the_fault_was_planted_then_one_signed_notification_told_of_it_and_it_is_corrected(
    live: Live, client: Client
) -> None:
    alert = live.report["week"]["alert"]
    assert alert["verified"]
    delivery = client.alert_delivery(alert["delivery"])
    assert (delivery.state, delivery.channel_name) == ("delivered", "demo")
    assert [channel.enabled for channel in client.alert_channels() if channel.name == "demo"] == [False]
    stored = client.read_series("flights", SHOWN, start=WEEK.fault_at, end=WEEK.fault_at)
    evening = WEEK.fault_at + timedelta(hours=6)
    before = client.read_series("flights", SHOWN, as_of=evening, start=WEEK.fault_at, end=WEEK.fault_at)
    assert before.y == [NO_VALUE]
    assert stored.y != [NO_VALUE]


def test_when_the_week_is_over_then_the_challenger_has_its_verdict_and_has_answered_nobody(
    live: Live, client: Client
) -> None:
    trial = live.report["week"]["trial"]
    experiment = client.online_experiment(TRIAL).experiment
    assert experiment.latest is not None
    verdict = experiment.latest.verdict
    assert verdict.state == trial["verdict"]["state"]
    assert verdict.points == 24 * verdict.pairs
    if experiment.state == "rolled_back":  # as soon as it was seen to be worse
        assert SERIES <= verdict.pairs <= WEEK.days * SERIES
    else:
        assert (verdict.pairs, verdict.unpaired) == (WEEK.days * SERIES, 0)
    assert experiment.state in ("rolled_back", "stopped")
    shadows = client.live(MODEL, "version", since=WEEK.start, until=WEEK.end, kinds=[VintageKind.shadow])
    (challenger,) = shadows.items
    assert challenger.label == str(trial["challenger"])
    assert verdict.points <= challenger.n <= POINTS
    assert client.resolve(f"{MODEL}@{CHAMPION}").version == trial["incumbent"]


def test_when_a_forecast_of_the_week_is_made_again_then_it_is_the_same_to_the_bit(client: Client) -> None:
    rows = client.issued_forecasts(model=MODEL, limit=100).to_pylist()
    of_week = {row["forecast_id"] for row in rows if row["as_of"] == WEEK.origins[1]}
    reproductions = [client.reproduce(forecast_id) for forecast_id in sorted(of_week)]
    issued_online = [each for each in reproductions if each.identical is not None]
    assert issued_online
    assert all(each.identical for each in issued_online)


def test_when_a_pipeline_trains_again_then_its_version_is_a_candidate_and_the_champion_stays(
    client: Client,
) -> None:
    champion = client.resolve(f"{MODEL}@{CHAMPION}")
    train = TrainSpec(
        dataset="flights",
        model=MODEL,
        as_of=TRAIN_AS_OF,
        h=24,
        families=(Family.seasonal_naive,),
        n_windows=1,
    )
    steps = (
        PipelineStep(name="worth-it", condition=f"facts.{MODEL}.live_wape_over_naive < 1"),
        PipelineStep(name="train", needs=("worth-it",), job=train),
    )
    client.apply_pipeline("retrain", PipelineDefinition(steps=steps))
    run = client.run_pipeline("retrain")

    def ended_run() -> PipelineRun | None:
        now = client.pipeline_run("retrain", run.id)
        return now if now.state.final else None

    ended = wait_until(ended_run)
    assert [(step.name, step.state) for step in ended.steps] == [
        ("worth-it", "succeeded"),
        ("train", "succeeded"),
    ]
    trained = client.model_versions(MODEL)[0]
    assert trained.experiment == ended.steps[1].job_id
    assert trained.version > champion.version
    assert CHAMPION not in trained.aliases
    assert client.resolve(f"{MODEL}@{CHAMPION}").version == champion.version

"""Shadows of forecasts: made once each after the answers left, scored like them, returned to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sqlalchemy import delete, event

from cluster.database.tables import ForecastRow
from cluster.model_monitoring.calibration_updates import CalibrationUpdates
from cluster.model_monitoring.score_listeners import ScoresListener
from cluster.repositories.operations.experiment_arms import ArmCounts
from cluster.repositories.principals import Author
from models.families.naive import LastValue
from monitoring.experiments.verdict import decide_verdict
from quantis.client import Client
from quantis.panel import DS, ID
from quantis.types.forecasts import ForecastRequest
from quantis.types.operations.experiments import VerdictState
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import NewOnlineExperiment
from quantis.types.operations.shadows import ShadowProgress
from quantis.types.registry import Share, Traffic
from serve.operations.deployment import loops
from serve.operations.shadow_forecasts import is_sampled
from tests.serve.api_under_test import START, World
from tests.serve.operations.shadow_world import (
    INCUMBENT,
    LAST_VALUE,
    LEARNED,
    MODEL,
    SERIES,
    TEAM,
    TWIN,
    arrive,
    experiment,
    issue,
    loop,
    move,
    progress,
    replaying,
    scored,
    shadow,
    vintages,
)


@pytest.fixture
def world(trial_world: World) -> World:
    return trial_world


def without_identity(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("forecast_id", "issued_at")}


@contextmanager
def writes(world: World) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):  # caches are looked up by the clock
            seen.append(statement)

    event.listen(world.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(world.database.engine, "before_cursor_execute", note)


def test_when_a_challenger_runs_in_the_shadow_then_answers_and_what_they_write_are_the_same(
    world,
):
    asked = {"as_of": "2024-01-26T00:30:00Z"}
    issue(world, **asked)
    with writes(world) as before:
        plain = issue(world, **asked)
    assert shadow(world, replaying()).computed == 2
    with writes(world) as after:
        beside = issue(world, **asked)
    assert without_identity(beside) == without_identity(plain)
    assert after == before


def test_when_shadows_are_made_then_they_are_the_challengers_forecasts_on_the_same_rows_and_times(world):
    trial = experiment()
    issued = issue(world, h=12, quantiles=[0.1, 0.5, 0.9])
    assert shadow(world, trial).computed == 1
    rows = vintages(world, VintageKind.shadow)
    answered = vintages(world, VintageKind.online)
    same = [ID, DS, "cutoff", "step", "as_of", "issued_at", "dataset", "levels"]
    order = [(ID, "ascending"), (DS, "ascending")]
    assert rows.select(same).sort_by(order).equals(answered.select(same).sort_by(order))
    assert set(rows["version"].to_pylist()) == {LAST_VALUE}
    asked_for_it = world.client("admin").post(
        f"/v1/models/{MODEL}:{LAST_VALUE}/forecasts",
        json={
            "series": [{"unique_id": name} for name in SERIES],
            "h": 12,
            "quantiles": [0.1, 0.5, 0.9],
            "as_of": issued["as_of"],
        },
    )
    expected = [
        mean for entry in asked_for_it.json()["forecasts"] for mean in entry["mean"]
    ]  # in the order of SERIES, which is alphabetical
    assert rows.sort_by(order)["mean"].to_pylist() == expected


def test_when_shadows_are_stored_then_nobody_gets_them_as_answers_and_no_quota_counts_them(world):
    answered = issue(world)
    used = world.services.teams.forecast_bytes(TEAM)
    shadow(world, replaying())
    ids = set(vintages(world, VintageKind.replay)["forecast_id"].to_pylist())
    assert len(ids) == 1
    client = world.client("admin")
    for path in (f"/v1/forecasts/{min(ids)}", f"/v1/forecasts/{min(ids)}/reproduction"):
        assert client.get(path).status_code == 404
    listed = {row["forecast_id"] for row in client.get("/v1/forecasts").json()["items"]}
    assert listed == {answered["forecast_id"]}
    assert world.services.teams.forecast_bytes(TEAM) == used


def test_when_accuracy_is_asked_for_by_kind_then_shadows_are_told_and_else_left_out(world):
    issue(world)
    shadow(world, experiment(started_at=START))
    arrive(world, 0)
    move(world, [ScoresListener("calibration", CalibrationUpdates(world.services).update_calibration)])
    client = world.client("admin")
    served = client.get(f"/v1/models/{MODEL}/live?by=version").json()
    assert [row["label"] for row in served["items"]] == [str(INCUMBENT)]
    shadows = client.get(f"/v1/models/{MODEL}/live?by=version&kind=shadow").json()
    assert [(row["label"], row["n"]) for row in shadows["items"]] == [(str(LAST_VALUE), 48)]
    with (
        world.client() as http,
        Client("https://quantis.test", token=world.token("viewer"), transport=http._transport) as sdk,
    ):
        assert sdk.live(MODEL, "version", kinds=["shadow"]).overall.n == 48
    assert {state.version for state in world.services.calibrations.of_model(TEAM, MODEL)} <= {INCUMBENT}


def test_when_vintages_of_the_past_are_replayed_then_there_is_a_verdict_without_waiting(world):
    for day in range(12):
        issue(world)
        arrive(world, day)
    worse = shadow(world, replaying())
    assert (worse.computed, worse.replayed, worse.waiting) == (12, 12, 0)
    incumbent = scored(world, INCUMBENT, VintageKind.online)
    verdict = decide_verdict(scored(world, LAST_VALUE, VintageKind.replay), incumbent)
    assert (verdict.pairs, verdict.points, verdict.unpaired) == (24, 12 * 48, 0)
    assert verdict.state is VerdictState.worse
    shadow(world, replaying(challenger=TWIN, id="twin"))
    verdict = decide_verdict(scored(world, TWIN, VintageKind.replay), incumbent)
    assert (verdict.state, verdict.points) == (VerdictState.equivalent, 12 * 48)


def test_when_an_experiment_is_started_then_the_platforms_loop_makes_its_shadows_and_counts_for_its_guard_rails(
    world,
):
    author = Author("user", world.user_id("admin"), "admin")
    new = NewOnlineExperiment(name="trial", model=MODEL, challenger=LAST_VALUE)
    started = world.services.online_experiments.create(TEAM, author, new, INCUMBENT)
    issue(world, series=[{"unique_id": name} for name in (*SERIES, "nobody")])
    move(world)
    shadow_loop = next(loop for loop in loops(world.services) if loop.name == "shadow-forecasts")
    shadow_loop.tick()
    counts = world.services.experiment_arms.of_step(TEAM, started)
    assert counts == {
        (LAST_VALUE, VintageKind.shadow): ArmCounts(requests=1, series=3, fallbacks=1),
        (INCUMBENT, VintageKind.online): ArmCounts(requests=1, series=3, fallbacks=1),
    }
    told = world.services.shadows.progress(TEAM, started.id, MODEL)
    assert (told.computed, told.replayed, told.waiting) == (1, 0, 0)


def test_when_a_challenger_learned_what_followed_then_it_gives_no_evidence_and_says_so(world):
    for _ in range(3):
        issue(world)
    told = shadow(world, replaying(challenger=LEARNED))
    assert told == ShadowProgress(learned=3)
    assert vintages(world, VintageKind.replay, VintageKind.shadow).num_rows == 0


def test_when_a_share_is_sampled_then_it_is_the_same_forecasts_for_everybody(world):
    ids = [issue(world)["forecast_id"] for _ in range(8)]
    trial = replaying(share=50)
    told = shadow(world, trial)
    expected = [forecast_id for forecast_id in ids if is_sampled(trial.experiment.id, forecast_id, 50)]
    assert (told.computed, told.not_sampled) == (len(expected), 8 - len(expected))
    many = [is_sampled("trial", f"forecast-{number}", 10.0) for number in range(20_000)]
    assert sum(many) / len(many) == pytest.approx(0.1, abs=0.01)


def test_when_a_version_fails_then_its_forecasts_are_counted_as_failed_and_others_go_on(world, monkeypatch):
    issue(world)
    issue(world)
    told = shadow(world, replaying(challenger=99), replaying(challenger=TWIN, id="twin"))
    assert (told.failed, told.computed) == (2, 0)
    assert "version 99 of 'demand' cannot be loaded" in str(told.latest_failure)
    assert progress(world, replaying(id="twin")).computed == 2

    def broken(*_: Any) -> pa.Table:
        raise RuntimeError("no such luck")

    shadow_loop = loop(world, replaying(id="broken"))
    shadow_loop.engine.models.load(TEAM, world.registry.get(MODEL, LAST_VALUE))  # its bundle is sound
    monkeypatch.setattr(LastValue, "predict", broken)
    shadow_loop.tick()
    shadow_loop.close()
    told = progress(world, replaying(id="broken"))
    assert (told.failed, told.computed) == (2, 2)
    assert (told.series, told.fallbacks, told.incumbent_fallbacks) == (4, 4, 0)
    assert "the model failed: RuntimeError" in str(told.latest_failure)


def test_when_an_input_is_gone_then_the_forecast_is_counted_and_the_reason_told(world, monkeypatch):
    first, second = issue(world), issue(world)
    move(world)
    trial = replaying()
    shadow_loop = loop(world, trial)
    entries_after = shadow_loop._shadows.entries_after

    def forgotten_meanwhile(*arguments: Any) -> Any:
        entries = entries_after(*arguments)
        with world.services.database.write() as session:
            session.execute(delete(ForecastRow).where(ForecastRow.id == first["forecast_id"]))
        return entries

    monkeypatch.setattr(shadow_loop._shadows, "entries_after", forgotten_meanwhile)
    shadow_loop.tick()
    shadow_loop.close()
    told = progress(world, trial)
    assert (told.computed, told.gone) == (1, 1)
    assert first["forecast_id"] in str(told.latest_gap)
    assert second["forecast_id"] not in str(told.latest_gap)


def test_when_a_challenger_has_a_share_then_each_version_is_made_for_the_series_of_the_other(world):
    world.registry.set_traffic(MODEL, Traffic(shares=(Share(version=LAST_VALUE, percent=50),)))
    try:
        names = [*SERIES, "TINY/T1", "GAP/G4", "OLD/O1"]
        answered = issue(world, series=[{"unique_id": name} for name in names])
    finally:
        world.registry.set_traffic(MODEL, Traffic())
    by_version: dict[int, set[str]] = {INCUMBENT: set(), LAST_VALUE: set()}
    for entry in answered["forecasts"]:
        if entry["ds"]:
            by_version[entry["version"]].add(entry["unique_id"])
    assert all(by_version.values()), "the toy's ids fall into both shares"
    shadow(world, replaying())
    rows = vintages(world, VintageKind.replay)
    for version, other in ((INCUMBENT, LAST_VALUE), (LAST_VALUE, INCUMBENT)):
        assert set(rows.filter(pc.field("version") == version)[ID].to_pylist()) <= by_version[other]
    assert set(rows[ID].to_pylist()) == by_version[INCUMBENT] | by_version[LAST_VALUE]


def test_when_a_job_issued_a_forecast_then_it_has_a_shadow_unless_it_was_reconciled(world):
    engine = world.forecaster.engine
    answered = issue(world)
    stored = engine.vintages.stored(TEAM, answered["forecast_id"])
    nodes = ForecastRequest.model_validate({"series": [{"unique_id": name} for name in ("total", SERIES[0])]})
    for number, request in enumerate((stored.request, nodes)):
        response = stored.response.model_copy(update={"forecast_id": f"job-{number}"})
        world.services.vintages.append(TEAM, request, response, VintageKind.batch)
    told = shadow(world, replaying())
    assert (told.computed, told.gone) == (2, 1)
    assert "reconciled over a hierarchy" in str(told.latest_gap)

"""Forecasts meet their actuals: moved once, scored once, again when corrected, and by what was known."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import zstandard

from cluster.database.tables import ForecastRow
from cluster.model_monitoring.scorer import Scorer
from cluster.model_monitoring.tables import MonitoringTables
from quantis.types.teams import Quota
from tests.serve.api_under_test import PASSWORD, World

SERIES = "JFK/B6"
MODEL = "/v1/models/demand"


def issue(world: World, **request: Any) -> dict[str, Any]:
    body = {"series": [{"unique_id": SERIES}], **request}
    response = world.client("admin").post(f"{MODEL}/forecasts", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def arrive(world: World, ds: list[str], y: list[float | None]) -> None:
    series = [{"unique_id": SERIES, "ds": ds, "y": y}]
    response = world.client("admin").post("/v1/datasets/flights/observations", json={"series": series})
    assert response.status_code == 201, response.text


def live(world: World, query: str = "") -> dict[str, Any]:
    scorer = Scorer(world.services)
    scorer.tick()
    scorer.close()
    response = world.client("admin").get(f"{MODEL}/live{query}")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def entry(forecast):
    return forecast["forecasts"][0]


def stored_y(world: World) -> dict[str, float]:
    """Return the values of the series by their times."""
    read = world.client("admin").get(f"/v1/datasets/flights/series/{SERIES}").json()
    return dict(zip(read["ds"], read["y"], strict=True))


def test_when_actuals_come_then_accuracy_by_step_equals_a_plain_recomputation(world):
    forecasts = [issue(world)]
    first = entry(forecasts[0])
    arrive(world, first["ds"][:2], [5.0, 6.5])
    forecasts.append(issue(world))
    arrive(world, first["ds"][2:6], [7.0, 8.0, 0.0, 3.0])
    report = live(world, "?by=step")
    actuals = dict(zip(first["ds"][:6], [5.0, 6.5, 7.0, 8.0, 0.0, 3.0], strict=True))
    known = stored_y(world)
    points = []
    for forecast in forecasts:
        one = entry(forecast)
        for step, ds in enumerate(one["ds"], start=1):
            if ds in actuals:
                source = datetime.fromisoformat(ds) - timedelta(days=-(-step // 24))
                naive_value = known[source.strftime("%Y-%m-%dT%H:%M:%SZ")]
                quantiles = {float(level): values[step - 1] for level, values in one["quantiles"].items()}
                points.append((step, actuals[ds], quantiles, naive_value, one["mean"][step - 1]))
    assert report["overall"]["n"] == len(points) == 10
    for row in report["items"]:
        mine = [point for point in points if point[0] == int(row["label"])]
        total = sum(abs(y) for _, y, *_ in mine)
        assert row["n"] == len(mine)
        if total:
            assert row["wape"] == pytest.approx(sum(abs(y - q[0.5]) for _, y, q, *_ in mine) / total)
            assert row["bias"] == pytest.approx(sum(mean - y for _, y, _, _, mean in mine) / total)
            loss = sum(
                np.mean(
                    [2 * max(level * (y - value), (level - 1) * (y - value)) for level, value in q.items()]
                )
                for _, y, q, *_ in mine
            )
            assert row["wql"] == pytest.approx(loss / total)
            naive = row["seasonal_naive"]
            assert naive["wape"] == pytest.approx(sum(abs(y - value) for _, y, _, value, _ in mine) / total)
            assert naive["n"] == len(mine)
        inside = [q[0.1] <= y <= q[0.9] for _, y, q, *_ in mine]
        assert row["coverage"]["80"] == pytest.approx(np.mean(inside))
    assert report["waiting"] == 2 * 24 - 10


def test_when_an_actual_is_corrected_then_it_is_scored_again_and_the_last_one_counts(world):
    one = entry(issue(world))
    arrive(world, one["ds"][:2], [5.0, 6.0])
    assert live(world)["corrected"] == 0
    arrive(world, one["ds"][:1], [50.0])
    report = live(world, "?by=step")
    assert (report["overall"]["n"], report["corrected"]) == (2, 1)
    first = report["items"][0]
    assert first["wape"] == pytest.approx(abs(50 - one["quantiles"]["0.5"][0]) / 50)
    rows = MonitoringTables.of_team(world.settings.data_layout, "default").scores.read()
    assert sorted(rows["y"].to_pylist()) == [5.0, 6.0, 50.0]
    assert sorted(rows["correction"].to_pylist()) == [False, False, True]
    arrive(world, one["ds"][1:2], [None])
    assert live(world)["overall"]["n"] == 1


def test_when_a_forecast_looks_back_then_it_is_no_live_one(world):
    last = "2024-01-20T00:00:00Z"
    assert entry(issue(world, as_of=last))["status"] != "refused"
    report = live(world)
    assert report["overall"]["n"] == 0
    assert report["hindsight"] == 24


def test_when_covariates_are_changed_on_purpose_then_the_scenario_is_kept_apart(world):
    plain = entry(issue(world))
    assert "scenario" not in plain
    dull = [{"unique_id": SERIES, "futr_exog": {"scheduled": [0.0] * 24}}]
    changed = entry(issue(world, series=dull))
    arrive(world, plain["ds"][:3], [1.0, 2.0, 3.0])
    report = live(world)
    if changed.get("scenario"):  # the store knows what is scheduled then
        assert (report["overall"]["n"], report["scenarios"]) == (3, 3)
    else:
        assert (report["overall"]["n"], report["scenarios"]) == (6, 0)


def test_when_nothing_is_new_then_nothing_is_scored_again_whoever_asks(world):
    one = entry(issue(world))
    arrive(world, one["ds"][:4], [1.0, 2.0, 3.0, 4.0])
    scorer = Scorer(world.services)
    assert scorer.score_team("default") == 4
    assert scorer.score_team("default") == 0
    assert Scorer(world.services).score_team("default") == 0
    rows = MonitoringTables.of_team(world.settings.data_layout, "default").scores.read()
    assert set(
        Counter(zip(rows["forecast_id"].to_pylist(), rows["ds"].to_pylist(), strict=True)).values()
    ) == {1}


def test_when_another_process_holds_the_lease_then_this_one_does_nothing(world):
    issue(world)
    Scorer(world.services).tick()
    one = entry(issue(world))
    arrive(world, one["ds"][:1], [1.0])
    Scorer(world.services).tick()
    assert MonitoringTables.of_team(world.settings.data_layout, "default").scores.count() == 0


def test_when_one_team_s_tables_are_broken_then_the_others_are_scored_all_the_same(world, caplog):
    first = entry(issue(world))
    arrive(world, first["ds"][:1], [5.0])
    new = {"name": "a-first-team", "admin_name": "eve", "admin_password": PASSWORD}
    assert world.client("admin").post("/v1/teams", json=new).status_code == 201
    log = world.settings.data_layout.monitoring("a-first-team") / "vintages" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("{torn")
    assert live(world)["overall"]["n"] == 1
    assert "team a-first-team could not be scored" in caplog.text


def test_when_accuracy_is_cut_then_each_dimension_adds_up_to_the_whole(world):
    one = entry(issue(world))
    arrive(world, one["ds"][:6], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    for dimension in ("day", "series", "step", "version", "segment", "method"):
        report = live(world, f"?by={dimension}")
        assert sum(row["n"] for row in report["items"]) == report["overall"]["n"] == 6, dimension
    assert live(world, "?by=segment")["items"][0]["label"].startswith("carrier = ")
    since = one["ds"][4].replace(":", "%3A")
    assert live(world, f"?since={since}")["overall"]["n"] == 2
    page = live(world, "?by=step&limit=4")
    rest = live(world, f"?by=step&limit=4&cursor={page['next_cursor']}")
    assert [row["label"] for row in page["items"] + rest["items"]] == ["1", "2", "3", "4", "5", "6"]
    assert rest["next_cursor"] is None


def test_when_a_model_is_unknown_then_it_is_404(world, problem):
    problem(world.client("admin").get("/v1/models/demnd/live"), 404, "not_found")


def test_when_forecasts_are_kept_for_a_time_then_older_ones_and_their_scores_go(world):
    old, new = issue(world), issue(world)
    ds = entry(old)["ds"]
    arrive(world, ds[:2], [5.0, 6.0])
    with world.services.database.write() as session:  # it was issued forty days ago
        row = session.get(ForecastRow, ("default", old["forecast_id"]))
        stored = world.services.vintages.stored("default", old["forecast_id"])
        then = stored.response.issued_at - timedelta(days=40)
        row.issued_at = then
        changed = stored.response.model_copy(update={"issued_at": then})
        row.response = zstandard.compress(changed.model_dump_json().encode())
    assert live(world)["overall"]["n"] == 4
    world.services.teams.set_quota("default", Quota(forecast_days=30))
    assert live(world)["overall"]["n"] == 2
    tables = MonitoringTables.of_team(world.settings.data_layout, "default")
    for table in (tables.vintages, tables.scores):
        assert set(table.read()["forecast_id"].to_pylist()) == {new["forecast_id"]}
    assert world.client("admin").get(f"/v1/forecasts/{old['forecast_id']}").status_code == 404
    assert world.client("admin").get(f"/v1/forecasts/{new['forecast_id']}").status_code == 200

"""Anomalies and drift of a stored dataset, through the API, the SDK's types and the CLI."""

from __future__ import annotations

import json
import socket
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
import uvicorn

from cluster.model_monitoring.scorer import Scorer
from quantis.cli.main import run
from quantis.client import Client
from quantis.types.operations.anomalies import DatasetAnomalies
from quantis.types.operations.drift import DatasetDrift, DriftAspect, DriftKind
from tests.serve.api_under_test import World
from tests.serve.operations.test_scorer import arrive, entry, issue

DATASET = "/v1/datasets/flights"


def read(world: World, path: str, **parameters: Any) -> dict[str, Any]:
    response = world.client("admin").get(f"{DATASET}{path}", params=parameters)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def score(world: World) -> None:
    scorer = Scorer(world.services)
    scorer.tick()
    scorer.close()


def test_when_an_actual_is_far_outside_its_forecast_then_it_is_an_anomaly_of_its_append(world: World) -> None:
    forecast = entry(issue(world))
    median = forecast["quantiles"]["0.5"]
    arrive(world, forecast["ds"][:1], [median[0]])
    arrive(world, forecast["ds"][1:3], [median[1], median[2] + 10_000])
    score(world)
    report = DatasetAnomalies.model_validate(read(world, "/anomalies"))
    assert (report.appends, report.points) == (2, 3)
    assert [(item.ds.isoformat(), item.y) for item in report.items] == [
        (datetime.fromisoformat(forecast["ds"][2]).isoformat(), median[2] + 10_000)
    ]
    item = report.items[0]
    assert item.model == "demand"
    assert item.expected == pytest.approx(median[2])
    assert item.score > 5
    elsewhere = {"until": (item.known_at - timedelta(days=400)).isoformat(), "since": "2001-01-01T00:00:00Z"}
    assert read(world, "/anomalies", **elsewhere)["points"] == 0
    assert read(world, "/anomalies", model="demand", limit=1)["next_cursor"] is None


def test_when_an_anomaly_is_corrected_then_it_is_none_any_more(world: World) -> None:
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:1], [99_999.0])
    score(world)
    assert len(read(world, "/anomalies")["items"]) == 1
    arrive(world, forecast["ds"][:1], [forecast["quantiles"]["0.5"][0]])
    score(world)
    assert read(world, "/anomalies")["items"] == []


def test_when_a_dataset_shifts_then_its_drift_names_the_series_and_says_how_late_it_is(world: World) -> None:
    calm = DatasetDrift.model_validate(read(world, "/drift"))
    assert calm.drift.tested > 0
    assert calm.drift.window == 14
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:14], [500.0] * 14)
    score(world)
    report = DatasetDrift.model_validate(read(world, "/drift", model="demand"))
    assert report.version > calm.version
    level = [
        finding
        for finding in report.drift.findings
        if (finding.kind, finding.aspect) == (DriftKind.target, DriftAspect.level)
    ]
    assert "JFK/B6" in {part.unique_id for finding in level for part in finding.parts}
    assert not report.freshness.on_time, "the flights are of 2024 or so"
    assert report.freshness.newest_ds is not None
    assert report.freshness.newest_ds.isoformat() == datetime.fromisoformat(forecast["ds"][13]).isoformat()


@pytest.mark.parametrize("path", ["/v1/datasets/nothing/drift", "/v1/datasets/nothing/anomalies"])
def test_when_a_dataset_is_not_there_then_the_report_says_so(world: World, path: str) -> None:
    assert world.client("admin").get(path).status_code == 404


def test_when_a_model_is_not_there_then_the_drift_says_so(world: World) -> None:
    assert world.client("admin").get(f"{DATASET}/drift", params={"model": "nothing"}).status_code == 404


def test_when_the_client_asks_then_it_gets_all_pages_of_anomalies_and_the_drift(world: World) -> None:
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:2], [50_000.0, 60_000.0])
    score(world)
    with (
        world.client() as http,
        Client("https://quantis.test", token=world.token("viewer"), transport=http._transport) as client,
    ):
        assert {item.y for item in client.anomalies("flights", model="demand").items} == {50_000.0, 60_000.0}
        assert len(client.anomalies("flights", limit=1).items) == 1
        assert client.drift("flights", model="demand").model == "demand"


def test_when_the_command_line_asks_then_it_shows_what_the_api_says(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = entry(issue(world))
    arrive(world, forecast["ds"][:14], [500.0] * 14)
    score(world)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    monkeypatch.setenv("QUANTIS_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("QUANTIS_TOKEN", world.token("viewer"))
    try:
        for command, text in (("anomalies", "14 actuals of 1 appends"), ("drift", "JFK/B6")):
            assert run([command, "flights", "--model", "demand"]) == 0
            shown = capsys.readouterr()
            assert text in shown.out + shown.err
            assert run([command, "flights", "--json"]) == 0
            assert json.loads(capsys.readouterr().out)
    finally:
        server.should_exit = True
        thread.join(10)

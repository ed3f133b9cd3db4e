"""Issued forecasts and those of jobs, fetched in each format, by page, and by nobody else's team."""

from __future__ import annotations

import io
import tracemalloc
from datetime import timedelta

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from quantis.panel import TIMESTAMP
from serve.security.concurrency_limits import STREAMS, ConcurrencyBounds
from tests.serve.api_under_test import START
from tests.serve.issued import backtested, batch, entry, issue

PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
FORMULAS = ["=1+1", "＝1+1", "+a", "－b", "@SUM(A1)", "\t=x", " =2", "plain"]


def read(answer):
    """The table of an answer in any binary format, or of its CSV."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == PARQUET:
        return pq.read_table(io.BytesIO(answer.content))
    if kind == ARROW:
        return pa.ipc.open_stream(answer.content).read_all()
    assert kind == "text/csv"
    return pacsv.read_csv(io.BytesIO(answer.content))


def fetch(client, path, kind, **params):
    return client.get(path, params=params, headers={"Accept": kind})


@pytest.mark.parametrize("kind", [PARQUET, ARROW, "text/csv"])
def test_when_a_batch_forecast_is_fetched_then_each_format_has_every_step_and_the_refused(world, kind):
    job = batch(world, [entry("a"), entry("b", 0)])
    answer = fetch(world.client("viewer"), f"/v1/jobs/{job}/forecasts", kind)
    table = read(answer)
    assert table["unique_id"].to_pylist() == ["a", "a", "a", "b"]
    assert table["mean"].to_pylist() == [0.0, 1.0, 2.0, None]
    assert table["q0.9"].to_pylist() == [0.0, 1.0, 2.0, None]
    assert table["status"].to_pylist() == ["ok", "ok", "ok", "refused"]
    assert "attachment" in answer.headers["content-disposition"]
    if kind != "text/csv":
        assert table["ds"].to_pylist() == [*(START + timedelta(hours=step) for step in range(3)), None]


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/*", "text/csv;q=0.5, */*;q=0.9"]
)
def test_when_no_other_format_is_preferred_then_it_is_json(world, accept):
    job = batch(world, [entry("a")])
    client = world.client("viewer")
    if accept is None:
        client.headers.pop("accept")
    answer = client.get(f"/v1/jobs/{job}/forecasts", headers={"Accept": accept} if accept else {})
    body = answer.json()
    first = body["items"][0]
    assert (first["unique_id"], first["ds"], first["quantiles"]) == (
        "a",
        "2024-01-01T00:00:00Z",
        {"0.1": 0, "0.9": 0},
    )
    assert (len(body["items"]), body["next_cursor"]) == (3, None)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{PARQUET};q=0.5, {ARROW}", ARROW),
        ("application/json;q=0, application/*", PARQUET),
        ("TEXT/CSV", "text/csv"),
        (f"image/png, {PARQUET};q=0.1", PARQUET),
    ],
)
def test_when_accept_has_qualities_then_the_best_that_there_is_comes(world, accept, kind):
    job = batch(world, [entry("a")])
    answer = fetch(world.client("viewer"), f"/v1/jobs/{job}/forecasts", accept)
    assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("path", ["/v1/forecasts", "/v1/jobs/{job}/forecasts"])
@pytest.mark.parametrize("accept", ["application/xml", "image/*", "application/json;q=0"])
def test_when_no_format_of_ours_is_accepted_then_it_is_406_with_those_there_are(world, problem, path, accept):
    job = batch(world, [entry("a")])
    answer = fetch(world.client("viewer"), path.format(job=job), accept)
    assert PARQUET in problem(answer, 406, "not_acceptable")["detail"]


@pytest.mark.parametrize("kind", ["text/csv", PARQUET])
def test_when_an_id_reads_as_a_formula_then_csv_alone_keeps_it_from_running(world, kind):
    job = batch(world, [entry(text, 1) for text in FORMULAS])
    names = read(fetch(world.client("viewer"), f"/v1/jobs/{job}/forecasts", kind))["unique_id"].to_pylist()
    expected = [f"'{text}" for text in FORMULAS[:-1]] + ["plain"] if kind == "text/csv" else FORMULAS
    assert names == expected


def test_when_only_some_series_are_asked_for_then_only_they_come(world):
    job = batch(world, [entry("a"), entry("b"), entry("c")])
    path = f"/v1/jobs/{job}/forecasts"
    table = read(fetch(world.client("viewer"), path, ARROW, series=["c", "a"]))
    assert table["unique_id"].unique().to_pylist() == ["a", "c"]
    assert read(fetch(world.client("viewer"), path, ARROW, series="nobody")).num_rows == 0


def test_when_a_backtest_is_fetched_then_it_is_a_cross_validation_frame(world):
    rows = pa.table(
        {
            "model": ["theta", "naive"], "unique_id": ["a", "a"], "ds": pa.array([START, START], TIMESTAMP),
            "cutoff": pa.array([START - timedelta(hours=1)] * 2, TIMESTAMP), "y": [1.5, None],
            "mean": [1.0, float("nan")], "q0.1": [0.5, None],
        }
    )  # fmt: skip
    path = f"/v1/jobs/{backtested(world, rows)}/forecasts"
    viewer = world.client("viewer")
    table = read(fetch(viewer, path, PARQUET))
    assert table.column_names == ["unique_id", "ds", "cutoff", "y", "model", "mean", "q0.1"]
    assert table["y"].to_pylist() == [1.5, None]
    only = viewer.get(path, params={"model": "naive"}).json()["items"]
    assert only == [
        {
            "unique_id": "a", "ds": "2024-01-01T00:00:00Z", "cutoff": "2023-12-31T23:00:00Z", "y": None,
            "model": "naive", "mean": None, "quantiles": {"0.1": None},
        }
    ]  # fmt: skip


def test_when_a_job_has_no_forecasts_then_the_answer_says_why(world, problem):
    analyst = world.client("analyst")
    spec = {"kind": "forecast", "dataset": "flights", "model": "demand"}
    waiting = analyst.post("/v1/jobs", json={"spec": spec}).json()["id"]
    detail = problem(analyst.get(f"/v1/jobs/{waiting}/forecasts"), 409, "conflict")["detail"]
    assert "PENDING" in detail
    other = world.client("ml_engineer").post(
        "/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}}
    )
    detail = problem(analyst.get(f"/v1/jobs/{other.json()['id']}/forecasts"), 404, "not_found")["detail"]
    assert "featurize" in detail
    old = batch(world, [entry("a")])
    world.settings.data_layout.batch_forecasts("default", old).unlink()
    assert "/v1/forecasts" in problem(analyst.get(f"/v1/jobs/{old}/forecasts"), 404, "not_found")["detail"]


def test_when_issued_forecasts_are_read_page_by_page_then_each_comes_once_and_newest_first(world):
    for number in range(5):
        issue(world, number, [entry("a", 1), entry("b", 1, ("0.5",) if number == 3 else ("0.1",))])
    issue(world, 9, [entry("a", 1)], model="other")
    viewer = world.client("viewer")
    seen, columns, url = [], [], "/v1/forecasts?model=demand&series=b&limit=2"
    while url:
        answer = viewer.get(url, headers={"Accept": ARROW})
        table = read(answer)
        seen += table["forecast_id"].to_pylist()
        columns.append([name for name in table.column_names if name.startswith("q")])
        assert set(table["unique_id"].to_pylist()) == {"b"}
        url = answer.links.get("next", {}).get("url")
    assert seen == [f"f-{number}" for number in (4, 3, 2, 1, 0)]
    assert columns == [["q0.1", "q0.5"], ["q0.1"], ["q0.1"]]
    page = viewer.get("/v1/forecasts", params={"limit": 1}).json()
    assert [item["model"] for item in page["items"]] == ["other"]
    after = viewer.get("/v1/forecasts", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert {item["forecast_id"] for item in after["items"]} == {"f-4"}
    late = viewer.get(
        "/v1/forecasts", params={"issued_after": (START + timedelta(minutes=3)).isoformat()}
    ).json()
    assert {item["forecast_id"] for item in late["items"]} == {"f-9", "f-4"}


@pytest.mark.parametrize("query", ["limit=101", "limit=0", "cursor=xyz", "issued_after=5", "model=No"])
def test_when_a_filter_is_none_then_it_is_422(world, problem, query):
    problem(world.client("viewer").get(f"/v1/forecasts?{query}"), 422, "invalid_input")


def test_when_another_team_s_forecasts_are_asked_for_then_there_are_none(world):
    issue(world, 1, [entry("a")], team="rivals")
    assert world.client("viewer").get("/v1/forecasts").json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("kind", ["application/json", "text/csv", PARQUET, ARROW])
def test_when_a_table_is_large_then_it_is_never_in_memory_as_a_whole(world, kind):
    from serve.http import table_response

    schema = pa.schema([("unique_id", pa.string()), ("mean", pa.float64())])
    rows = pa.record_batch(
        {"unique_id": [f"series-{n}" for n in range(5000)], "mean": [0.1 * n for n in range(5000)]}
    )
    table = table_response.StreamedTable(schema, (rows for _ in range(20)), "large")
    chunks = table_response._WRITERS[kind](table)
    next(chunks)
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    total = largest = 0
    for chunk in chunks:
        total += len(chunk)
        largest = max(largest, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 300_000
    assert max(peak, largest) < 10_000_000


def test_when_a_batch_forecast_names_no_score_then_it_is_of_the_future(world, problem):
    from quantis.types.job_specs import ForecastSpec

    assert ForecastSpec(dataset="flights", model="demand").score is False
    for extra in ({"origins": 3}, {"baselines": ["scheduled"]}):
        spec = {"kind": "forecast", "dataset": "flights", "model": "demand", **extra}
        answer = world.client("analyst").post("/v1/jobs", json={"spec": spec})
        assert "score=true" in problem(answer, 422, "invalid_input")["detail"]
        assert (
            world.client("analyst").post("/v1/jobs", json={"spec": {**spec, "score": True}}).status_code
            == 202
        )


def test_when_a_caller_has_many_downloads_open_then_another_is_429_and_each_place_comes_back(
    world, problem, monkeypatch
):
    job = batch(world, [entry("a")])
    viewer = world.client("viewer")
    for path in (f"/v1/jobs/{job}/forecasts", "/v1/forecasts"):
        assert all(viewer.get(path).status_code == 200 for _ in range(STREAMS.caller + 1))
        assert world.services.open_streams.total == 0
        monkeypatch.setattr(
            world.services.open_streams, "_bounds", ConcurrencyBounds(caller=0, team=9, process=9)
        )
        problem(viewer.get(path), 429, "too_many_requests")
        monkeypatch.undo()

"""What a backtest job kept, over HTTP: the summary, the figures page by page, and whose they are."""

from __future__ import annotations

import pytest

from cluster.repositories.backtests import Backtests
from models.evaluation.breakdown import SCHEMA
from models.evaluation.metrics import METRICS
from quantis.types.jobs import JobState
from quantis.types.registry import Backtest, LeaderboardRow, ModelCard
from tests.serve.api_under_test import START

SPEC = {
    "kind": "backtest",
    "dataset": "flights",
    "h": 4,
    "families": ["statistical"],
    "segments": ["carrier"],
}


@pytest.fixture
def client(world):
    return world.client("analyst")


@pytest.fixture
def done(world, client):
    """A backtest of two models over three series that ended well."""
    job = client.post("/v1/jobs", json={"spec": SPEC}).json()["id"]
    row = LeaderboardRow(rank=1, model="statistical", family="statistical", mase=0.5, wql=0.1, wape=0.2,
                         coverage_80=0.8, seconds=1.0, skill=0.5, p_value=0.01, verdict="better")  # fmt: skip
    summary = Backtest(
        id=job, dataset="flights", dataset_version=1, mode="plain", cutoffs=[START], h=4, refit=False, rows=[row],
        overall=[], dimensions=["series"],
    )  # fmt: skip
    values = dict.fromkeys(METRICS, 0.5) | {"coverage_95": None}
    rows = [
        {"model": model, "label": label, "rows": 4, **values}
        for model in ("seasonal_naive_24", "statistical")
        for label in ("a", "b", "c")
    ]
    table = SCHEMA.empty_table().from_pylist(rows, SCHEMA)
    Backtests(world.settings.data_layout).save("default", job, {"series": table})
    result = {"backtest": summary.model_dump(mode="json")}
    world.services.jobs.finish("default", job, JobState.succeeded, "done", result)
    return job, summary


def test_when_a_backtest_has_ended_then_its_summary_is_there(client, done):
    job, summary = done
    assert Backtest.model_validate(client.get(f"/v1/backtests/{job}").json()) == summary


def test_when_figures_are_read_page_by_page_then_each_comes_once_and_in_order(client, done):
    job, _ = done
    seen, cursor = [], None
    while True:
        page = client.get(
            f"/v1/backtests/{job}/series", params={"limit": 4, "cursor": cursor} if cursor else {"limit": 4}
        )
        body = page.json()
        seen += [(row["model"], row["label"]) for row in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert seen == [(m, s) for m in ("seasonal_naive_24", "statistical") for s in ("a", "b", "c")]
    (only,) = client.get(f"/v1/backtests/{job}/series", params={"model": "statistical", "limit": 1}).json()[
        "items"
    ]
    assert (only["label"], only["metrics"]["mase"], only["metrics"]["coverage_95"]) == ("a", 0.5, None)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/segment", 404), ("/colour", 422), ("/series?cursor=xyz", 422), ("/series?limit=0", 422)],
)
def test_when_figures_cannot_be_had_then_the_answer_says_so(client, done, path, status):
    assert client.get(f"/v1/backtests/{done[0]}{path}").status_code == status


def test_when_a_job_is_no_backtest_then_it_is_404_and_says_which_has_one(client, problem, world):
    job = client.post("/v1/jobs", json={"spec": SPEC}).json()["id"]
    body = problem(client.get(f"/v1/backtests/{job}"), 404, "not_found")
    assert "a backtest job that succeeded" in body["detail"]
    problem(client.get("/v1/backtests/unknown/series"), 404, "not_found")


def test_when_a_viewer_asks_for_a_backtest_then_it_may_read_and_not_start_one(world, done, problem):
    viewer = world.client("viewer")
    assert viewer.get(f"/v1/backtests/{done[0]}").status_code == 200
    problem(viewer.post("/v1/jobs", json={"spec": SPEC}), 403, "forbidden")


def test_when_a_card_is_asked_for_then_it_tells_data_figures_and_limits(world, client):
    card = ModelCard.model_validate(client.get("/v1/models/demand@champion/card").json())
    assert card.markdown.startswith(f"# demand, version {card.version}")
    for part in (
        "## What it was found to be worth",
        "## What it is not for",
        "## What made it",
        "flights version 1",
    ):
        assert part in card.markdown


def test_when_a_family_is_unknown_then_the_request_is_refused_with_those_there_are(client, problem):
    body = problem(
        client.post("/v1/jobs", json={"spec": SPEC | {"families": ["prophet"]}}), 422, "invalid_input"
    )
    assert "'prophet' is not known here; choose among boosting" in body["detail"]
    assert "QUANTIS_MODEL_MODULES" in body["detail"]
    problem(client.post("/v1/jobs", json={"spec": SPEC | {"families": ["os; rm"]}}), 422, "invalid_input")

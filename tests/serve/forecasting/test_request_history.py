"""Imports by address, the report of a version, revisions of a series, and covariates known in advance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.api_under_test import World

SPEC = {"name": "sales", "freq": "D", "roles": {"hist_exog": ["temp"], "futr_exog": ["price"]}}
LINES = [
    "unique_id,ds,y,temp,price",
    *(f"a,2024-01-{day:02},{day},{day / 2},{day % 4}" for day in range(1, 21)),
]
AHEAD = "a,2024-01-21,,,9"
CSV = {"Content-Type": "text/csv"}


def upload(client: TestClient, lines: list[str]) -> Any:
    answer = client.post("/v1/datasets/sales/versions?file=x.csv", content="\n".join(lines), headers=CSV)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def declared(client: TestClient) -> TestClient:
    client.post("/v1/datasets", json=SPEC).raise_for_status()
    return client


@pytest.fixture
def importing(world: World, tmp_path: Path) -> tuple[TestClient, Path]:
    """A client of an API that imports from a folder of the team, which it returns."""
    folder = tmp_path / "in"
    (folder / "default").mkdir(parents=True)
    settings = world.settings.model_copy(update={"import_urls": f"s3://other/x, file://{folder}/{{team}}"})
    client = replace(world, settings=settings).client("admin")
    client.post("/v1/datasets", json=SPEC).raise_for_status()
    return client, folder / "default"


def test_when_a_file_lies_where_imports_are_allowed_then_it_becomes_a_version_as_an_upload_would(
    importing: tuple[TestClient, Path], problem: Callable[..., Any], world: World
) -> None:
    client, folder = importing
    (folder / "sales.csv").write_text("\n".join(LINES).replace("ds,", "date,"))
    body = {"url": f"file://{folder}/sales.csv", "options": {"columns": {"date": "ds"}}}
    made = client.post("/v1/datasets/sales/imports", json=body)
    assert (made.status_code, made.json()["created"], made.json()["report"]["file"]) == (
        201,
        True,
        "sales.csv",
    )
    again = client.post("/v1/datasets/sales/imports", json=body)
    assert (again.status_code, again.json()["created"]) == (200, False)
    same = client.post("/v1/datasets/sales/versions", content="\n".join(LINES), headers=CSV)
    assert (same.status_code, same.json()["version"]) == (200, made.json()["version"])
    (folder / "bad.csv").write_text("unique_id,ds,y\na,2024-01-01,x\n")
    rejected = {"url": f"file://{folder}/bad.csv"}
    problem(client.post("/v1/datasets/sales/imports", json=rejected), 422, "rejected_panel")
    assert list(world.settings.data_layout.incoming.iterdir()) == []


def test_when_an_address_is_not_allowed_then_nothing_is_fetched_or_stored(
    importing: tuple[TestClient, Path], declared_elsewhere: TestClient, problem: Callable[..., Any]
) -> None:
    client, folder = importing
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "sales.csv").write_text("\n".join(LINES))
    (folder / "large.csv").write_bytes(b"x" * (1024 * 1024 + 1))
    for url, status, code in (
        (f"file://{folder.parent}/other/sales.csv", 403, "forbidden"),
        (f"file://{folder}/../other/sales.csv", 422, "invalid_input"),
        ("http://127.0.0.1:1/x.csv", 422, "invalid_input"),
        (f"file://{folder}/none.csv", 404, "not_found"),
        (f"file://{folder}/large.csv", 413, "too_large"),
    ):
        problem(client.post("/v1/datasets/sales/imports", json={"url": url}), status, code)
    assert client.get("/v1/datasets/sales/versions").json()["items"] == []
    url = f"file://{folder}/large.csv"
    problem(client.post("/v1/datasets/unheard/imports", json={"url": url}), 404, "not_found")
    said = problem(declared_elsewhere.post("/v1/datasets/sales/imports", json={"url": url}), 403, "forbidden")
    assert "QUANTIS_IMPORT_URLS" in said["detail"]


@pytest.fixture
def declared_elsewhere(world: World) -> TestClient:
    """A client of the same API without any place to import from."""
    return world.client("admin")


def test_when_a_version_came_from_a_file_then_its_findings_are_kept(
    declared: TestClient, problem: Callable[..., Any]
) -> None:
    made = upload(declared, [*LINES, LINES[-1]])
    kept = declared.get("/v1/datasets/sales/versions/1/report").json()
    assert kept == made["report"]
    assert "D002" in {finding["code"] for finding in kept["findings"]}
    series = [{"unique_id": "a", "ds": ["2024-01-25T00:00:00Z"], "y": [1.0]}]
    declared.post("/v1/datasets/sales/observations", json={"series": series}).raise_for_status()
    problem(declared.get("/v1/datasets/sales/versions/2/report"), 404, "not_found")
    problem(declared.get("/v1/datasets/sales/versions/3/report"), 404, "not_found")


def test_when_values_are_corrected_then_revisions_say_when_and_nothing_else_does(
    declared: TestClient,
) -> None:
    upload(declared, [*LINES, AHEAD])
    assert declared.get("/v1/datasets/sales/revisions?series=a").json()["items"] == []
    for known_at, y in (("2024-03-01T00:00:00Z", [7.0, 8.0]), ("2024-02-01T00:00:00Z", [5.0, 6.0])):
        days = ["2024-01-03T00:00:00Z", "2024-01-05T00:00:00Z"]
        series = [{"unique_id": "a", "ds": days, "y": y, "known_at": known_at}]
        declared.post("/v1/datasets/sales/observations", json={"series": series}).raise_for_status()
    found = declared.get("/v1/datasets/sales/revisions?series=a").json()["items"]
    moments = [one["known_at"] for one in found]
    assert moments == ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"]
    assert {(one["group"], one["values"], one["first_ds"], one["last_ds"]) for one in found} == {
        ("target", 2, "2024-01-03T00:00:00Z", "2024-01-05T00:00:00Z")
    }
    for moment, value in zip(moments, (5.0, 7.0), strict=True):
        assert declared.get(f"/v1/datasets/sales/series/a?as_of={moment}").json()["y"][2] == value
    assert declared.get("/v1/datasets/sales/revisions?series=b").json()["items"] == []


def test_when_a_covariate_is_known_in_advance_then_a_series_reads_with_it_beyond_its_last_value(
    declared: TestClient,
) -> None:
    upload(declared, [*LINES, AHEAD])
    read = declared.get("/v1/datasets/sales/series/a").json()
    assert (len(read["ds"]), len(read["futr_ds"])) == (20, 21)
    assert read["futr_ds"][-1] == "2024-01-21T00:00:00Z"
    assert read["futr_exog"] == {"price": [*(float(day % 4) for day in range(1, 21)), 9.0]}
    assert list(read["exog"]) == ["temp"]

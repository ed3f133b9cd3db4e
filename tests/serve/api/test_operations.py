"""What every answer carries, the operator's routes, the registry's routes, the dashboard's files."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from quantis.errors import Unavailable
from serve.http.observability import HEADERS

FORECAST = ("POST", "/v1/models/demand/forecasts", {"series": [{"unique_id": "JFK/B6"}]})
ANSWERS = [
    ("GET", "/healthz", None), ("GET", "/v1/datasets", None), ("GET", "/v1/nothing", None), ("GET", "/nowhere", None),
    ("POST", "/v1/users", {"x": 1}), ("POST", "/v1/oauth/revoke", None), FORECAST,
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), ANSWERS, ids=lambda part: str(part)[:30])
def test_when_anything_is_answered_then_it_carries_the_security_headers_and_an_id(
    world, client, method, path, body
):
    for one in (client, world.client()):
        answer = one.request(method, path, json=body)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["cache-control"] == ("no-store" if path.startswith("/v1/") else "no-cache")
    directives = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert directives["script-src"] == directives["default-src"] == "'self'"
    assert directives["object-src"] == directives["frame-ancestors"] == "'none'"


def test_when_the_server_breaks_then_the_answer_carries_the_same_headers_and_the_id(in_trouble):
    method, path, body = FORECAST
    for error in (RuntimeError("x"), Unavailable("y"), RecursionError(), MemoryError(), KeyError("z")):
        answer = in_trouble(error).client("admin").request(method, path, json=body)
        assert answer.status_code >= 500
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_X", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("<x>", False), ("", False)]
)  # fmt: skip
def test_when_a_request_brings_an_id_then_it_is_kept_if_it_is_harmless(client, given, kept):
    answer = client.get("/v1/nothing", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def metrics(client):
    lines = [line for line in client.get("/metrics").text.split("\n") if line and not line.startswith("#")]
    return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def test_when_requests_were_answered_then_the_metrics_count_them_by_route_and_status(in_trouble, client):
    def name(route, method, status):
        return f'quantis_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'

    series = "/v1/datasets/{name}/series/{unique_id:path}"
    watched = [
        name(series, "GET", 200), name(series, "GET", 404), name("unknown", "GET", 404),
        name("/v1/models/{ref}/forecasts", "POST", 500), name("/v1/models/{ref}/forecasts", "POST", 200),
    ]  # fmt: skip
    before = metrics(client)
    client.get("/v1/datasets/flights/series/JFK/B6")
    client.get("/v1/datasets/flights/series/secret-id")
    client.get("/wp-login.php")
    in_trouble(RuntimeError()).client("admin").request(*FORECAST[:2], json=FORECAST[2])
    client.request(*FORECAST[:2], json=FORECAST[2])
    after = metrics(client)
    assert [after[one] - before.get(one, 0) for one in watched] == [1, 1, 1, 1, 1]
    assert not any("secret-id" in one or "wp-login" in one for one in after)
    entries = 'quantis_forecast_entries_total{method="model",model="demand",reason="none"}'
    assert after[entries] - before.get(entries, 0) == 1
    assert after["quantis_vintages_written_total"] - before["quantis_vintages_written_total"] == 1


def test_when_the_database_is_old_or_away_then_it_is_alive_but_not_ready(world, client, problem):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    with world.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    body = problem(client.get("/readyz"), 503, "unavailable")
    assert "older schema" in body["detail"]
    world.database.close()
    for file in world.settings.data_layout.root.glob("quantis.db*"):
        file.unlink()
    world.settings.data_layout.root.chmod(0o700)
    world.settings.data_layout.database.mkdir()
    problem(client.get("/readyz"), 503, "unavailable")
    assert client.get("/healthz").status_code == 200


def test_when_the_address_takes_another_method_then_the_problem_says_so_or_that_nothing_is_there(
    client, problem
):
    answer = client.request("DELETE", "/healthz")
    assert "GET" in answer.headers["allow"]
    problem(answer, 405, "method_not_allowed")


# Models


def test_when_models_are_listed_then_versions_aliases_and_gates_are_there(client, problem):
    (model,) = client.get("/v1/models").json()["items"]
    assert (model["name"], model["champion"]) == ("demand", 1)
    versions = client.get("/v1/models/demand/versions").json()["items"]
    assert [one["version"] for one in versions] == sorted((one["version"] for one in versions), reverse=True)
    first = client.get("/v1/models/demand/versions/1").json()
    assert first == versions[-1]
    assert "champion" in first["aliases"]
    assert (first["family"], first["h"], first["dataset"], first["gate"]["passed"]) == (
        "seasonal_naive",
        24,
        "flights",
        True,
    )
    for path in (
        "/v1/models/nothing/versions",
        "/v1/models/demand/versions/99",
        "/v1/models/nothing/versions/1",
    ):
        problem(client.get(path), 404, "not_found")


def test_when_a_version_did_not_beat_the_floor_then_it_cannot_become_champion(client, problem):
    body = problem(client.put("/v1/models/demand/aliases/champion", json={"version": 2}), 409, "conflict")
    assert "no model beats the floor" in body["detail"]
    assert "champion" in client.get("/v1/models/demand/versions/1").json()["aliases"]
    moved = client.put("/v1/models/demand/aliases/shadow", json={"version": 2})
    assert "shadow" in moved.json()["aliases"]
    problem(client.put("/v1/models/demand/aliases/champion", json={"version": 99}), 404, "not_found")
    for alias in ("latest", "v1"):
        problem(client.put(f"/v1/models/demand/aliases/{alias}", json={"version": 1}), 422, "invalid_input")


# The dashboard


@pytest.fixture
def with_pages(world):
    dist = world.settings.web_dist
    (dist / "assets").mkdir(parents=True)
    (dist / "docs").mkdir()
    (dist / "index.html").write_text("<title>Quantis</title>")
    (dist / "assets" / "app-1234.js").write_text("export {}")
    (dist / "docs" / "index.html").write_text("<title>API</title>")
    (world.settings.data_layout.root / "secret.txt").write_text("secret")
    return world.client()


def test_when_the_dashboard_is_built_then_pages_need_no_token_and_the_api_still_does(with_pages, problem):
    for path in ("/", "/explorer/JFK%2FB6", "/jobs/1"):
        page = with_pages.get(path, headers={"Accept": "text/html"})
        assert (page.status_code, page.text) == (200, "<title>Quantis</title>")
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    script = with_pages.get("/assets/app-1234.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert problem(with_pages.get("/assets/app-5678.js"), 404, "not_found")
    assert with_pages.get("/assets/app-5678.js").headers["cache-control"] == "no-cache"
    assert "API" in with_pages.get("/docs").text
    problem(with_pages.get("/v1/datasets"), 401, "unauthenticated")
    problem(with_pages.get("/v1/nothing", headers={"Accept": "text/html"}), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "//etc/passwd",
        "/assets/%00",
    ],
)
def test_when_a_path_leads_out_of_the_pages_then_nothing_of_there_is_shown(with_pages, path):
    answer = with_pages.get(path)
    assert answer.status_code < 500
    assert "secret" not in answer.text.replace("secret.txt", "")
    assert "root:" not in answer.text


def test_when_the_dashboard_is_not_built_then_the_docs_say_what_builds_it(client, problem):
    assert "make web" in problem(client.get("/docs"), 503, "not_installed")["detail"]
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_when_the_document_is_printed_without_a_server_then_it_is_the_one_that_is_served(client):
    import json

    from serve.openapi import document

    assert json.loads(document()) == client.get("/openapi.json").json()

"""Whatever comes in, the answer is a problem that says why, shows nothing of it, and is never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.settings import SERIES_BYTES
from quantis.types.accounts import Role
from quantis.types.teams import Quota
from serve.api.strict_route import FORM_BYTES, JSON_BYTES
from serve.security.policy import POLICY
from tests.serve.api.test_access_table import VALUES
from tests.serve.api_under_test import problem

MARK = "zebra<7f3a>"  # nothing of ours contains it, so an answer with it echoes

JSON_ROUTES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/setup"): {"secret": "s", "user_name": "root", "password": "p" * 12},
    ("POST", "/v1/users"): {"user_name": "ada", "password": "p" * 12, "role": "viewer"},
    ("PATCH", "/v1/users/{user_id}"): {"role": "viewer"},
    ("POST", "/v1/datasets"): {
        "name": "sales", "roles": {"futr_exog": ["promo"]}, "freq": "D", "publication_lag": "PT1H", "description": "",
    },
    ("POST", "/v1/jobs"): {
        "spec": {"kind": "train", "dataset": "flights", "model": "m", "version": 1, "as_of": "2024-01-20T00:00:00Z",
                 "h": 24, "quantiles": [0.5], "families": ["tft"], "tft": {"dropout": 0.1}},
    },
    ("PUT", "/v1/models/{name}/aliases/{alias}"): {"version": 1},
    ("POST", "/v1/models/{ref}/forecasts"): {
        "h": 3, "level": [80], "as_of": "2024-01-20T00:00:00Z", "deadline_ms": 1000,
        "series": [{"unique_id": "JFK/B6", "start": "2024-01-01T00:00:00Z", "y": [1.0, 2.0],
                    "futr_exog": {"scheduled": [1.0] * 26}, "stat_exog": {"carrier": "B6"}}],
    },
}  # fmt: skip

RAW = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "huge int": "9" * 400,
    "int beyond a column": str(2**31),
    "int beyond 64 bits": str(2**63),
    "digits": "9" * 5000,
    "surrogate": '"\\ud800"',
    "NUL": '"\\u0000"',
    "marked": json.dumps(MARK),
    "script": json.dumps(f"<script>{MARK}</script>"),
    "long": json.dumps(MARK * 2000),
    "control": json.dumps(f"{MARK}\r\nSet-Cookie: a=b\x1b[31m"),
    "deep": "[" * 33 + "]" * 33,
    "deeper": "[" * 3000,
    "deep within": "[" * 25 + "]" * 25,
    "object": json.dumps({MARK: {MARK: [MARK]}}),
    "twice": '{"a": 1, "a": 2}',
    "null": "null",
    "true": "true",
    "float": "1e308",
    "tiny": "5e-324",
    "negative": "-1",
    "list": json.dumps([MARK, MARK + "2"]),
    "first moment": '"0001-01-01T00:00:00+23:59"',
    "last moment": '"9999-12-31T23:59:59-23:59"',
    "year 1": '"0001-01-01T00:00:00Z"',
    "zone of seconds": '"2024-01-01T00:00:00+00:00:01"',
    "duration": '"P999999999D"',
    "negative duration": '"-P1D"',
}
UNREADABLE = {
    "NaN", "Infinity", "-Infinity", "1e400", "digits", "surrogate", "deep", "deeper", "twice",
}  # fmt: skip


def places(value, path=()):
    """The path of every value within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, raw):
    """JSON text of the value with the raw text in one place."""
    if not path:
        return raw
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(k)}: {replaced(v, path[1:], raw) if k == path[0] else json.dumps(v)}"
            for k, v in value.items()
        ]
        return "{" + ", ".join(parts) + "}"
    return (
        "["
        + ", ".join(
            replaced(v, path[1:], raw) if i == path[0] else json.dumps(v) for i, v in enumerate(value)
        )
        + "]"
    )


def address(template):
    for name, value in VALUES.items():
        template = template.replace(name, value)
    return template


def check(answer):
    """Fine, or a problem without an echo; never a 500."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        body = problem(answer, answer.status_code, answer.json()["code"])
        assert MARK not in json.dumps(body)
        json.dumps(body, ensure_ascii=False).encode()
        assert len(answer.content) < 10_000


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("route", JSON_ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_when_a_hostile_value_stands_anywhere_in_a_body_then_the_answer_is_a_plain_problem(
    shared, route, name
):
    method, template = route
    everywhere = list(places(JSON_ROUTES[route]))
    # What no JSON reader takes is refused before its place matters.
    for path in everywhere[:: len(everywhere) // 3 or 1] if name in UNREADABLE else everywhere:
        body = replaced(JSON_ROUTES[route], path, RAW[name])
        check(
            shared.request(
                method, address(template), content=body, headers={"Content-Type": "application/json"}
            )
        )


@pytest.mark.parametrize("route", JSON_ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_when_a_field_has_an_unknown_name_then_the_refusal_does_not_repeat_it(shared, route):
    method, template = route
    for name in (MARK, MARK * 500, f"{MARK}\0", "é" * 10, ""):
        check(shared.request(method, address(template), json=JSON_ROUTES[route] | {name: 1}))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"7", "{}".encode("utf-16"), b'{"a": "\xed\xa0\x80"}'],
)
@pytest.mark.parametrize("route", JSON_ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_when_the_body_is_not_an_object_then_it_is_422(shared, route, body):
    method, template = route
    answer = shared.request(
        method, address(template), content=body, headers={"Content-Type": "application/json"}
    )
    problem(answer, 422, "invalid_input")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "application/json; charset=utf-16", MARK]
)
def test_when_the_media_type_is_odd_then_the_answer_is_a_plain_problem(shared, kind):
    check(shared.post("/v1/users", content=b'{"user_name": "x"}', headers={"Content-Type": kind}))


LIMITS = {"/v1/datasets": JSON_BYTES, "/v1/jobs": JSON_BYTES, "/v1/models/demand/forecasts": SERIES_BYTES,
          "/v1/datasets/flights/observations": SERIES_BYTES}  # fmt: skip


@pytest.mark.parametrize("path", LIMITS)
def test_when_the_body_is_too_large_then_it_is_413_says_the_limit_and_stops_reading(shared, path):
    body = b'{"a": "' + b"x" * LIMITS[path] + b'"}'
    answer = shared.post(path, content=body, headers={"Content-Type": "application/json"})
    assert f"{LIMITS[path]} bytes" in problem(answer, 413, "too_large")["detail"]
    assert (
        shared.post(
            path, content=body[: LIMITS[path]], headers={"Content-Type": "application/json"}
        ).status_code
        == 422
    )


def test_when_a_form_is_too_large_then_it_is_413_before_it_is_parsed(shared):
    fields = "f=" + "x" * FORM_BYTES
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    problem(shared.post("/v1/oauth/token", content=fields, headers=kind), 413, "too_large")


@pytest.mark.parametrize("name", RAW)
def test_when_a_form_field_is_hostile_then_the_answer_is_a_plain_problem(shared, name):
    for field in ("grant_type", "username", "password", "refresh_token", "client_id", "scope"):
        form = {"grant_type": "password", "username": "viewer", "password": "p"} | {field: RAW[name]}
        answer = shared.post("/v1/oauth/token", data=form)
        assert answer.status_code in (401, 413, 422)
        check(answer)


@pytest.mark.parametrize(
    "body", ["%", "%zz=%", "grant_type=%ED%A0%80", "a" * 100_000, "&" * 5000, "=;=&=", "\0", "grant_type[]=x"]
)
def test_when_a_form_is_malformed_then_the_answer_is_a_plain_problem(shared, body):
    for kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        f"multipart/form-data; boundary={MARK}",
    ):
        check(shared.post("/v1/oauth/token", content=body, headers={"Content-Type": kind}))


SEGMENTS = [
    "%00", "a%00b", "%ED%A0%80", "%FF", "..%2f..%2fetc%2fpasswd", MARK * 50, "9" * 5000, "-1", "0", str(2**31), "NaN",
    "%0d%0aSet-Cookie:a=b", "'%20OR%201=1--", "%7B%7B7*7%7D%7D", "<script>" + MARK, "ünïcode", "%20", "@", ":1",
    "a@b@c",
]  # fmt: skip


@pytest.mark.parametrize("segment", SEGMENTS, ids=lambda segment: segment[:20])
def test_when_a_path_parameter_is_hostile_then_the_answer_is_a_plain_problem(shared, segment):
    for method, template in POLICY:
        parts = template.split("{")
        for place in range(1, len(parts)):
            names = ["{" + part.partition("}")[0] + "}" for part in parts[1:]]
            path = template
            for index, name in enumerate(names, start=1):
                path = path.replace(name, segment if index == place else VALUES[name])
            answer = shared.request(method, path, json={} if method != "GET" else None)
            assert answer.status_code < 500, (method, path[:80], answer.text)
            if answer.status_code >= 400:
                problem(answer, answer.status_code, answer.json()["code"])
                assert len(answer.content) < 1000


QUERIES = {
    "/v1/datasets/flights/series": ["search", "cursor", "limit", "version"],
    "/v1/datasets/flights/series/JFK/B6": ["as_of", "start", "end", "version"],
    "/v1/jobs": ["state", "kind", "cursor", "limit"],
}
WORDS = [
    "%00", "%ED%A0%80", "%FF", MARK * 100, "9" * 5000, str(2**31), str(2**63), "-1", "0", "1.5", "NaN", "Infinity",
    "1e400", "",
    "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "1700-01-01T00:00:00Z", "2261-12-31T23:59:59Z",
    "2024-01-01", "2024-01-01T00:00:00", "99999999999999999999", "W10", "WyJhIl0", "bnVsbA", "WyIyMDI0IiwiYSJd",
    "%F0%9F%98%80",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word[:20])
def test_when_a_query_parameter_is_hostile_then_the_answer_is_a_plain_problem(shared, word):
    for path, names in QUERIES.items():
        for name in names:
            check(shared.get(f"{path}?{name}={word}"))
            check(shared.get(f"{path}?{name}={word}&{name}={word}"))
    check(shared.post(f"/v1/datasets/flights/check?file={word}", content=b"a,b\n1,2\n"))


@pytest.mark.parametrize(
    "value", ["abc", "-1", "1.5", "9" * 30, "9" * 5000, str(2**31), str(2**63), "", "NaN", "\xff", MARK]
)
def test_when_a_header_is_hostile_then_the_answer_is_a_plain_problem(shared, value):
    job = shared.post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}}).json()["id"]
    raw = value.encode("latin-1")
    for name in ("X-Request-Id", "Idempotency-Key", "Authorization", "Cookie", "Content-Type", "Accept"):
        check(shared.request("POST", "/v1/jobs", content=b"{}", headers={name: raw}))
        check(shared.get("/v1/datasets", headers={name: raw}))
    shared.post(f"/v1/jobs/{job}/stop")
    if value != "":
        problem(shared.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": raw}), 422, "invalid_input")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_when_any_json_is_sent_to_any_route_then_it_is_never_a_500(shared, data):
    leaf = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5),
        st.datetimes().map(str),
    )  # fmt: skip
    method, template = data.draw(st.sampled_from(list(JSON_ROUTES)))
    body = JSON_ROUTES[method, template]
    path = data.draw(st.sampled_from(list(places(body))))
    value = data.draw(
        st.one_of(leaf, st.lists(leaf, max_size=3), st.dictionaries(st.text(max_size=3), leaf, max_size=2))
    )
    text = replaced(body, path, json.dumps(value))
    answer = shared.request(
        method, address(template), content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def shared(module_world):
    module_world.services.teams.set_quota(
        "default", Quota(jobs_waiting=1_000_000)
    )  # what is harmless is taken
    with module_world.client(Role.admin) as client:
        yield client

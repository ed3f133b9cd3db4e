"""One event per mutating call, in a chain whose first altered link is named."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from cluster.database.tables import AuditEventRow
from tests.serve.api.test_accounts_api import refresh, sign_in
from tests.serve.api_under_test import PASSWORD


def events(world, **wanted):
    return world.client("admin").get("/v1/audit-events", params=wanted).json()["items"]


def rows(world):
    with world.database.read() as session:
        return session.query(AuditEventRow).count()


def test_when_calls_change_something_then_each_leaves_exactly_one_event_and_reads_leave_none(world):
    engineer, viewer = world.client("ml_engineer"), world.client("viewer")
    calls = [
        (engineer, "PUT", "/v1/models/demand/aliases/challenger", {"version": 1}, 200),
        (engineer, "PUT", "/v1/models/demand/aliases/champion", {"version": 2}, 409),
        (viewer, "PUT", "/v1/models/demand/aliases/challenger", {"version": 1}, 403),
        (engineer, "POST", "/v1/jobs", {"spec": {"kind": "featurize", "dataset": "nothing"}}, 404),
        (engineer, "POST", "/v1/jobs", {"spec": {}}, 422),
        (world.client(), "POST", "/v1/jobs", {}, 401),
        (engineer, "POST", "/v1/datasets", {"name": "sales", "freq": "D"}, 201),
    ]
    for client, method, path, body, status in calls:
        before = rows(world)
        answer = client.request(method, path, json=body)
        assert (answer.status_code, rows(world) - before) == (status, 1), (path, body)
        newest = events(world)[0]
        assert newest["request_id"] == answer.headers["x-request-id"]
        assert (newest["action"].partition(" ")[0], newest["object"], newest["status"]) == (
            method,
            path,
            status,
        )
    assert [one["outcome"] for one in events(world)] == ["done", *["refused"] * 5, "done"]
    assert [one["actor"] for one in events(world)] == [
        "ml_engineer", "", "ml_engineer", "ml_engineer", "viewer", "ml_engineer", "ml_engineer",
    ]  # fmt: skip
    assert events(world)[-1]["detail"] == {"version": 1}
    before = rows(world)
    for path in ("/v1/datasets", "/v1/users/me", "/v1/jobs", "/v1/audit-events"):
        world.client("admin").get(path)
    viewer.post("/v1/models/demand/forecasts", json={"series": [{"unique_id": "JFK/B6"}]})  # its own ledger
    viewer.post("/v1/nothing", json={})
    assert rows(world) == before


def test_when_people_sign_in_then_the_trail_says_who_and_no_secret(world):
    client = world.client()
    sign_in(client, password="wrong password")
    sign_in(client, "my-password-in-the-wrong-field")
    token = sign_in(client).json()["refresh_token"]
    refresh(client, token)
    refresh(client, token)
    client.post("/v1/oauth/revoke", data={"token": token})
    found = events(world, action="oauth")
    assert [(one["actor"], one["outcome"]) for one in found] == [
        ("viewer", "done"), ("", "refused"), ("viewer", "done"), ("viewer", "done"), ("", "refused"),
        ("viewer", "refused"),
    ]  # fmt: skip
    text = str(found)
    assert not [secret for secret in (PASSWORD, token, "my-password", "wrong password") if secret in text]


def test_when_a_role_changes_then_the_event_says_whose_and_to_what(world):
    world.client("admin").patch(f"/v1/users/{world.user_id('viewer')}", json={"role": "analyst"})
    (event,) = events(world, action="/v1/users/{user_id}")
    assert event["detail"] == {"role": "analyst", "user": "viewer"}
    assert (event["actor"], event["actor_kind"], event["team"]) == ("admin", "user", "default")


def test_when_the_trail_is_read_in_pages_then_every_event_comes_once_and_filters_hold(world):
    for number in range(7):
        world.client("ml_engineer").post("/v1/datasets", json={"name": f"set-{number}", "freq": "D"})
    admin, seen, cursor = world.client("admin"), [], None
    while True:
        page = admin.get(
            "/v1/audit-events", params={"limit": 3, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen += [one["seq"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert events(world, actor="admin") == []
    assert len(events(world, outcome="done", action="datasets")) == 7
    assert events(world, until="2020-01-01T00:00:00Z") == []
    assert admin.get("/v1/audit-events", params={"cursor": "AAAA"}).status_code == 422


@pytest.mark.parametrize(
    ("number", "change"),
    [(3, {"actor": "somebody"}), (2, {"outcome": "refused"}), (4, {"detail": {"x": 1}}), (1, {"status": 500}),
     (5, {"hash": "0" * 64}), (5, {"previous": "0" * 64})],
)  # fmt: skip
def test_when_a_row_is_altered_then_verification_names_it_first(world, number, change):
    for name in range(6):
        world.client("ml_engineer").post("/v1/datasets", json={"name": f"set-{name}", "freq": "D"})
    verdict = world.client("admin").get("/v1/audit-events/verdict").json()
    assert (verdict["intact"], verdict["events"], verdict["first_altered"]) == (True, 6, None)
    with world.database.write() as session:
        session.execute(update(AuditEventRow).where(AuditEventRow.seq == number).values(**change))
    found = world.client("admin").get("/v1/audit-events/verdict").json()
    assert (found["intact"], found["first_altered"], found["events"]) == (False, number, number - 1)
    assert str(number) in found["reason"]


def test_when_a_row_is_taken_out_then_verification_names_the_gap(world):
    for name in range(4):
        world.client("ml_engineer").post("/v1/datasets", json={"name": f"set-{name}", "freq": "D"})
    with world.database.write() as session:
        session.query(AuditEventRow).filter_by(seq=2).delete()
    found = world.client("admin").get("/v1/audit-events/verdict").json()
    assert (found["first_altered"], found["reason"]) == (2, "event 2 is missing")


def test_when_the_event_cannot_be_begun_then_nothing_is_changed(world, problem, monkeypatch):
    from quantis.errors import Unavailable

    def broken(call):
        raise Unavailable("the database did not answer; try again in a moment")

    monkeypatch.setattr(world.services.audit, "begin", broken)
    problem(
        world.client("ml_engineer").post("/v1/datasets", json={"name": "sales", "freq": "D"}),
        503,
        "unavailable",
    )
    assert world.client("viewer").get("/v1/datasets/sales").status_code == 404


LISTS = ["/v1/jobs", "/v1/audit-events", "/v1/approvals", "/v1/datasets/flights/series"]
FORGED = [["0001-01-01T00:00:00+23:59", "a"], ["2024-01-01T00:00:00", "a"], ["2024-01-01T00:00:00+00:00", "a\x00"],
          ["2024-01-01T00:00:00+00:00", "\ud800"], ["9" * 40], ["٣"], [[[[]]]], {}, None]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("key", FORGED, ids=str)
def test_when_a_cursor_is_forged_then_the_list_is_not_500(world, path, key):
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
    for text in (cursor, cursor + "\x00", "é" + cursor):
        answer = world.client("admin").get(path, params={"cursor": text})
        assert answer.status_code in ((200, 422) if path.endswith("series") else (422,)), answer.text


@given(st.text(st.sampled_from("abP/%_*?[]\\'- v1"), min_size=1, max_size=6))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_when_actions_are_searched_then_wildcards_of_sql_are_ordinary_letters(world, part):
    client = world.client("admin")
    if not client.get("/v1/audit-events").json()["items"]:
        client.post("/v1/datasets", json={"name": "sales", "freq": "D"})
        client.post("/v1/datasets", json={})
    actions = [one["action"] for one in client.get("/v1/audit-events").json()["items"]]
    found = client.get("/v1/audit-events", params={"action": part}).json()["items"]
    assert [one["action"] for one in found] == [
        action for action in actions if part.lower() in action.lower()
    ]

from __future__ import annotations

from datetime import UTC, datetime

from quantis.types.operations.alerts import Fact, FactName

DRIFT = {"kind": "above", "fact": "drift", "threshold": 0.5}


def opened(world, value: float = 1.0):
    fact = Fact(name=FactName.drift, value=value, at=datetime.now(UTC), model="demand")
    return [alert.id for alert in world.services.alerts.record_facts("default", [fact])]


def test_when_a_rule_is_made_changed_and_deleted_then_the_list_says_so(world, problem):
    engineer = world.client("ml_engineer")
    defaults = engineer.get("/v1/alert-rules").json()["items"]
    assert {rule["source"] for rule in defaults} == {"default"}
    rule = engineer.post("/v1/alert-rules", json={"name": "mine", "condition": DRIFT, "duration": "PT1H"})
    assert rule.status_code == 201, rule.text
    path = f"/v1/alert-rules/{rule.json()['id']}"
    change = engineer.patch(path, json={"condition": {**DRIFT, "threshold": 2}, "clear_after": "PT2H"})
    assert change.json()["condition"]["threshold"] == 2
    assert engineer.get(path).json() == change.json()
    assert change.json()["duration"] == "PT1H"
    assert len(engineer.get("/v1/alert-rules").json()["items"]) == len(defaults) + 1
    assert engineer.delete(path).status_code == 204
    problem(engineer.get(path), 404, "not_found")
    problem(engineer.delete("/v1/alert-rules/default-drift"), 409, "conflict")


def test_when_a_rule_makes_no_sense_then_it_is_refused_with_the_reason(world, problem):
    engineer = world.client("ml_engineer")
    for condition in (
        {**DRIFT, "clear_below": 0.6},
        {"kind": "outside", "fact": "coverage_80", "low": 0.9, "high": 0.7},
        {"kind": "no_forecast_by", "by": "8 o'clock"},
        {"kind": "no_forecast_by", "by": "08:00", "time_zone": "Mars/Olympus"},
        {"kind": "no_forecast_by", "by": "08:00"},
        {"kind": "above", "fact": "forecast_missing", "threshold": 1},
    ):
        answer = engineer.post("/v1/alert-rules", json={"name": "odd", "condition": condition})
        problem(answer, 422, "invalid_input")


def test_when_an_alert_is_open_then_people_decide_and_history_and_audit_name_them(world, problem):
    (alert_id,) = opened(world)
    analyst = world.client("analyst")
    listed = analyst.get("/v1/alerts", params={"state": ["open", "snoozed"], "model": "demand"}).json()[
        "items"
    ]
    assert [alert["id"] for alert in listed] == [alert_id]
    assert analyst.post(f"/v1/alerts/{alert_id}/acknowledge").json()["state"] == "acknowledged"
    note = {"note": "known", "duration": "PT2H"}
    assert analyst.post(f"/v1/alerts/{alert_id}/snooze", json=note).json()["state"] == "snoozed"
    assert analyst.post(f"/v1/alerts/{alert_id}/resolve", json={"note": "gone"}).json()["state"] == "resolved"
    problem(analyst.post(f"/v1/alerts/{alert_id}/acknowledge"), 409, "conflict")
    history = analyst.get(f"/v1/alerts/{alert_id}").json()["history"]
    assert [(event["actor"], event["reason"]) for event in history[1:]] == [
        ("analyst", ""),
        ("analyst", "known"),
        ("analyst", "gone"),
    ]
    actions = [event["action"] for event in world.client("admin").get("/v1/audit-events").json()["items"]]
    assert "POST /v1/alerts/{alert_id}/snooze" in actions
    problem(world.client("viewer").post(f"/v1/alerts/{alert_id}/resolve"), 403, "forbidden")

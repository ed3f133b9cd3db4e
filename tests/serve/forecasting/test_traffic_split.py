"""Requests for a model's name divided between its versions, and who decides that."""

from __future__ import annotations

import pytest

from quantis.types.accounts import Role
from quantis.types.registry import Share, Traffic
from serve.forecasting.traffic_split import version_for
from tests.serve.api_under_test import PASSED, PASSWORD

ADDRESS = "/v1/models/demand/traffic"
FORECAST = "/v1/models/demand"
BODY = {"series": [{"unique_id": "JFK/B6"}]}


@pytest.fixture
def two(world, monkeypatch, folder, template):
    """A champion and another version that passed the gate; its number is `second`."""
    monkeypatch.setattr("serve.forecasting.routing.ALIAS_SECONDS", -1.0)
    router = world.forecaster.engine.router
    router._traffic._fresh_seconds = router._versions._fresh_seconds = -1.0
    found = world.registry.publish("demand", template / "bundle", metrics={"mase": 0.4}, gate=PASSED)
    world.second = found.version
    yield world
    world.registry.set_traffic("demand", Traffic())  # the registry is shared by all tests


@pytest.fixture
def strict(two):
    two.settings = two.settings.model_copy(update={"policy": "two_person"})
    two.services.accounts.create("default", "second", PASSWORD, Role.ml_engineer)
    return two


def divide(world, *shares, who="ml_engineer"):
    body = {"shares": [{"version": version, "percent": percent} for version, percent in shares]}
    return world.client(who).put(ADDRESS, json=body)


def served(world, ref="demand"):
    """(version, alias) that answers now."""
    answer = world.client("viewer").post(f"/v1/models/{ref}/forecasts", json=BODY)
    assert answer.status_code == 200, answer.text
    return answer.json()["model"]["version"], answer.json()["model"]["alias"]


def test_when_the_gate_decides_then_a_share_is_served_at_once_and_explicit_references_stay(two):
    assert served(two) == (1, "champion")
    answer = divide(two, (two.second, 100))
    assert (answer.status_code, answer.json()) == (200, {"shares": [{"version": two.second, "percent": 100}]})
    assert two.client("viewer").get(ADDRESS).json() == answer.json()
    assert served(two) == (two.second, None)
    assert served(two, "demand@champion") == served(two, "demand:1")[:1] + ("champion",)
    assert divide(two).json() == {"shares": []}
    assert served(two) == (1, "champion")


def test_when_two_people_decide_then_traffic_changes_only_by_the_other_one_s_approval(strict, problem):
    answer = divide(strict, (strict.second, 100))
    request = answer.json()
    assert (answer.status_code, request["state"]) == (202, "pending")
    assert request["change"]["kind"] == "traffic"
    assert served(strict) == (1, "champion")
    own = strict.client("ml_engineer").post(f"/v1/approvals/{request['id']}/approve")
    assert "another person must approve" in problem(own, 403, "forbidden")["detail"]
    assert served(strict) == (1, "champion")
    assert strict.client("viewer").get(ADDRESS).json() == {"shares": []}
    assert divide(strict, (strict.second, 100)).json()["id"] == request["id"]
    approved = strict.client("second").post(f"/v1/approvals/{request['id']}/approve").json()
    assert (approved["state"], approved["decided_by"]) == ("approved", "second")
    assert served(strict) == (strict.second, None)
    back = divide(strict)  # taking it back is a change of traffic, too
    assert (back.status_code, served(strict)) == (202, (strict.second, None))


def test_when_it_was_divided_otherwise_meanwhile_then_the_approval_is_refused(strict, problem):
    request = divide(strict, (strict.second, 10)).json()["id"]
    changed = Traffic(shares=(Share(version=strict.second, percent=50),))
    strict.registry.set_traffic("demand", changed)
    body = problem(strict.client("second").post(f"/v1/approvals/{request}/approve"), 409, "conflict")
    assert "divided otherwise than when this was asked for" in body["detail"]
    assert strict.registry.traffic("demand") == changed
    assert strict.client("viewer").get(f"/v1/approvals/{request}").json()["state"] == "pending"


def test_when_a_version_failed_the_gate_then_it_gets_no_share_under_either_policy(strict, problem):
    assert "did not pass the gate" in problem(divide(strict, (2, 10)), 409, "conflict")["detail"]
    strict.services.approvals.set_policy("default", "demand", "gate")
    problem(divide(strict, (2, 10)), 409, "conflict")
    problem(divide(strict, (999, 10)), 404, "not_found")
    assert served(strict) == (1, "champion")


@pytest.mark.parametrize(
    "shares", [[(1, 0)], [(1, 101)], [(1, 60), (3, 60)], [(1, 10), (1, 20)], [(n, 1) for n in range(1, 6)]]
)
def test_when_the_shares_make_no_sense_then_it_is_422(two, problem, shares):
    problem(divide(two, *shares), 422, "invalid_input")
    assert two.client("viewer").get(ADDRESS).json() == {"shares": []}


def test_when_somebody_may_not_promote_then_they_may_not_divide_either(two, problem):
    problem(divide(two, (1, 10), who="analyst"), 403, "forbidden")


def test_when_many_series_ask_then_each_share_gets_its_part_and_keeps_whom_it_has():
    keys = [f"default/demand/s{number}" for number in range(20_000)]
    small = Traffic(shares=(Share(version=2, percent=10), Share(version=3, percent=5)))
    large = Traffic(shares=(Share(version=2, percent=25),))
    versions = [version_for(small, key) for key in keys]
    assert versions == [version_for(small, key) for key in keys]
    assert 0.09 < versions.count(2) / len(keys) < 0.11
    assert 0.04 < versions.count(3) / len(keys) < 0.06
    grown = {key for key in keys if version_for(large, key) == 2}
    assert {key for key, version in zip(keys, versions, strict=True) if version == 2} < grown
    assert {version_for(Traffic(), key) for key in keys} == {None}

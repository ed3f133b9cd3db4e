"""Promoting, rolling back and approving show the figures of the two versions, where they were compared."""

from __future__ import annotations

import pytest

from quantis.types.accounts import Role
from quantis.types.registry import HeadToHead
from tests.serve.api_under_test import PASSED, PASSWORD

ADDRESS = "/v1/models/demand/aliases/champion"


@pytest.fixture
def rival(world, template):
    """A version that lost against the champion, version 1; the registry is shared by all tests."""
    row = HeadToHead(
        incumbent=1,
        incumbent_family="seasonal_naive",
        challenger_mase=1.2,
        incumbent_mase=0.5,
        ratio=2.4,
        verdict="worse",
        reason="this version has 2.4 times the error of v1",
    )
    gate = PASSED.against_incumbent(row, replaces=False)
    yield world.registry.publish("demand", template / "bundle", metrics={}, gate=gate).version
    world.registry.promote("demand", 1)


def promote(world, version):
    return world.client("ml_engineer").put(ADDRESS, json={"version": version})


def test_when_a_version_is_promoted_or_rolled_back_then_the_answer_has_the_figures_of_both(world, rival):
    promoted, rolled_back = promote(world, rival).json(), promote(world, 1).json()
    assert (promoted["version"], rolled_back["version"]) == (rival, 1)
    row = promoted["head_to_head"]
    assert row == rolled_back["head_to_head"]
    assert (row["challenger"], row["incumbent"], row["ratio"]) == (rival, 1, 2.4)
    assert row["reason"] == f"v{rival} has 2.4 times the error of v1"
    assert "head_to_head" not in promote(world, 1).json()
    gate = world.client("viewer").get(f"/v1/models/demand/versions/{rival}").json()["gate"]
    assert (gate["replaces"], gate["head_to_head"]) == (False, row)


def test_when_two_people_decide_then_the_request_has_the_figures_of_both(world, rival):
    world.settings = world.settings.model_copy(update={"policy": "two_person"})
    world.services.accounts.create("default", "second", PASSWORD, Role.ml_engineer)
    request = promote(world, rival).json()
    assert request["change"]["head_to_head"]["reason"] == f"v{rival} has 2.4 times the error of v1"
    listed = world.client("viewer").get("/v1/approvals").json()["items"]
    assert listed[0]["change"] == request["change"]
    done = world.client("second").post(f"/v1/approvals/{request['id']}/approve").json()
    assert (done["state"], done["change"]) == ("approved", request["change"])

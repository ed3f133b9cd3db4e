"""DELETE of datasets, models, versions and jobs: refused by name while needed, audited, and shown as deleted."""

from __future__ import annotations

import pytest

from quantis.cli.main import run
from quantis.client import Client
from quantis.errors import Conflict, Forbidden
from quantis.types.jobs import JobState


def actions(world):
    with world.client("admin") as client:
        events = client.get("/v1/audit-events", params={"limit": 500}).json()["items"]
    return {(event["action"], event["object"], event["status"]) for event in events}


def test_when_objects_are_deleted_then_each_is_refused_while_needed_and_gone_after(world, problem):
    admin = world.client("admin")
    detail = problem(admin.delete("/v1/datasets/flights"), 409, "conflict")["detail"]
    assert "demand:1 serves as champion" in detail
    assert "demand:1" in problem(admin.delete("/v1/models/demand"), 409, "conflict")["detail"]
    assert "demand:1" in problem(admin.delete("/v1/models/demand/versions/1"), 409, "conflict")["detail"]
    job = admin.post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}}).json()["id"]
    assert "PENDING" in problem(admin.delete(f"/v1/jobs/{job}"), 409, "conflict")["detail"]
    world.services.jobs.finish("default", job, JobState.failed, "no")
    spec = {"name": "spare", "freq": "D"}
    assert admin.post("/v1/datasets", json=spec).status_code == 201
    for url in (f"/v1/jobs/{job}", "/v1/datasets/spare"):
        for _ in range(2):
            assert admin.delete(url).status_code == 204
        assert "DELETE" in str(actions(world))
        problem(admin.get(url), 404, "not_found")
    assert "stays taken" in problem(admin.post("/v1/datasets", json=spec), 409, "conflict")["detail"]
    assert ("DELETE /v1/datasets/{name}", "/v1/datasets/spare", 204) in actions(world)
    assert ("DELETE /v1/datasets/{name}", "/v1/datasets/flights", 409) in actions(world)


def test_when_a_model_was_deleted_then_no_training_takes_its_name(world, problem):
    world.services.tombstones.add("default", "model", "gone", "ann")
    for kind in ("train", "tune"):
        answer = world.client("admin").post(
            "/v1/jobs", json={"spec": {"kind": kind, "dataset": "flights", "model": "gone"}}
        )
        assert "model 'gone' was deleted" in problem(answer, 409, "conflict")["detail"]


def test_when_a_dataset_was_deleted_then_the_card_of_its_model_says_so(world):
    world.services.tombstones.add("default", "dataset", "flights", "ann")
    card = world.client("viewer").get("/v1/models/demand/card").json()["markdown"]
    assert "| trained on | flights (deleted) version 1 |" in card


@pytest.mark.parametrize("role", ["viewer", "analyst", "ml_engineer"])
def test_when_no_admin_deletes_a_dataset_or_a_model_then_it_is_403(world, problem, role):
    for url in ("/v1/datasets/flights", "/v1/models/demand"):
        problem(world.client(role).delete(url), 403, "forbidden")


@pytest.fixture
def signed_in(world, monkeypatch):
    """The client of a role, and command lines as that role, on this API."""
    http = world.client()

    def client_of(role):
        return Client("https://quantis.test", token=world.token(role), transport=http._transport)

    with http:
        yield client_of


def test_when_the_client_deletes_then_it_is_told_why_not(world, signed_in):
    admin = signed_in("admin")
    with pytest.raises(Conflict, match="serves as champion"):
        admin.delete_dataset("flights")
    with pytest.raises(Conflict, match="serves as champion"):
        admin.delete_model("demand")
    with pytest.raises(Conflict, match="serves as champion"):
        admin.delete_model_version("demand", 1)
    with pytest.raises(Forbidden):
        signed_in("viewer").remove_alias("demand", "beta")
    admin.promote("demand", 1, "beta")
    admin.remove_alias("demand", "beta")
    assert "beta" not in admin.model_version("demand", 1).aliases


@pytest.mark.parametrize(
    "command", ["data delete x", "models delete x:1", "models retire x", "jobs delete x"]
)
def test_when_nobody_can_be_asked_then_the_command_line_wants_yes(command, capsys, monkeypatch):
    monkeypatch.setenv("QUANTIS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("QUANTIS_TOKEN", "none")
    assert run(command.split()) == 2
    assert "--yes" in capsys.readouterr().err
    assert run([*command.split(), "--yes"]) == 5  # it was sent, and nobody is there

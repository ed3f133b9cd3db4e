"""Channels that take some severities, and events of jobs and models: API, SDK, command line and a real webhook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.alerting.model_events import ModelEventsLoop
from quantis.cli.main import run
from quantis.client import Client
from quantis.errors import InvalidInput
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.jobs import JobError, JobState
from quantis.types.operations.alerts import Fact, FactName
from quantis.types.registry import Share, Traffic
from quantis.webhooks import verify
from tests.cluster.alerting.receiver import Receiver, receiving
from tests.serve import fuzz
from tests.serve.api_under_test import World

SECRET = "0123456789abcdef"
TEAM = "default"
SPEC = FeaturizeSpec(dataset="flights")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def told_world(world: World, receiver: Receiver) -> World:
    return replace(world, settings=world.settings.model_copy(update={"webhook_hosts": receiver.hosts}))


@pytest.fixture
def sdk(told_world: World) -> Iterator[Client]:
    http = told_world.client()
    with Client("https://quantis.test", token=told_world.token("admin"), transport=http._transport) as client:
        yield client


@pytest.fixture
def cli_of(
    told_world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs `quantis alerts ...` as an administrator; its exit code, stdout and stderr."""
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("QUANTIS_TOKEN", told_world.token("admin"))
    with fuzz.served(told_world.app) as url:
        monkeypatch.setenv("QUANTIS_URL", url)

        def command(*arguments: str) -> tuple[int, str, str]:
            code = run(["alerts", *arguments])
            written = capsys.readouterr()
            return code, written.out, written.err

        yield command


def deliver(world: World, receiver: Receiver) -> list[dict[str, Any]]:
    loop = world.services.delivery_loop()
    while world.services.alert_deliveries.pending():
        loop.tick()
    for _, headers, body in receiver.requests:
        verify(SECRET, body, headers["Quantis-Signature"])
    return receiver.bodies()


def raise_alerts(world: World) -> None:
    """Open an alert of each severity: critical, warning and info."""
    for name, points in ((FactName.live_wape_over_naive, 500), (FactName.drift, 500), (FactName.anomaly, 1)):
        fact = Fact(name=name, value=9.0, at=datetime.now(UTC), model="demand", points=points)
        world.services.facts.record_facts(TEAM, [fact])


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("critical", {"critical"}),
        ("warning", {"critical", "warning"}),
        ("info", {"critical", "warning", "info"}),
    ],
)
def test_when_a_channel_takes_a_severity_then_it_is_told_of_that_and_above_alone(
    told_world: World, receiver: Receiver, sdk: Client, severity: str, told: set[str]
) -> None:
    channel = sdk.create_webhook("pager", f"{receiver.url}/hook", SECRET, severity=severity)
    assert channel.severity == severity
    raise_alerts(told_world)
    bodies = deliver(told_world, receiver)
    assert {alert["severity"] for body in bodies for alert in body["alerts"]} == told
    listed = told_world.client("viewer").get("/v1/alerts", params={"severity": severity}).json()["items"]
    assert {alert["severity"] for alert in listed} == {severity}
    assert sdk.change_alert_channel(channel.id, severity="info").severity == "info"


def test_when_a_severity_or_an_event_is_not_known_then_the_channel_is_refused(
    told_world: World, receiver: Receiver, sdk: Client
) -> None:
    with pytest.raises((InvalidInput, ValidationError)):
        sdk.create_webhook("pager", f"{receiver.url}/hook", SECRET, events=["job.exploded"])
    body = {"kind": "webhook", "name": "pager", "url": f"{receiver.url}/hook", "secret": SECRET}
    admin = told_world.client("admin")
    assert admin.post("/v1/alert-channels", json={**body, "severity": "dire"}).status_code == 422


def test_when_jobs_end_then_the_channel_that_takes_it_is_told_once_of_each(
    told_world: World, receiver: Receiver, sdk: Client
) -> None:
    jobs = told_world.services.jobs
    before = jobs.request(TEAM, "ada", SPEC)
    jobs.finish(TEAM, before.id, JobState.succeeded, "of before")
    sdk.create_webhook("quiet", f"{receiver.url}/quiet", SECRET)
    sdk.create_webhook("ends", f"{receiver.url}/hook", SECRET, events=["job.failed", "job.succeeded"])
    good, bad, stopped = (jobs.request(TEAM, "ada", SPEC) for _ in range(3))
    jobs.finish(TEAM, good.id, JobState.succeeded, "done")
    jobs.finish(TEAM, good.id, JobState.succeeded, "done again")
    jobs.fail(TEAM, bad.id, JobError(cause="There are no rows.", remedy="Send some."))
    jobs.request_stop(TEAM, stopped.id)
    bodies = deliver(told_world, receiver)
    events = {(body["type"], body["event"]["job"]) for body in bodies}
    assert events == {("job.succeeded", good.id), ("job.failed", bad.id)}
    assert len(bodies) == len({body["id"] for body in bodies}) == 2
    assert {path for path, _, _ in receiver.requests} == {"/hook"}
    (failed,) = [body for body in bodies if body["type"] == "job.failed"]
    assert failed["subject"] == "flights"
    assert "no rows" in failed["event"]["message"]


def test_when_a_version_is_promoted_then_it_is_told_once_also_by_a_loop_that_was_killed(
    told_world: World, receiver: Receiver, sdk: Client
) -> None:
    sdk.create_webhook("models", f"{receiver.url}/hook", SECRET, events=["model.promoted"])
    services = told_world.services
    services.registry(TEAM).set_traffic("demand", Traffic(shares=(Share(version=1, percent=10),)))
    services.registry(TEAM).set_traffic("demand", Traffic())
    for _ in range(3):
        loop = ModelEventsLoop(services, seconds=0.0)
        loop.tick()
        loop.close()
    bodies = deliver(told_world, receiver)
    assert [body["type"] for body in bodies] == ["model.promoted"] * 2
    assert bodies[0]["event"]["model"] == "demand"
    assert bodies[0]["event"]["champion"] == 1


def test_when_the_command_line_names_severity_and_events_then_the_channel_takes_them(
    told_world: World, receiver: Receiver, cli_of: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    address = tmp_path / "address"
    address.write_text(f"{receiver.url}/hook\n")
    chosen = ("--severity", "critical", "--event", "job.failed", "--event", "model.promoted")
    code, _, error = cli_of("channels", "webhook", "pager", "--address-file", str(address), *chosen)
    assert code == 0, error
    shown = cli_of("channels")[1]
    assert "critical" in shown
    assert "job.failed, model.promoted" in shown
    assert cli_of("channels", "change", "pager")[0] == 2
    assert cli_of("channels", "change", "pager", "--severity", "warning", "--no-events")[0] == 0
    (channel,) = told_world.services.alert_channels.all(TEAM)
    assert (channel.severity, channel.events) == ("warning", ())
    raise_alerts(told_world)
    listed = cli_of("ls", "--severity", "critical")[1]
    assert listed.count(" critical ") == 1
    assert " warning " not in listed

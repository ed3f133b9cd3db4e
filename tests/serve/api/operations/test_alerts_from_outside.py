"""Alerts from the SDK and the command line, with a webhook that really receives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantis.cli.main import run
from quantis.client import Client
from quantis.errors import Conflict, Forbidden, InvalidInput
from quantis.types.operations.alerts import (
    Above,
    AlertRuleChange,
    AlertState,
    Fact,
    FactName,
    NewAlertRule,
    NoForecastBy,
)
from quantis.webhooks import verify
from tests.cluster.alerting.receiver import Receiver, receiving
from tests.serve import fuzz

SECRET = "0123456789abcdef"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def told_world(world, receiver):
    """The API, allowed to tell the receiver."""
    return replace(world, settings=world.settings.model_copy(update={"webhook_hosts": receiver.hosts}))


@pytest.fixture
def sdk(told_world) -> Iterator[Client]:
    http = told_world.client()
    with Client("https://quantis.test", token=told_world.token("admin"), transport=http._transport) as client:
        yield client


def drift(value: float = 1.0, model: str = "demand") -> Fact:
    return Fact(name=FactName.drift, value=value, at=datetime.now(UTC), model=model)


def test_when_the_sdk_is_used_then_rules_alerts_channels_and_notifications_do_their_work(
    sdk, told_world, receiver
):
    services = told_world.services
    rule = sdk.create_alert_rule(
        NewAlertRule(
            name="daily", condition=NoForecastBy(by="08:00", time_zone="Europe/Berlin"), model="demand"
        )
    )
    assert sdk.alert_rule(rule.id) == rule
    above = AlertRuleChange(condition=Above(fact=FactName.drift, threshold=0.5), duration=timedelta(0))
    assert sdk.change_alert_rule("default-drift", above).source == "changed"
    assert {"daily", "drift"} <= {stored.name for stored in sdk.alert_rules()}
    sdk.delete_alert_rule(rule.id)
    with pytest.raises(Conflict):
        sdk.delete_alert_rule("default-anomaly")
    channel = sdk.create_webhook("pager", f"{receiver.url}/hook", SECRET)
    with pytest.raises(Forbidden, match="QUANTIS_WEBHOOK_HOSTS"):
        sdk.create_slack_channel("chat", "https://hooks.slack.com/services/x")
    with pytest.raises(InvalidInput, match="a webhook channel has no recipients"):
        sdk.change_alert_channel(channel.id, recipients=["ada@example.org"])
    services.facts.record_facts("default", [drift()])
    (alert,) = sdk.alerts(states=["open"], model="demand", severity="warning", rule="default-drift")
    assert sdk.acknowledge_alert(alert.id, "I look").state == AlertState.acknowledged
    assert sdk.snooze_alert(alert.id, timedelta(hours=2)).state == AlertState.snoozed
    assert sdk.resolve_alert(alert.id).state == AlertState.resolved
    assert len(sdk.alert(alert.id).history) == 4
    loop = services.delivery_loop()
    for _ in range(5):
        loop.tick()
    for _, headers, body in receiver.requests:
        verify(SECRET, body, headers["Quantis-Signature"])
    states = [body["alerts"][0]["state"] for body in receiver.bodies()]
    assert states == ["open", "acknowledged", "snoozed", "resolved"]
    sent = sdk.alert_deliveries(channel=channel.id, state="delivered")
    assert sdk.replay_alert_delivery(sent[0].id).id == sent[0].id
    assert (
        sdk.change_alert_channel(channel.id, url=f"{receiver.url}/other", secret="f" * 16, enabled=True)
        == channel
    )
    assert sdk.test_alert_channel(channel.id).state == "pending"
    for _ in range(2):
        loop.tick()
    assert {path for path, _, _ in receiver.requests[4:]} == {"/other"}
    assert sdk.alert_channel(channel.id) == channel
    sdk.delete_alert_channel(channel.id)
    assert sdk.alert_channels() == []


@pytest.fixture
def cli(told_world, monkeypatch, capsys, tmp_path) -> Iterator[Callable[..., tuple[int, str, str]]]:
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("QUANTIS_TOKEN", told_world.token("admin"))
    with fuzz.served(told_world.app) as url:
        monkeypatch.setenv("QUANTIS_URL", url)

        def command(*arguments: str) -> tuple[int, str, str]:
            code = run(["alerts", *arguments])
            written = capsys.readouterr()
            return code, written.out, written.err

        yield command


def test_when_the_command_line_is_used_then_each_verb_does_its_work(
    cli, told_world, receiver, tmp_path: Path
):
    services = told_world.services
    assert cli("ls")[2] == "no alert is open\n"
    assert "default-drift" in cli("rules")[1]
    rule = tmp_path / "rule.yaml"
    rule.write_text("name: strict\ncondition: {kind: above, fact: drift, threshold: 0.1}\nmodel: demand\n")
    assert "strict: drift above 0.1" in cli("rules", "add", str(rule))[2]
    rule.write_text("condition: {kind: above, fact: drift, threshold: 0.2}\n")
    assert "strict: drift above 0.2" in cli("rules", "change", "strict", str(rule))[2]
    assert "strict (off)" in cli("rules", "off", "strict")[2]
    assert "strict: " in cli("rules", "on", "strict")[2]
    code, _, error = cli("rules", "delete", "strikt")
    assert code == 4
    assert "did you mean 'strict'?" in error
    assert cli("rules", "delete", "strict")[0] == 0
    rule.write_text("condition: {kind: sideways}\n")
    assert cli("rules", "change", "drift", str(rule))[0] == 2

    address = tmp_path / "address"
    address.write_text(f"{receiver.url}/hook\n")
    code, out, error = cli("channels", "webhook", "pager", "--address-file", str(address))
    assert code == 0, error
    secret = out.split()[1]
    address.write_text("https://hooks.slack.com/x")
    assert cli("channels", "slack", "chat", "--address-file", str(address))[0] == 3
    assert cli("channels", "mail", "post", "ada@example.org")[0] == 3
    assert "pager" in cli("channels")[1]
    stop = threading.Event()

    def deliver() -> None:
        loop = services.delivery_loop()
        while not stop.wait(0.05):
            loop.tick()

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        code, _, error = cli("test", "pager")
        assert (code, "was told: 204" in error) == (0, True), error
        receiver.statuses[:] = [500]
        code, _, error = cli("test", "pager")
        assert (code, "could not be told: 500" in error) == (5, True), error
    finally:
        stop.set()
        thread.join()
    verify(secret, receiver.requests[0][2], receiver.requests[0][1]["Quantis-Signature"])

    (alert,) = services.facts.record_facts("default", [drift()])
    assert alert.id in cli("ls")[1]
    assert "acknowledged: " in cli("ack", alert.id, "--note", "mine")[2]
    assert "snoozed: " in cli("snooze", alert.id, "--for", "2h")[2]
    assert "mine" in cli("show", alert.id)[1]
    assert json.loads(cli("resolve", alert.id, "--json")[1])["state"] == "resolved"
    assert alert.id not in cli("ls")[1]
    assert alert.id in cli("ls", "--all")[1]
    delivered = json.loads(cli("deliveries", "--state", "delivered", "--json")[1])["items"]
    assert "again" in cli("replay", delivered[0]["id"])[2]
    assert "pager (off)" in cli("channels", "off", "pager")[2]
    assert "pager: " in cli("channels", "on", "pager")[2]
    assert cli("channels", "delete", "pager")[0] == 0
    assert "nobody is told yet" in cli("channels", "ls")[2]

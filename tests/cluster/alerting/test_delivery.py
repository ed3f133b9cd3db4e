from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from cluster.alerting.webhook_hosts import WebhookHosts
from cluster.alerting.webhooks import WebhookClient
from cluster.backend import Backend
from cluster.database.alert_tables import AlertChannelRow
from cluster.encryption import Cipher
from cluster.repositories.operations.alert_channels import MAX_TESTS, AlertChannels
from cluster.repositories.operations.alert_deliveries import MAX_ATTEMPTS, wait_after
from cluster.settings import Settings
from quantis.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from quantis.types.operations.alert_channels import (
    AlertChannelChange,
    AlertDelivery,
    DeliveryState,
    NewMailChannel,
    NewSlackHook,
)
from quantis.types.operations.alerts import Fact, FactName
from quantis.webhooks import verify
from tests.cluster.alerting.certificates import certify
from tests.cluster.alerting.notified import KEY, SECRET, make_due, webhook
from tests.cluster.alerting.receiver import receiving

TEAM = "default"


def fact(value: float = 1.0, minute: float = 0, model: str = "demand") -> Fact:
    at = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(minutes=minute)
    return Fact(name=FactName.drift, value=value, at=at, model=model)


def deliveries(backend: Backend) -> list[AlertDelivery]:
    return backend.alert_deliveries.page(TEAM, limit=500).items


def test_when_an_alert_opens_then_the_webhook_gets_one_signed_notification(backend, receiver):
    backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    (alert,) = backend.alerts.record_facts(TEAM, [fact()])
    loop = backend.delivery_loop()
    for _ in range(3):
        loop.tick()
    ((path, headers, body),) = receiver.requests
    assert (path, headers["Host"], headers["Content-Type"]) == ("/hook", receiver.hosts, "application/json")
    verify(SECRET, body, headers["Quantis-Signature"])
    for changed in (body + b" ", body.replace(b"demand", b"supply")):
        with pytest.raises(InvalidInput, match="another body"):
            verify(SECRET, changed, headers["Quantis-Signature"])
    with pytest.raises(InvalidInput, match="300 s"):
        verify(SECRET, body, headers["Quantis-Signature"], now=time.time() + 301)
    told = json.loads(body)
    assert (told["id"], told["subject"]) == (headers["Quantis-Delivery"], "demand")
    assert [(a["id"], a["state"]) for a in told["alerts"]] == [(alert.id, "open")]
    (delivery,) = deliveries(backend)
    assert (delivery.state, delivery.attempts, delivery.response) == (DeliveryState.delivered, 1, "204")


def test_when_the_receiver_fails_then_it_is_tried_again_later_and_later_under_one_id(backend, receiver):
    backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    backend.alerts.record_facts(TEAM, [fact()])
    receiver.statuses[:] = [500, 503]
    loop = backend.delivery_loop()
    for _ in range(5):
        loop.tick()
    (waiting,) = deliveries(backend)
    assert (waiting.state, waiting.attempts, waiting.response) == (DeliveryState.pending, 1, "500")
    for _ in range(4):
        make_due(backend)
        loop.tick()
    assert [body["id"] for body in receiver.bodies()] == [waiting.id] * 3
    assert backend.alert_deliveries.get(TEAM, waiting.id).state == DeliveryState.delivered
    waits = [wait_after(attempts) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(seconds=5), timedelta(hours=1))


def test_when_all_attempts_failed_then_it_ends_and_a_replay_sends_it_under_its_id(backend, receiver):
    backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    backend.alerts.record_facts(TEAM, [fact()])
    receiver.statuses[:] = [500] * MAX_ATTEMPTS
    loop = backend.delivery_loop()
    for _ in range(MAX_ATTEMPTS + 3):
        make_due(backend)
        loop.tick()
    (failed,) = deliveries(backend)
    assert (failed.state, failed.attempts) == (DeliveryState.failed, MAX_ATTEMPTS)
    assert len(receiver.requests) == MAX_ATTEMPTS
    backend.alert_deliveries.replay(TEAM, failed.id)
    with pytest.raises(Conflict, match="on its way"):
        backend.alert_deliveries.replay(TEAM, failed.id)
    loop.tick()
    assert backend.alert_deliveries.get(TEAM, failed.id).state == DeliveryState.delivered
    assert {body["id"] for body in receiver.bodies()} == {failed.id}
    with pytest.raises(NotFound):
        backend.alert_deliveries.replay("rivals", failed.id)


def test_when_one_channel_is_dead_then_the_others_are_told_in_the_same_round(backend, receiver):
    dead = webhook(receiver, "dead", "/redirect")
    backend.alert_channels.create(TEAM, "ada", dead)
    backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    receiver.statuses[:] = []
    backend.alerts.record_facts(TEAM, [fact(model=f"m{number}") for number in range(3)])
    loop = backend.delivery_loop()
    for _ in range(3):
        loop.tick()
    delivered = Counter(delivery.channel_name for delivery in deliveries(backend) if delivery.attempts)
    assert delivered == {"pager": 3, "dead": 3}


def test_when_slack_is_told_then_it_gets_its_own_form_and_names_make_no_markup(backend, receiver):
    url = SecretStr(f"{receiver.url}/services/T0/B0/token")
    backend.alert_channels.create(TEAM, "ada", NewSlackHook(name="chat", url=url))
    rule = Fact(
        name=FactName.anomaly, value=2, at=datetime.now(UTC), dataset="flights", key="<!channel> & co"
    )
    backend.alerts.record_facts(TEAM, [rule])
    backend.delivery_loop().tick()
    (message,) = receiver.bodies()
    assert message["text"] == "Quantis: flights: 1 open"
    assert "&lt;!channel&gt; &amp; co" in message["blocks"][0]["text"]["text"]
    assert "<!" not in json.dumps(message)


def test_when_a_channel_is_tested_then_a_notification_without_alerts_arrives(backend, receiver):
    channel = backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    delivery_id = backend.alert_channels.test(TEAM, channel.id)
    backend.delivery_loop().tick()
    (body,) = receiver.bodies()
    assert (body["id"], body["type"], body["alerts"]) == (delivery_id, "alerts.test", [])


def test_when_a_channel_is_tested_without_end_then_few_tests_wait_at_once(backend, receiver):
    channel = backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    for _ in range(MAX_TESTS):
        backend.alert_channels.test(TEAM, channel.id)
    with pytest.raises(Conflict, match="on their way"):
        backend.alert_channels.test(TEAM, channel.id)
    backend.delivery_loop().tick()
    backend.alert_channels.test(TEAM, channel.id)


def test_when_a_channel_is_switched_off_or_deleted_then_what_waits_is_not_sent(backend, receiver):
    channel = backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    backend.alerts.record_facts(TEAM, [fact()])
    backend.alert_channels.change(TEAM, channel.id, AlertChannelChange(enabled=False))
    backend.alerts.record_facts(TEAM, [fact(0.0, 1)])
    backend.delivery_loop().tick()
    assert [(d.state, d.response) for d in deliveries(backend)] == [
        (DeliveryState.failed, "the channel was switched off")
    ]
    with pytest.raises(Conflict, match="switched off"):
        backend.alert_channels.test(TEAM, channel.id)
    with pytest.raises(Conflict, match="switched off or gone"):
        backend.alert_deliveries.replay(TEAM, deliveries(backend)[0].id)
    backend.alert_channels.delete(TEAM, channel.id)
    assert backend.alert_channels.all(TEAM) == []
    assert receiver.requests == []


def test_when_channels_are_read_then_address_and_secret_are_not_and_the_row_is_sealed(
    backend, receiver, database
):
    channel = backend.alert_channels.create(TEAM, "ada", webhook(receiver, path="/tok3n"))
    assert "tok3n" not in channel.model_dump_json() + repr(backend.alert_channels.all(TEAM))
    with database.read() as session:
        row = session.scalars(select(AlertChannelRow)).one()
        assert b"tok3n" not in row.sealed
        assert SECRET.encode() not in row.sealed
    with pytest.raises(InvalidInput, match="no recipients"):
        backend.alert_channels.change(TEAM, channel.id, AlertChannelChange(recipients=("a@b.org",)))
    with pytest.raises(Conflict, match="pager"):
        backend.alert_channels.create(TEAM, "ada", webhook(receiver))


def test_when_the_encryption_key_changes_then_channels_are_sealed_with_the_new_one(
    backend, receiver, database
):
    channel = backend.alert_channels.create(TEAM, "ada", webhook(receiver))
    new = b"f" * 16 + KEY.encode()
    both = AlertChannels(database, Cipher((new, KEY.encode())), lambda secrets: "")
    assert (both.count_encrypted(), both.reencrypt(), both.reencrypt()) == (1, 1, 0)
    alone = AlertChannels(database, Cipher((new,)), lambda secrets: "")
    assert alone.secrets(TEAM, channel.id)["secret"] == SECRET


def test_when_an_operator_allowed_nothing_then_no_channel_is_made(database, tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=database.url, encryption_key=SecretStr(KEY))
    channels = Backend(settings, database).alert_channels
    url = SecretStr("https://hooks.slack.com/services/x")
    with pytest.raises(Forbidden, match="QUANTIS_WEBHOOK_HOSTS"):
        channels.create(TEAM, "ada", NewSlackHook(name="chat", url=url))
    with pytest.raises(Forbidden, match="QUANTIS_SMTP_HOST"):
        channels.create(TEAM, "ada", NewMailChannel(name="post", recipients=("a@b.org",)))


@pytest.mark.parametrize(
    ("path", "reason"), [("/redirect", "redirect"), ("/drip", "did not answer"), ("/huge", None)]
)
def test_when_a_receiver_misbehaves_then_the_call_is_bounded_and_nothing_else_is_fetched(
    receiver, path, reason
):
    client = WebhookClient(WebhookHosts(receiver.hosts), seconds=1.0)
    if path == "/redirect":
        receiver.statuses[:] = [302]
    if path == "/huge":
        receiver.statuses[:] = [200]
        assert client.post(receiver.url + path, b"{}", {}).startswith("200 xxx")
    else:
        with pytest.raises(Unavailable, match=reason):
            client.post(receiver.url + path, b"{}", {})
    assert [request[0] for request in receiver.requests] == [path]


def test_when_the_name_resolves_elsewhere_after_the_check_then_the_checked_address_is_called(receiver):
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    entries = f"hooks.example.org:{receiver.port}, 127.0.0.1:{receiver.port}"
    client = WebhookClient(WebhookHosts(entries, lambda host, port: next(answers)))
    assert client.post(f"http://hooks.example.org:{receiver.port}/x", b"{}", {}) == "204"
    assert receiver.requests[0][1]["Host"] == f"hooks.example.org:{receiver.port}"


def test_when_the_address_is_https_then_the_certificate_must_be_of_the_name_that_was_written(
    tmp_path, monkeypatch
):
    context = certify(tmp_path, "hooks.example.org", monkeypatch)
    with receiving(context) as secure:
        entries = ", ".join(
            f"{host}:{secure.port}" for host in ("hooks.example.org", "other.example.org", "127.0.0.1")
        )
        client = WebhookClient(WebhookHosts(entries, lambda host, port: ["127.0.0.1"]))
        assert client.post(f"https://hooks.example.org:{secure.port}/x", b"{}", {}) == "204"
        for host in ("other.example.org", "127.0.0.1"):
            with pytest.raises(Unavailable, match="CERTIFICATE"):
                client.post(f"https://{host}:{secure.port}/x", b"{}", {})
    assert len(secure.requests) == 1


def test_when_nobody_listens_then_it_is_unavailable():
    client = WebhookClient(WebhookHosts("127.0.0.1:1"))
    with pytest.raises(Unavailable, match="took no connection"):
        client.post("http://127.0.0.1:1/x", b"{}", {})

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import httpx
import pytest

from cluster.alerting.webhook_hosts import WebhookHosts
from cluster.alerting.webhooks import WebhookClient
from jobs.demo_week.receiver import PORT_FILE, Receiver, receiving
from quantis.errors import Unavailable
from quantis.webhooks import SIGNATURE_HEADER, sign

BODY = json.dumps({"id": "n1", "alerts": []}).encode()


def send(receiver: Receiver, body: bytes = BODY, secret: str | None = None) -> str:
    """Send a body as the platform does."""
    headers = {SIGNATURE_HEADER: sign(secret or receiver.secret, body, int(time.time()))}
    return WebhookClient(WebhookHosts(receiver.host)).post(receiver.url, body, headers)


def test_when_a_signed_notification_comes_twice_then_it_is_one(tmp_path: Path) -> None:
    with receiving(tmp_path / "run") as receiver:
        assert send(receiver).startswith("204")
        assert send(receiver).startswith("204")
        assert receiver.received == {"n1"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY, {SIGNATURE_HEADER: "t=1,v1=" + "0" * 64}),
        (b"", {SIGNATURE_HEADER: "nonsense"}),
    ],
)
def test_when_the_signature_does_not_hold_then_nothing_is_kept(
    tmp_path: Path, body: bytes, headers: dict[str, str]
) -> None:
    with receiving(tmp_path) as receiver:
        assert httpx.post(receiver.url, content=body, headers=headers, trust_env=False).status_code == 400
        with pytest.raises(Unavailable, match="400"):
            send(receiver, secret="another secret of others")
        with pytest.raises(Unavailable, match="400"):
            send(receiver, body=b"signed, but no JSON")
        assert receiver.received == set()


def test_when_the_demo_runs_again_then_it_receives_where_the_platform_may_send(tmp_path: Path) -> None:
    with receiving(tmp_path) as receiver:
        first = receiver.port
    with receiving(tmp_path) as receiver:
        assert receiver.port == first
        assert receiver.secret


@pytest.mark.parametrize("note", ["", "no port", "99999999"])
def test_when_the_noted_port_is_none_or_taken_then_a_free_one_is_used_and_noted(
    tmp_path: Path, note: str
) -> None:
    (tmp_path / PORT_FILE).write_text(note)
    with receiving(tmp_path) as receiver:
        assert (tmp_path / PORT_FILE).read_text() == str(receiver.port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / PORT_FILE).write_text(str(port))
        with receiving(tmp_path) as receiver:
            assert receiver.port != port
            assert send(receiver).startswith("204")

"""Mail through a real SMTP server: aiosmtpd."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from pydantic import SecretStr, ValidationError

from cluster.alerting.mail import MailServer
from cluster.backend import Backend
from cluster.settings import Settings
from quantis.errors import Forbidden, Unavailable
from quantis.types.operations.alert_channels import DeliveryState, NewMailChannel
from quantis.types.operations.alerts import Fact, FactName
from tests.cluster.alerting.certificates import certify

KEY = "0123456789abcdef0123456789abcdef"
PAYLOAD = {"id": "n-1", "team": "default", "subject": "", "alerts": []}


class Inbox:
    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Envelope, address: str, options: Any
    ) -> str:
        if address.startswith("nobody@"):
            return "550 there is nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 taken"

    def messages(self) -> list[EmailMessage]:
        policy = email.policy.default
        return [email.message_from_bytes(e.content or b"", policy=policy) for e in self.envelopes]  # type: ignore


class FreePort(Controller):
    """A server on a port of the system's choice."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[int, Inbox]]:
    inbox = Inbox()
    controller = FreePort(inbox, hostname="127.0.0.1", port=0, ready_timeout=30, **options)
    controller.start()
    try:
        yield controller.port, inbox
    finally:
        controller.stop()


def test_when_an_alert_opens_then_the_recipients_get_one_mail_with_its_id(database, tmp_path):
    with mail_server() as (port, inbox):
        settings = Settings(
            data_dir=tmp_path, database_url=database.url, encryption_key=SecretStr(KEY), smtp_host="127.0.0.1",
            smtp_port=port, smtp_starttls=False, smtp_sender="Quantis <alerts@example.org>",
            public_url="https://quantis.example.org",
        )  # fmt: skip
        backend = Backend(settings, database)
        new = NewMailChannel(name="post", recipients=("ada@example.org", "bob@example.org"))
        assert (
            backend.alert_channels.create("default", "ada", new).target == "ada@example.org, bob@example.org"
        )
        fact = Fact(name=FactName.drift, value=0.5, at=datetime.now(UTC), model="demand")
        backend.alerts.record_facts("default", [fact])
        for _ in range(2):
            backend.delivery_loop().tick()
    (message,) = inbox.messages()
    (delivery,) = backend.alert_deliveries.page("default").items
    assert delivery.state == DeliveryState.delivered
    assert message["Subject"] == "Quantis: demand: 1 open"
    assert message["Message-ID"] == f"<{delivery.id}@example.org>"
    assert inbox.envelopes[0].rcpt_tos == ["ada@example.org", "bob@example.org"]
    text = message.get_content()
    assert "the drift of model demand is 0.5, above 0.25" in text
    assert "https://quantis.example.org" in text


def test_when_the_server_wants_encryption_and_a_password_then_both_are_given(tmp_path, monkeypatch):
    context = certify(tmp_path, "mail.example.org", monkeypatch)
    seen = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        seen.append((session.ssl is not None, data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    monkeypatch.setattr("socket.getfqdn", lambda name="": "client.example.org")
    options = {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": authenticate,
    }
    with mail_server(**options) as (port, inbox):
        server = MailServer("127.0.0.1", port, user="quantis", password="right", sender="a@example.org")
        with pytest.raises(Unavailable, match="CERTIFICATE"):  # of another name than the address
            server.send(["ada@example.org"], PAYLOAD)
        real = socket.create_connection
        monkeypatch.setattr(
            "socket.create_connection",
            lambda address, *more, **kw: real(("127.0.0.1", address[1]), *more, **kw),
        )
        named = MailServer("mail.example.org", port, user="quantis", password="right", sender="a@example.org")
        assert named.send(["ada@example.org"], PAYLOAD) == "taken for 1 recipients"
        wrong = MailServer("mail.example.org", port, user="quantis", password="wrong", sender="a@example.org")
        with pytest.raises(Unavailable, match="535"):
            wrong.send(["ada@example.org"], PAYLOAD)
        plain = MailServer("mail.example.org", port, sender="a@example.org", starttls=False)
        with pytest.raises(Unavailable, match="530"):
            plain.send(["ada@example.org"], PAYLOAD)
    assert set(seen) == {(True, b"quantis", b"right"), (True, b"quantis", b"wrong")}
    assert len(inbox.envelopes) == 1


def test_when_a_recipient_is_refused_or_nobody_listens_then_it_is_tried_again():
    with mail_server() as (port, _):
        server = MailServer("127.0.0.1", port, sender="a@example.org", starttls=False)
        with pytest.raises(Unavailable, match="nobody"):
            server.send(["nobody@example.org"], PAYLOAD)
        with pytest.raises(Unavailable, match="STARTTLS"):
            MailServer("127.0.0.1", port, sender="a@example.org").send(["ada@example.org"], PAYLOAD)
    with pytest.raises(Unavailable, match="did not take it"):
        server.send(["ada@example.org"], PAYLOAD)
    with pytest.raises(Forbidden, match="QUANTIS_SMTP_HOST"):
        MailServer(None).send(["ada@example.org"], PAYLOAD)


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "ada@",
        "ada@localhost",
        "a b@example.org",
        "ada@example.org\r\nBcc: x@y.org",
        "ada@exa mple.org",
    ],
)
def test_when_a_recipient_is_no_address_then_it_is_refused(address):
    with pytest.raises(ValidationError):
        NewMailChannel(name="post", recipients=(address,))

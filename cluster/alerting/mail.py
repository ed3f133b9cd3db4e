"""Mail by the operator's SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from cluster.alerting.messages import mail_text, title
from quantis.errors import Forbidden, Unavailable
from quantis.reading.limits import printable

_SECONDS = 10.0


@dataclass(frozen=True)
class MailServer:
    """An SMTP server; the connection is encrypted by STARTTLS before anything is said, unless it is switched off."""

    host: str | None
    port: int = 587
    user: str = ""
    password: str = ""
    sender: str = ""
    starttls: bool = True
    public_url: str | None = None

    def check(self) -> str:
        """Return the server's host; Forbidden where an operator set none."""
        if not self.host or not self.sender:
            raise Forbidden(
                "this platform sends no mail; an operator sets QUANTIS_SMTP_HOST and QUANTIS_SMTP_SENDER"
            )
        return self.host

    def send(self, recipients: Sequence[str], payload: Mapping[str, Any]) -> str:
        """Send a notification and return what the server said; its id is the Message-ID, however often it is sent.

        Unavailable where the server did not take it for every recipient, Forbidden where none is set.
        """
        host = self.check()
        message = self._message(recipients, payload)
        try:
            with smtplib.SMTP(host, self.port, timeout=_SECONDS) as server:
                if self.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise Unavailable(f"the mail server did not take it ({printable(str(error), 200)})") from error
        if refused:
            raise Unavailable(f"the mail server refused {printable(', '.join(sorted(refused)), 200)}")
        return f"taken for {len(recipients)} recipients"

    def _message(self, recipients: Sequence[str], payload: Mapping[str, Any]) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = printable(title(payload), 150)
        message["From"] = self.sender
        message["To"] = ", ".join(recipients)
        message["Date"] = formatdate()
        domain = self.sender.rpartition("@")[2].strip("> ") or "quantis"
        message["Message-ID"] = f"<{payload['id']}@{domain}>"
        message.set_content(mail_text(payload, self.public_url))
        return message

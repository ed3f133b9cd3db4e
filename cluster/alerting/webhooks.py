"""Calls of webhooks: to a checked address and no other, without redirects or proxies, of limited time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping

from cluster.alerting.webhook_hosts import SCHEME_PORTS, WebhookAddress, WebhookHosts, parse_address
from quantis.errors import Unavailable
from quantis.reading.limits import printable

SECONDS = 10.0
"""From the first connection to the end of the answer."""
MAX_RESPONSE = 64 * 1024
_SHOWN = 200


class WebhookClient:
    def __init__(self, hosts: WebhookHosts, seconds: float = SECONDS) -> None:
        self._hosts = hosts
        self._seconds = seconds

    def check(self, address: WebhookAddress) -> None:
        """Raise Forbidden unless the operator listed the host."""
        self._hosts.check(address)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> str:
        """Send a body and return the answer's status and beginning.

        Unavailable where it did not arrive: no connection, no answer in time, a redirect, or a status that is no 2xx.
        Forbidden where the operator does not allow the address.
        """
        address = parse_address(url)
        deadline = time.monotonic() + self._seconds
        refused: Exception | None = None
        for ip in self._hosts.resolve(address):
            connection = _CheckedConnection(address, ip, deadline)
            try:
                connection.connect()
            except (OSError, ValueError) as error:
                refused = error
                continue
            return _exchange(connection, address, body, headers)
        raise Unavailable(f"{printable(address.redacted)} took no connection ({_reason(refused)})")


class _CheckedConnection(http.client.HTTPConnection):
    """A connection to one IP address, with the host's own name for TLS and for the header Host.

    The socket is shut down at the deadline: a timeout of its own ends only one wait, and an answer may drip for hours.
    """

    def __init__(self, address: WebhookAddress, ip: str, deadline: float) -> None:
        super().__init__(address.host, address.port)
        self.default_port = SCHEME_PORTS[address.scheme]
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._ip, self._deadline = ip, deadline
        self._timer: threading.Timer | None = None

    def check_deadline(self) -> float:
        """Return the seconds that are left; TimeoutError when there are none."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the time for this call is over")
        return remaining

    def connect(self) -> None:
        remaining = self.check_deadline()
        connected = socket.create_connection((self._ip, self.port), timeout=remaining)
        self._timer = threading.Timer(remaining, _shut_down, [connected])
        self._timer.daemon = True
        self._timer.start()
        try:
            self.sock = (
                self._tls.wrap_socket(connected, server_hostname=self.host) if self._tls else connected
            )
        except BaseException:
            connected.close()
            self._timer.cancel()
            raise

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().close()


def _exchange(
    connection: _CheckedConnection, address: WebhookAddress, body: bytes, headers: Mapping[str, str]
) -> str:
    try:
        connection.request("POST", address.path, body, dict(headers))
        response = connection.getresponse()
        content = response.read(MAX_RESPONSE)
        connection.check_deadline()  # what was cut off there may read like an answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"{printable(address.redacted)} did not answer ({_reason(error)})") from error
    finally:
        connection.close()
    text = f"{response.status} {printable(content.decode('utf-8', 'replace'), _SHOWN)}".strip()
    if 300 <= response.status < 400:
        raise Unavailable(f"{text}: the answer is a redirect, which is not followed; give the final address")
    if not 200 <= response.status < 300:
        raise Unavailable(text)
    return text


def _shut_down(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:  # ended already
        connected.close()


def _reason(error: Exception | None) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    return printable(f"{type(error).__name__}: {error}", _SHOWN)

"""A local receiver of webhooks: it answers notifications whose signature holds, and keeps their ids."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from quantis.errors import InvalidInput
from quantis.files import write_atomic
from quantis.webhooks import SIGNATURE_HEADER, verify

HOST = "127.0.0.1"
PORT_FILE = "demo-receiver-port"
_LARGEST = 1 << 20


class Receiver:
    """The receiving end of a channel with a secret of its own; one notification that is sent twice is one."""

    def __init__(self) -> None:
        self.secret = secrets.token_urlsafe(24)
        self.port = 0
        self.received: set[str] = set()

    @property
    def host(self) -> str:
        """The entry of QUANTIS_WEBHOOK_HOSTS that allows it."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/alerts"

    def take(self, body: bytes, signature: str) -> None:
        """Keep a notification's id; InvalidInput unless it was signed with the secret."""
        verify(self.secret, body, signature)
        self.received.add(json.loads(body)["id"])


@contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    """Receive on the port that an earlier run noted in the folder, which its platform allows, or on a free one."""
    receiver = Receiver()
    note = folder / PORT_FILE
    server = _bind(note, receiver)
    receiver.port = server.server_port
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(note, str(receiver.port))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bind(note: Path, receiver: Receiver) -> ThreadingHTTPServer:
    class Handler(_Handler):
        take = staticmethod(receiver.take)

    with suppress(OSError, ValueError, OverflowError):
        return ThreadingHTTPServer((HOST, int(note.read_text())), Handler)
    return ThreadingHTTPServer((HOST, 0), Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0
    take: Callable[[bytes, str], None]

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(min(int(self.headers["Content-Length"]), _LARGEST))
            self.take(body, self.headers[SIGNATURE_HEADER] or "")
        except (InvalidInput, ValueError, TypeError, KeyError):
            self.send_response(400)
        else:
            self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the demo's own lines tell what arrived."""

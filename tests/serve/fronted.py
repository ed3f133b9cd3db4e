"""The API behind its front, as people meet it, and a socket that says whatever a test wants."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from cluster.local import haproxy
from cluster.local.haproxy import HAProxyConfig
from cluster.local.processes import free_ports
from cluster.settings import Settings
from tests.serve import fuzz

LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""A request after which the connection is closed, so that nobody waits for more."""


@dataclass(frozen=True)
class Open:
    """An open front."""

    port: int
    tls_port: int | None
    pid: int

    def say(self, *parts: bytes, wait: float = 5.0, tls: ssl.SSLContext | None = None) -> bytes:
        """Send the parts on one connection and read until the other side closes, or says nothing for `wait` s."""
        with self.connection(wait, tls) as raw:
            for part in parts:
                with contextlib.suppress(OSError):  # it may have hung up: then it has said why
                    raw.sendall(part)
            return heard(raw)

    def say_each(self, requests: Mapping[str, bytes], wait: float) -> dict[str, bytes]:
        """Send each on a connection of its own, all at once: much of what is heard is silence."""
        with ThreadPoolExecutor(len(requests)) as threads:
            heard_each = threads.map(lambda request: self.say(request, wait=wait), requests.values())
            return dict(zip(requests, heard_each, strict=True))

    @contextlib.contextmanager
    def connection(self, wait: float = 5.0, tls: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
        port = self.tls_port if tls and self.tls_port else self.port
        with socket.create_connection(("127.0.0.1", port), timeout=wait) as raw:
            if tls is None:
                yield raw
            else:
                with tls.wrap_socket(raw, server_hostname="localhost") as wrapped:
                    yield wrapped

    def answers(self) -> bool:
        """Whether others are served."""
        return b" 200 " in self.say(LAST, wait=60)


def heard(raw: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while chunk := raw.recv(65536):
            found += chunk
    return found


@contextlib.contextmanager
def opened(
    app: ASGIApp, settings: Settings, cert: Path | None = None, key: Path | None = None
) -> Iterator[Open]:
    """The application on a server of its own, and the front before it."""
    settings.data_layout.prepare()
    settings = settings.model_copy(update={"tls_cert": cert, "tls_key": key})
    with fuzz.served(app) as url:
        port, tls_port = free_ports(2)
        shape = HAProxyConfig(
            "127.0.0.1", port, int(url.rpartition(":")[2]), settings.max_upload_mb, tls_port if cert else None
        )
        process = haproxy.start(settings, shape, dict(os.environ))
        try:
            yield Open(port, tls_port if cert else None, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)

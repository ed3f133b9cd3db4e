"""Requests whose bodies and callers a test controls, straight on the application."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Call:
    """One request on the application, without a server; its body is endless unless it is given."""

    def __init__(self, app: Any, method: str, path: str, **options: Any) -> None:
        token, address = options.get("token"), options.get("address", "203.0.113.1")
        headers = [(b"content-type", options.get("kind", b"application/json")), (b"host", b"x")]
        body: bytes | None = options.get("body")
        if method != "GET":
            headers.append((b"content-length", b"1000" if body is None else str(len(body)).encode()))
        headers += options.get("headers", [])
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        self.scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "client": (address, 1), "server": ("x", 80),
            "scheme": "http", "root_path": "", "state": {},
        }  # fmt: skip
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        is_whole = method == "GET" or body is not None
        self.incoming.put_nowait({"type": "http.request", "body": body or b"{", "more_body": not is_whole})
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.content = b""
        self.begun = asyncio.Event()
        self.task = asyncio.ensure_future(app(self.scope, self.incoming.get, self.send))

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        self.content += message.get("body", b"")
        self.begun.set()

    async def answer(self, seconds: float = 20.0) -> int:
        """Wait until the answer has begun; 0 when it has not within the time."""
        try:
            await asyncio.wait_for(self.begun.wait(), seconds)
        except TimeoutError:
            return 0
        assert self.status is not None
        return self.status

    async def hang_up(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})
        await asyncio.wait({self.task}, timeout=20)
        assert self.task.done()

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.content)
        return found

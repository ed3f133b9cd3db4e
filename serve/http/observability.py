"""Request id, measurement and security headers of every answer."""

from __future__ import annotations

import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import instruments, logs
from serve.http import deadlines, problems

_CLEAN_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ObservabilityMiddleware:
    """ASGI middleware; it never buffers, so streams stay streams."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        """`seconds` is the time until an answer begins, where a route does not allow itself more."""
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None
        is_stream = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                is_stream = headers.get("Content-Type", "").startswith("text/event-stream")
                headers["X-Request-Id"] = request_id
                for name, value in (HEADERS | scope["state"].get("headers", {})).items():
                    headers[name] = value
                headers.setdefault("Cache-Control", _caching(scope["path"], is_error=status >= 400))
            await send(message)

        try:
            with logs.bound(request_id=request_id):
                try:
                    await deadlines.run_with_deadline(
                        self._seconds, self._app, scope, receive, send_with_headers
                    )
                except Exception as error:
                    if status is not None:
                        raise  # half an answer is out: only the connection can say that it failed
                    await problems.unexpected(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = None if is_stream else time.perf_counter() - started
            instruments.observe_request(route, scope["method"], status or 500, seconds)


def _caching(path: str, *, is_error: bool) -> str:
    """Return the Cache-Control of a path: the API's answers are private, hashed assets never change."""
    if path.startswith("/v1/"):
        return "no-store"
    if is_error:  # what is missing now may be there after an upgrade
        return "no-cache"
    if path == "/openapi.json":
        return "public, max-age=60"
    return "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"


def _request_id(scope: Scope) -> str:
    header = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = header.decode("latin-1")
    return text if _CLEAN_ID.match(text) else uuid.uuid4().hex

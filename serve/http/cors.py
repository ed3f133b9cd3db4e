"""Rules for browsers: the origins whose pages may call the API, and the use of its cookie."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from quantis.errors import Forbidden, InvalidInput
from quantis.types.accounts import REAUTHENTICATION_HEADER
from serve.http import problems

_SAFE = ("GET", "HEAD", "OPTIONS")
_TRUSTED_SITES = ("same-origin", "none")
_ALLOWED_HEADERS = [
    *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"),
    REAUTHENTICATION_HEADER,
]
_EXPOSED_HEADERS = ["Location", "Retry-After", "RateLimit", "X-Request-Id"]


def install(app: FastAPI, origins: str) -> None:
    """Admit pages of the named origins (with commas) and no others; cookies go to none of them."""
    allowed_origins = [origin.strip() for origin in origins.split(",") if origin.strip()]
    for origin in allowed_origins:
        if not origin.startswith(("https://", "http://")) or "*" in origin or origin.count("/") != 2:
            raise InvalidInput(
                f"{origin!r} in QUANTIS_CORS_ORIGINS is no origin; write https://host, or https://host:port"
            )
    app.add_middleware(SameOriginCookieMiddleware)
    if allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
        )


class SameOriginCookieMiddleware:
    """ASGI middleware: refuses changes with our cookie by pages of another origin.

    The cookie is SameSite=Strict; this holds where another port of the same host is the same site.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            headers = Headers(scope=scope)
            if "cookie" in headers and headers.get("sec-fetch-site", "none") not in _TRUSTED_SITES:
                error = Forbidden(
                    "a page of another origin may not use this cookie; open the dashboard itself"
                )
                await problems.to_response(Request(scope), error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

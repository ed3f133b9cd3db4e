"""Guard between a route and the network: admission, and bounds on size and time of the body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from cluster.settings import SERIES_BYTES
from quantis.errors import QuantisError, TooLarge
from serve.api.dependencies import admit
from serve.http import deadlines
from serve.http.body_arrival import BodyArrival
from serve.http.strict_json import parse
from serve.services import services_of

JSON_BYTES = 1024 * 1024
FORM_BYTES = 16 * 1024
MAX_BYTES, MAX_SECONDS = "x-max-bytes", "x-max-seconds"
SERIES = {MAX_BYTES: SERIES_BYTES}
"""The `openapi_extra` of a route whose JSON carries whole series."""

_READS = ("GET", "HEAD")
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class StrictRoute(APIRoute):
    """A route that admits before it reads, and reads JSON strictly, within its limits of size and time.

    The limits are in the document: `x-max-bytes` and `x-max-seconds` of `openapi_extra`.
    """

    def get_route_handler(self) -> _Handler:
        handle = super().get_route_handler()
        limits = self.openapi_extra or {}

        async def strict(incoming: Request) -> Response:
            await admit(incoming)
            if MAX_SECONDS in limits:
                deadlines.allow(incoming.scope, limits[MAX_SECONDS])
            services = services_of(incoming)
            if incoming.method in _READS:
                async with services.fair_reads.turn(incoming):
                    return await handle(incoming)
            with BodyArrival(incoming.receive, partial(services.open_bodies.hold, incoming)) as body:
                request = _StrictRequest(incoming.scope, body.receive)
                request.max_bytes = limits.get(MAX_BYTES, JSON_BYTES)
                return await _respond(handle, request)

        return strict


async def _respond(handle: _Handler, request: _StrictRequest) -> Response:
    if _is_form(request):
        request.max_bytes = FORM_BYTES
        await request.body()  # whose limit FastAPI's form parser does not know
    try:
        return await handle(request)
    except HTTPException as error:  # FastAPI hides what is wrong with a body behind a 400 of its own
        if isinstance(error.__cause__, QuantisError):
            raise error.__cause__ from None
        raise


def _is_form(request: Request) -> bool:
    """Return True for a form's media type, whose letters may be of either case (RFC 9110, 8.3.1)."""
    values = request.headers.getlist("content-type")
    return any(value.partition(";")[0].strip().lower() in _FORMS for value in values)


class _StrictRequest(Request):
    max_bytes = JSON_BYTES

    async def json(self) -> Any:
        return parse(await self.body())

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks = bytearray()
            async for chunk in self.stream():
                chunks += chunk
                if len(chunks) > self.max_bytes:
                    raise TooLarge(
                        f"the body is larger than {self.max_bytes} bytes; send less, or upload a file"
                    )
            self._body = bytes(chunks)
        return self._body

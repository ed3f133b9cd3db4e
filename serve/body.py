"""Reads JSON bodies strictly, before any model sees them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from quantis.errors import InvalidInput, QuantisError, TooLarge

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class StrictRoute(APIRoute):
    """A route whose JSON bodies go through `parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(given: Request) -> Response:
            request = _StrictRequest(given.scope, given.receive)
            if request.headers.get("content-type", "").startswith(_FORMS):
                await request.body()  # whose limit FastAPI's form parser does not know
            try:
                return await handle(request)
            except HTTPException as error:  # FastAPI hides what is wrong with a body behind a 400 of its own
                if isinstance(error.__cause__, QuantisError):
                    raise error.__cause__ from None
                raise

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse(await self.body())

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks = bytearray()
            async for chunk in self.stream():
                chunks += chunk
                if len(chunks) > MAX_BYTES:
                    raise TooLarge(f"the body is larger than {MAX_BYTES} bytes; send less, or upload a file")
            self._body = bytes(chunks)
        return self._body


def parse(body: bytes) -> Any:
    """A JSON value; InvalidInput for NaN, infinities, duplicate keys, lone surrogates or depth over 32."""
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct
        )
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Refused) else "it is not well-formed UTF-8 JSON"
        raise InvalidInput(f"the body cannot be read: {reason}") from None
    if "\\u" in text:
        _check_surrogates(value)
    return value


class _Refused(ValueError):
    """A reason of ours, safe to show."""


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON; use null for a missing value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused("a number is too large for a double")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("an object has the same key twice")
    return made


def _check_depth(text: str) -> None:
    depth = 0
    inside = escaped = False
    for character in text if "[" in text or "{" in text else "":
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(f"it is nested deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1


def _check_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidInput("the body cannot be read: a text holds half a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)

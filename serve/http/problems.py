"""Errors as problem+json (RFC 9457): code, request id, and nothing of a hostile input."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cluster.data_layout import disk_error
from quantis.errors import (
    InsufficientStorage,
    NotFound,
    QuantisError,
    RejectedPanel,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from quantis.types.base import Problem
from serve.security.policy import methods_at

MEDIA_TYPE = "application/problem+json"
SERVER_ERRORS = tuple(
    sorted({error.status for error in (QuantisError, Unavailable, TimedOut, InsufficientStorage)})
)
"""Statuses of answers that are the server's fault."""

_MAX_DETAILS = 20
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
log = logging.getLogger("quantis.api")


def request_id(request: Request) -> str:
    known_id: str | None = getattr(request.state, "request_id", None)
    return known_id or uuid.uuid4().hex


def install(app: FastAPI) -> None:
    app.add_exception_handler(QuantisError, _on_quantis_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


def to_response(request: Request, error: QuantisError) -> Response:
    extra: dict[str, Any] = {}
    if isinstance(error, RejectedPanel):
        extra["findings"] = [finding.model_dump(mode="json") for finding in error.findings]
    response = _problem_response(
        request,
        error.status,
        error.code,
        error.title,
        detail=error.message,
        errors=error.errors,
        extra=extra,
    )
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


async def _on_quantis_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuantisError)
    if error.status >= 500:
        log.warning("%s: %s", error.code, "\n".join([error.message, *getattr(error, "__notes__", ())]))
    return to_response(request, error)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = [
        {
            "pointer": "/" + "/".join(_pointer_part(part) for part in item["loc"])[:200],
            "message": _message(item),
        }
        for item in error.errors()[:_MAX_DETAILS]
    ]
    first = f"{details[0]['pointer']}: {details[0]['message']}" if details else "the request is not valid"
    return _problem_response(request, 422, "invalid_input", "Invalid input", detail=first, errors=details)


def _pointer_part(part: int | str) -> str:
    """Return a part of a pointer; a name that does not look like one stays the sender's secret."""
    return str(part) if isinstance(part, int) or _NAME.fullmatch(part) else "?"


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "union_tag_invalid":  # whose text repeats the input
        return f"{item['ctx']['discriminator']} is not one of {item['ctx']['expected_tags']}"
    return str(item["msg"]).removeprefix("Value error, ")[:300]


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: NotFound.code, 405: "method_not_allowed", 503: Unavailable.code}.get(
        error.status_code, "http"
    )
    detail = {404: "there is nothing at this address", 405: "this address does not take this method"}
    text = detail.get(error.status_code, str(error.detail)[:300])
    response = _problem_response(request, error.status_code, code, text, detail=text)
    response.headers.update(error.headers or {})
    if error.status_code == 405 and (methods := methods_at(request.url.path)):
        response.headers["Allow"] = ", ".join(methods)
    return response


def unexpected(request: Request, error: Exception) -> Response:
    """Answer an unforeseen error; its details are in the log only.

    A full disk is 507 and a broken one 503, wherever the write was.
    """
    foreseen = error if isinstance(error, QuantisError) else disk_error(error)
    if foreseen is not None:
        log.error("%s: %s", foreseen.code, foreseen.message)
        return to_response(request, foreseen)
    log.error("request failed", exc_info=error)
    text = "something went wrong here; the request id finds it in the log"
    return _problem_response(request, 500, "internal", "Internal error", detail=text)


def _problem_response(
    request: Request,
    status: int,
    code: str,
    title: str,
    *,
    detail: str,
    errors: Sequence[dict[str, str]] = (),
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    problem = Problem(
        title=_encodable(title),
        status=status,
        detail=_encodable(detail),
        code=code,
        request_id=request_id(request),
        errors=[{key: _encodable(value) for key, value in item.items()} for item in errors],
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(
        problem.model_dump() | dict(extra or {}), status, headers=headers, media_type=MEDIA_TYPE
    )


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which JSON readers refuse."""
    return text.encode("utf-8", "replace").decode()

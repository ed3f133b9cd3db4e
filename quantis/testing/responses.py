"""Responses of the in-memory platform: values, pages, problems."""

from __future__ import annotations

import json
import secrets
from typing import Any, NoReturn

import httpx
from pydantic import BaseModel, TypeAdapter

from quantis.errors import NotFound, QuantisError, RejectedPanel

PAGE = 50


def raise_not_found(message: str) -> NoReturn:
    raise NotFound(message)


def json_response(
    value: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> httpx.Response:
    content_type = {"Content-Type": "application/json"}
    return httpx.Response(
        status, content=value.model_dump_json(), headers={**content_type, **(headers or {})}
    )


def page_response(request: httpx.Request, items: list[Any]) -> httpx.Response:
    start = int(request.url.params.get("cursor", "0"))
    size = int(request.url.params.get("limit", PAGE))
    end = start + size
    body = {
        "items": TypeAdapter(list[Any]).dump_python(items[start:end], mode="json"),
        "next_cursor": str(end) if end < len(items) else None,
    }
    return httpx.Response(200, json=body)


def problem_response(error: QuantisError) -> httpx.Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": secrets.token_hex(8),
        "errors": error.errors,
    }
    if isinstance(error, RejectedPanel):
        body["findings"] = [finding.model_dump(mode="json") for finding in error.findings]
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(error.status, content=json.dumps(body), headers=headers)

"""Problem answers (RFC 9457) become the errors they were made from."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from quantis.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    QuantisError,
    RejectedPanel,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    all_errors,
)
from quantis.types.findings import Finding

T = TypeVar("T", bound=BaseModel)

_BY_STATUS: dict[int, type[QuantisError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMedia,
    422: InvalidInput,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: TimedOut,
}


def error_from_response(response: httpx.Response) -> QuantisError:
    """Return the error that an answer of status 400 or more stands for; its body must have been read."""
    if response.is_redirect:
        target = httpx.URL(response.headers.get("Location", "")).copy_with(raw_path=b"")
        return InvalidInput(f"this address sends to {target}; use that one (QUANTIS_URL, or --url)")
    problem = _parse_body(response)
    kind = {kind.code: kind for kind in all_errors()}.get(str(problem.get("code")))
    kind = kind or (Unavailable if is_foreign_failure(response) and response.status_code != 504 else None)
    kind = kind or _BY_STATUS.get(response.status_code, QuantisError)
    message = str(problem.get("detail") or problem.get("title") or _describe_response(response))
    error = _build_error(kind, message, problem)
    if request_id := problem.get("request_id"):
        error.add_note(f"request {request_id}")
    return error


def is_problem(response: httpx.Response) -> bool:
    """Return True for an error that Quantis itself answered; its body must have been read."""
    return "code" in _parse_body(response)


def is_foreign_failure(response: httpx.Response) -> bool:
    """Return True for a failure that is not the word of Quantis, such as one of a proxy before it.

    That there is nothing at an address (404) is believed from Quantis alone: a proxy says it while Quantis restarts.
    """
    return (response.status_code == 404 or response.status_code >= 500) and not is_problem(response)


def validate(kind: type[T], /, **values: Any) -> T:
    """Build a value; InvalidInput has one line for each field that breaks its rule."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise to_invalid_input(error) from None


def to_invalid_input(error: ValidationError) -> InvalidInput:
    """Turn a validation error into InvalidInput, without the value itself (it may be a secret)."""
    details = [
        {
            "pointer": "/" + "/".join(map(str, item["loc"])),
            "message": item["msg"].removeprefix("Value error, "),
        }
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    pointers = (item["pointer"].strip("/") for item in details)
    message = "; ".join(
        f"{pointer}: {item['message']}" if pointer else item["message"]
        for pointer, item in list(zip(pointers, details, strict=True))[:3]
    )
    return InvalidInput(message, errors=details)


def _build_error(kind: type[QuantisError], message: str, problem: dict[str, Any]) -> QuantisError:
    if issubclass(kind, RejectedPanel):
        return kind(message, _parse_findings(problem.get("findings")))
    errors = problem.get("errors")
    return kind(
        message,
        errors=[item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else [],
    )


def _parse_body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _parse_findings(raw: object) -> list[Finding]:
    try:
        return TypeAdapter(list[Finding]).validate_python(raw or [], extra="ignore")
    except ValidationError:
        return []


def _describe_response(response: httpx.Response) -> str:
    summary = f"{response.request.method} {response.request.url} answered {response.status_code}"
    return (
        f"{summary} {response.reason_phrase}, which is not an answer of Quantis; check the server's address"
    )

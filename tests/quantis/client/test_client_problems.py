"""Every problem answer becomes the error it was made from."""

from __future__ import annotations

import httpx
import pytest

from quantis.client import Client
from quantis.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    QuantisError,
    RejectedPanel,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    all_errors,
)


def raised(status: int, body: object, **headers: str) -> QuantisError:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body, headers=headers)

    client = Client("http://test", "t", transport=httpx.MockTransport(handle), retries=0)
    with client, pytest.raises(QuantisError) as caught:
        client.dataset("d")
    return caught.value


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.code)
def test_when_a_code_is_known_then_exactly_its_class_is_raised_with_the_detail(
    kind: type[QuantisError],
) -> None:
    error = raised(kind.status, {"title": kind.title, "detail": "what is wrong", "code": kind.code})
    assert type(error) is kind
    assert error.message == "what is wrong"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, InvalidInput),
        (429, TooManyRequests),
        (503, Unavailable),
        (502, Unavailable),
        (500, QuantisError),
    ],
)
def test_when_the_code_is_not_known_then_the_status_decides(status: int, kind: type[QuantisError]) -> None:
    assert type(raised(status, {"detail": "new", "code": "a_code_of_the_future"})) is kind


@pytest.mark.parametrize(
    "body", ["a proxy's page", [1], {"code": ["odd"], "errors": "odd", "findings": 3}, None]
)
def test_when_the_body_is_no_problem_then_the_status_still_speaks(body: object) -> None:
    error = raised(502, body)
    assert type(error) is Unavailable
    assert "502" in error.message


def test_when_a_panel_is_rejected_then_its_findings_come_with_it() -> None:
    finding = {"code": "D030", "severity": "error", "row": 5, "column": "y", "message": "y is no number"}
    body = {"detail": "rejected", "code": "rejected_panel", "findings": [finding, {**finding, "row": 6}]}
    error = raised(422, body)
    assert isinstance(error, RejectedPanel)
    assert [(f.code, f.row) for f in error.findings] == [("D030", 5), ("D030", 6)]
    assert error.exit_code == 1


def test_when_fields_are_wrong_then_each_is_named() -> None:
    errors = [{"pointer": "/body/h", "message": "too large"}]
    assert raised(422, {"detail": "x", "code": "invalid_input", "errors": errors}).errors == errors


def test_when_the_server_fails_then_the_request_id_is_at_hand() -> None:
    error = raised(500, {"detail": "broken", "code": "internal", "request_id": "r-17"})
    assert error.__notes__ == ["request r-17"]

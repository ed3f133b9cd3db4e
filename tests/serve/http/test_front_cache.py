"""Answers that are the same for all come from the front: it asks the API for them once a minute."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from tests.serve import fronted


@pytest.fixture
def paths() -> list[str]:
    return []


@pytest.fixture
def door(module_world: Any, paths: list[str]) -> Any:
    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await module_world.app(scope, receive, send)

    with fronted.opened(counted, module_world.settings) as opened:
        yield opened


def test_when_the_document_is_read_again_then_the_front_has_it_and_each_answer_its_own_id(
    door: Any, paths: list[str]
) -> None:
    answers = [httpx.get(f"http://127.0.0.1:{door.port}/openapi.json", timeout=60) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(answers[0].json()["paths"]) > 50
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    assert all("content-security-policy" in answer.headers for answer in answers)
    assert paths == ["/openapi.json"]


def test_when_an_answer_is_somebody_s_own_or_an_error_then_it_is_asked_for_each_time(
    door: Any, paths: list[str], module_world: Any
) -> None:
    headers = {"Authorization": f"Bearer {module_world.token('admin')}"}
    asked = ["/v1/jobs", "/healthz", "/assets/none.js", "/v1/users/me"]
    for _ in range(2):
        for path in asked:
            httpx.get(f"http://127.0.0.1:{door.port}{path}", headers=headers, timeout=60)
    assert paths == asked * 2

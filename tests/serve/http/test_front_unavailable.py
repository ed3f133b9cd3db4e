"""Answers that are not the API's reach nobody: the front says 503, and when to try again."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from cluster.local import haproxy
from cluster.local.haproxy import HAProxyConfig
from cluster.local.processes import free_ports
from tests.serve import fronted
from tests.serve.fronted import Open
from tests.serve.http.test_raw_sockets import statuses

GET = b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def answer(status: int, kind: str, text: str, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n{lines}\r\n{text}"
    ).encode()


BARE = {
    "Serve's proxy failed": answer(500, "text/plain; charset=utf-8", "Internal Server Error"),
    "Serve has no route yet": answer(
        404, "text/plain", "Path '/v1/jobs' not found. Ping http://.../-/routes"
    ),
    "no replica": answer(503, "text/plain", "Deployment is unavailable"),
    "too many wait": answer(429, "text/plain", "too many"),
    "Serve's time is over": answer(408, "text/plain", "timed out"),
    "a page": answer(502, "text/html", "<html>"),
    "no type": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "hung up": b"",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-",
    "no HTTP": b"\x00\x01\x02 what\r\n\r\n",
}


@contextmanager
def backend(said: bytes) -> Iterator[int]:
    """The port of a server that reads a request, says this and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with raw, suppress(OSError):
                    raw.recv(65536)
                    raw.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def front(settings: Any, behind: int) -> Iterator[Open]:
    settings.data_layout.prepare()
    (port,) = free_ports(1)
    process = haproxy.start(settings, HAProxyConfig("127.0.0.1", port, behind, 1), dict(os.environ))
    try:
        yield Open(port, None, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=10)


def unavailable(said: bytes) -> dict[str, Any]:
    head, _, content = said.partition(b"\r\n\r\n")
    assert statuses(said) == [503], said
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["content-type"] == "application/problem+json"
    assert 1 <= int(headers["retry-after"]) <= 10
    assert headers["cache-control"] == "no-store"
    return json.loads(content) if content else {}


@pytest.mark.parametrize("name", BARE)
def test_when_it_is_not_the_api_that_answers_then_the_front_says_503_and_when_to_try_again(
    module_world: Any, name: str
) -> None:
    with backend(BARE[name]) as port, front(module_world.settings, port) as door:
        for request in (GET, POST):
            problem = unavailable(door.say(request, wait=10))
            assert (problem["status"], problem["code"]) == (503, "unavailable")
            assert problem["request_id"]
            assert "Idempotency-Key" in problem["detail"]
        assert unavailable(door.say(HEAD, wait=10)) == {}


def test_when_nothing_listens_behind_it_then_the_front_says_503_and_when_to_try_again(
    module_world: Any,
) -> None:
    (nobody,) = free_ports(1)
    with front(module_world.settings, nobody) as door:
        assert unavailable(door.say(GET, wait=20))["code"] == "unavailable"


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429, 500, 503, 504, 507])
def test_when_the_api_itself_refuses_then_its_own_word_arrives(module_world: Any, status: int) -> None:
    own = answer(status, "application/problem+json", '{"code": "own"}', Retry_After="7")
    with backend(own) as port, front(module_world.settings, port) as door:
        said = door.say(GET, wait=10)
    assert statuses(said) == [status]
    assert said.endswith(b'{"code": "own"}')
    assert b"Retry-After: 7" in said or b"retry-after: 7" in said


def test_when_the_api_serves_then_pages_and_files_of_any_type_arrive(module_world: Any) -> None:
    for status in (200, 201, 206, 302, 304, 400):
        page = answer(status, "text/plain", "" if status == 304 else "fine")
        with backend(page) as port, front(module_world.settings, port) as door:
            assert statuses(door.say(GET, wait=10)) == [status]


def test_when_the_real_api_refuses_anything_then_it_is_a_problem_of_its_own(module_world: Any) -> None:
    paths = (b"/nowhere", b"/v1/nothing", b"/assets/none.js", b"/docs", b"/v1/jobs/none/events")
    with fronted.opened(module_world.app, module_world.settings) as door:
        for path in paths:
            for method in (b"GET", b"HEAD", b"DELETE"):
                said = door.say(
                    method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", wait=10
                )
                (status,) = statuses(said)
                assert status < 500 or path == b"/docs", (path, method, said)
                assert status < 400 or b"application/problem+json" in said, (path, method, said)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na=", 408),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
    ids=["slow body", "large"],
)
def test_when_the_front_itself_refuses_then_it_is_a_problem_with_its_status(
    module_world: Any, request_bytes: bytes, status: int
) -> None:
    with fronted.opened(module_world.app, module_world.settings) as door:
        said = door.say(request_bytes, wait=15)
    assert statuses(said) == [status], said
    assert b"application/problem+json" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["status"] == status

"""Bytes that no honest client sends: the front refuses and closes, stays up, and answers others."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time

import pytest

from tests.serve import fronted
from tests.serve.fronted import LAST, Open


@pytest.fixture(scope="module")
def door(module_world):
    with fronted.opened(module_world.app, module_world.settings) as found:
        yield found


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)]


def token_of(world) -> bytes:
    return b"Authorization: Bearer " + world.token("admin").encode() + b"\r\n"


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/oauth/revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
HIDDEN = b"GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

REFUSED = {
    "content-length and chunked": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked alone": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, obscured": POST + b"Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked, in two headers": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, with a tab": POST + b"Content-Length: 4\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked, folded": POST + b"Content-Length: 4\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 0, 40\r\n\r\n" + HIDDEN,
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "length with a sign": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "length in hexadecimal": POST + b"Content-Length: 0x10\r\n\r\n" + HIDDEN,
    "length of 30 digits": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 0\r\n\r\n",
    "header without a colon": GET + b"nonsense\r\n\r\n",
    "header of control characters": GET + b"X-A: a\x00b\r\n\r\n",
    "underscore in a name": GET + b"serve_multiplexed_model_id: 1\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "long header": GET + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"\r\n",
    "long address": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "trace": b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/3.7": b"GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "noise": bytes(range(256)) * 20,
    "announced 9 GB": POST + b"Content-Length: 9000000000\r\n\r\n",
    "Serve's routes": b"GET /-/routes HTTP/1.1\r\nHost: x\r\n\r\n",
    "Serve's routes, encoded": b"GET /%2d%2Froutes HTTP/1.1\r\nHost: x\r\n\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(door: Open) -> dict[str, bytes]:
    return door.say_each(REFUSED, wait=5)


@pytest.mark.parametrize("name", REFUSED)
def test_when_a_request_is_ambiguous_or_boundless_then_it_is_refused_and_nothing_behind_it_is_read(
    door: Open, answers: dict[str, bytes], name: str
) -> None:
    said = answers[name]
    found = statuses(said)
    assert len(found) <= 1, said
    assert all(400 <= status < 500 for status in found), said
    assert b"smuggled" not in said
    if b"application/problem+json" in said:  # HAProxy has a page of its own for what is no HTTP at all
        body = json.loads(said.partition(b"\r\n\r\n")[2])
        assert (body["status"], bool(body["request_id"]), bool(body["code"])) == (found[0], True, True)
    assert door.answers()


def test_when_requests_are_pipelined_then_each_is_answered_in_order(door: Open) -> None:
    asked = [b"/healthz", b"/v1/nothing"]
    said = door.say(*(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in asked), LAST, wait=60)
    assert statuses(said) == [200, 404, 200], said


def test_when_a_caller_says_what_only_serve_may_then_the_api_does_not_hear_it(module_world) -> None:
    heard: list[dict[bytes, bytes]] = []

    async def listening(scope, receive, send) -> None:
        heard.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"secret/1.0")]})
        await send({"type": "http.response.body"})

    forged = (b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
              b"X-Forwarded-Host: evil\r\n"
              b"X-Request-Timeout-Seconds: 0\r\nX-Request-Disconnect-Disabled: ?1\r\nServe-Multiplexed-Model-Id: a\r\n"
              b"X-Serve-Router-A: b\r\nUpgrade: h2c\r\n")  # fmt: skip
    with fronted.opened(listening, module_world.settings) as front:
        said = front.say(GET + forged + b"Connection: close\r\n\r\n")
    assert statuses(said) == [200]
    assert b"secret" not in said
    (headers,) = heard
    assert (headers[b"x-forwarded-for"], headers[b"x-forwarded-proto"]) == (b"127.0.0.1", b"http")
    assert set(headers) <= {b"host", b"connection", b"x-forwarded-for", b"x-forwarded-proto"}


def test_when_headers_come_drop_by_drop_then_the_connection_ends_and_others_are_served(door: Open) -> None:
    with door.connection(wait=60) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()

        def drip() -> None:
            try:
                while time.monotonic() - began < 60:
                    raw.sendall(b"X-A: 1\r\n")
                    time.sleep(0.5)
            except OSError:
                pass

        slow = threading.Thread(target=drip, daemon=True)
        slow.start()
        assert door.answers()
        said = fronted.heard(raw)
    assert statuses(said) == [408]
    assert 9 < time.monotonic() - began < 50  # the front's ten seconds; whoever drips would go on for 60


def test_when_many_connections_say_nothing_then_others_are_served(door: Open) -> None:
    idle = [door.connection() for _ in range(200)]
    opened = [one.__enter__() for one in idle]
    for raw in opened[:100]:
        raw.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert door.answers()
    for one in idle:
        one.__exit__(None, None, None)
    assert door.answers()


def test_when_a_body_stalls_then_the_answer_is_504_by_the_deadline(impatient: Open, module_world) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    with impatient.connection(wait=60) as raw:
        raw.sendall(head + token_of(module_world) + b"\r\n{")
        said = raw.recv(65536)
        assert statuses(said) == [504], said
        with contextlib.suppress(OSError):  # whoever drips on is cut off
            for _ in range(5):
                raw.sendall(b" ")
                time.sleep(0.1)
        said += fronted.heard(raw)
    assert b"no answer within 1 s" in said
    assert impatient.answers()


def test_when_a_stranger_announces_a_body_then_401_comes_before_it_is_sent(door: Open) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    with door.connection(wait=60) as raw:
        raw.sendall(head)
        assert statuses(raw.recv(65536)) == [401]
    assert door.answers()


def test_when_a_caller_hangs_up_anywhere_then_others_are_served(door: Open, module_world) -> None:
    body = b'{"spec": {"kind": "featurize", "dataset": "flights"}}'
    whole = (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + token_of(module_world)
             + b"Content-Length: %d\r\n\r\n" % len(body) + body)  # fmt: skip
    for place in range(1, len(whole), max(1, len(whole) // 30)):
        with door.connection() as raw:
            raw.sendall(whole[:place])
    assert door.answers()


@pytest.mark.parametrize("request_bytes", [GET + b"\r\n", POST + b"Content-Length: 2\r\n\r\na="])
def test_when_a_caller_hangs_up_while_the_api_works_then_the_api_hears_it_at_once(
    module_world, request_bytes: bytes
) -> None:
    begun, hung_up = threading.Event(), threading.Event()

    async def working(scope, receive, send) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        hung_up.set()

    with fronted.opened(working, module_world.settings) as front:
        with front.connection() as raw:
            raw.sendall(request_bytes)
            assert begun.wait(20)
        assert hung_up.wait(20)


@pytest.fixture(scope="module")
def impatient(module_world):
    from dataclasses import replace

    settings = module_world.settings.model_copy(update={"request_seconds": 1.0})
    with fronted.opened(replace(module_world, settings=settings).app, settings) as found:
        yield found

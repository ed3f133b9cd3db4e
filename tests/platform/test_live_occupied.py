"""Callers who leave bodies, streams, headers and answers open on the whole platform: the others are served."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from serve.security.concurrency_limits import STREAMS
from tests.platform.live import Live
from tests.serve.http.test_raw_sockets import statuses

CALLERS = 120
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 7)]
"""Addresses of one machine, all of which are its own."""

Attack = Callable[["Target"], bytes]
LARGE = b"x" * 40_000
"""More than the front waits for."""


class Target:
    """Port of a front or of Serve's proxy, and what callers know."""

    def __init__(self, port: int, token: str, job: str) -> None:
        self.port, self.token, self.job = port, token.encode(), job.encode()

    @contextlib.contextmanager
    def opened(self, attack: Attack, addresses: list[str]) -> Iterator[list[socket.socket]]:
        """Hold connections on which the attack was sent, from the addresses in turn."""
        with contextlib.ExitStack() as stack:
            sockets = []
            for number in range(CALLERS):
                source = (addresses[number % len(addresses)], 0)
                raw = stack.enter_context(
                    socket.create_connection(("127.0.0.1", self.port), 10, source_address=source)
                )
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.setblocking(False)
                with contextlib.suppress(OSError):
                    raw.send(attack(self))
                sockets.append(raw)
            yield sockets

    def honest(self) -> list[float]:
        """Return the seconds that requests took which all had their answer, each on a connection of its own."""
        seconds = []
        for path in ("/healthz", "/v1/jobs", f"/v1/jobs/{self.job.decode()}", "/v1/models") * 2:
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {self.token.decode()}"}
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30)
            assert answer.status_code == 200, (path, answer.text)
            seconds.append(time.monotonic() - began)
        return seconds


def sign_in(target: Target) -> bytes:
    return FORM + b"Content-Length: 100\r\n\r\ngrant_type=pass"


def large_sign_in(target: Target) -> bytes:
    return FORM + b"Content-Length: 15900\r\n\r\n" + LARGE[:15_800]


def first_admin(target: Target) -> bytes:
    return b"POST /v1/setup HTTP/1.1\r\n" + JSON + b"Content-Length: 900000\r\n\r\n" + LARGE


def upload(target: Target) -> bytes:
    head = b"POST /v1/datasets/lamps/versions HTTP/1.1\r\n" + JSON + authorization(target)
    return head + b"Content-Length: 90000000\r\n\r\n" + LARGE


def forecast(target: Target) -> bytes:
    head = b"POST /v1/models/demand/forecasts HTTP/1.1\r\n" + JSON + authorization(target)
    return head + b"Content-Length: 100\r\n\r\n{"


def stream(target: Target) -> bytes:
    return (
        b"GET /v1/jobs/" + target.job + b"/events HTTP/1.1\r\nHost: x\r\n" + authorization(target) + b"\r\n"
    )


def headers(target: Target) -> bytes:
    return b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-A: "


def unread(target: Target) -> bytes:
    return b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3


def authorization(target: Target) -> bytes:
    return b"Authorization: Bearer " + target.token + b"\r\n"


FORM = b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Host: x\r\nContent-Type: application/json\r\n"
ATTACKS = (sign_in, large_sign_in, first_admin, upload, forecast, stream, headers, unread)


@pytest.fixture(scope="module")
def door(bare: Live) -> Target:
    return target_at(bare, bare.port)


@pytest.fixture(scope="module")
def side_door(bare: Live) -> Target:
    """Serve's own port, as it is on a cluster whose ingress has no rules."""
    platform = processes.load(DataLayout(bare.folder))
    assert platform is not None
    return target_at(bare, platform.serve_port)


def target_at(live: Live, port: int) -> Target:
    return Target(port, live.report["token"], live.report["job"])


def require_prompt(took: list[float], usual: float) -> None:
    """A second, and more where the machine is slow; the one that meets the burst itself may wait for it."""
    *others, slowest = sorted(took)
    assert max(others) < 1.0 + 10 * usual
    assert slowest < 5.0 + 10 * usual


@pytest.mark.parametrize("addresses", [ADDRESSES[:1], ADDRESSES], ids=["one address", "several"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_when_120_callers_leave_it_open_then_others_are_served_at_once(
    door: Target, attack: Attack, addresses: list[str]
) -> None:
    usual = max(door.honest())
    with door.opened(attack, addresses):
        took = door.honest()
    print(f"\n{attack.__name__}: {max(took):.2f} s at most, {usual:.2f} s without")
    require_prompt(took, usual)


@pytest.mark.parametrize("attack", [sign_in, forecast, stream], ids=lambda attack: attack.__name__)
def test_when_there_is_no_front_then_others_are_served_all_the_same(
    side_door: Target, attack: Attack
) -> None:
    usual = max(side_door.honest())
    with side_door.opened(attack, ADDRESSES[:1]):
        took = side_door.honest()
    print(f"\n{attack.__name__}: {max(took):.2f} s at most, {usual:.2f} s without")
    require_prompt(took, usual)


def test_when_one_person_opens_120_streams_then_those_beyond_the_bound_are_refused_and_say_when(
    door: Target,
) -> None:
    answers = []
    with door.opened(stream, ADDRESSES[:1]) as sockets:
        for raw in sockets:
            raw.settimeout(20)
            answers.append(raw.recv(65536))
    found = [statuses(answer)[0] for answer in answers]
    assert found.count(200) == STREAMS.caller
    assert found.count(429) == CALLERS - STREAMS.caller
    refusal = answers[found.index(429)].lower()
    assert b"application/problem+json" in refusal
    assert b"retry-after: " in refusal

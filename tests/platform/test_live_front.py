"""Bytes that no honest client sends, against the whole running platform: front, Serve's proxy, replicas."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import Platform
from tests.platform.live import Live
from tests.serve import fronted
from tests.serve.fronted import LAST, Open
from tests.serve.http.test_raw_sockets import REFUSED, statuses


@pytest.fixture(scope="module")
def door(live: Live) -> Open:
    return Open(live.port, None, 0)


@pytest.fixture(scope="module")
def platform(live: Live) -> Platform:
    found = processes.load(DataLayout(live.folder))
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def still_up(door: Open) -> Iterator[None]:
    yield
    assert door.answers()


@pytest.fixture(scope="module")
def answers(door: Open) -> dict[str, bytes]:
    return door.say_each(REFUSED, wait=5)


@pytest.mark.parametrize("name", REFUSED)
def test_when_a_request_is_ambiguous_or_boundless_then_the_platform_refuses_it_and_stays_up(
    answers: dict[str, bytes], name: str
) -> None:
    said = answers[name]
    assert all(400 <= status < 500 for status in statuses(said)), said
    assert b"smuggled" not in said


def test_when_a_stranger_sends_a_body_then_401_comes_before_the_rest_of_it(door: Open) -> None:
    head = (
        b"POST /v1/datasets/flights/versions HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 90000000\r\n\r\n"
    )
    with door.connection(wait=60) as raw:
        raw.sendall(head + b"x" * 65536)
        assert statuses(raw.recv(65536)) == [401]


def test_when_callers_hang_up_or_stall_then_others_are_served(door: Open) -> None:
    whole = b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant_type=password"
    for place in range(1, len(whole), 7):
        with door.connection() as raw:
            raw.sendall(whole[:place])
    stalled = [door.connection() for _ in range(100)]
    for one in stalled:
        one.__enter__().sendall(whole)
    assert door.answers()
    for one in stalled:
        one.__exit__(None, None, None)


def test_when_headers_come_drop_by_drop_then_the_connection_ends(door: Open) -> None:
    with door.connection(wait=60) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        assert statuses(fronted.heard(raw)) == [408]


def test_when_requests_are_pipelined_then_each_is_answered_in_order(door: Open) -> None:
    asked = [b"/healthz", b"/v1/nothing"]
    said = door.say(*(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in asked), LAST, wait=60)
    assert statuses(said) == [200, 404, 200]


def test_when_anything_is_answered_then_it_says_nothing_of_the_servers_and_has_one_id(live: Live) -> None:
    for path in ("/", "/healthz", "/v1/datasets", "/docs"):
        answer = httpx.get(live.url + path)
        assert "server" not in answer.headers
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert "'unsafe" not in answer.headers["content-security-policy"]


def test_when_serve_is_asked_past_the_front_then_only_this_machine_can(
    live: Live, platform: Platform
) -> None:
    assert httpx.get(f"{platform.serve_url}/healthz").status_code == 200
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    port = f":{platform.serve_port:04X}"
    places = [
        line.split()[1] for line in listening if line.split()[1].endswith(port) and line.split()[3] == "0A"
    ]
    assert [place.partition(":")[0] for place in places] == ["0100007F"]


def test_when_the_front_is_gone_then_up_opens_it_again(live: Live, platform: Platform) -> None:
    before = fronts(platform)
    assert len(before) == 1
    processes_end(before)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{live.url}/healthz")
    done = live.quantis("up", "--port", str(live.port))
    assert done.returncode == 0, done.stderr
    assert len(fronts(platform)) == 1
    assert httpx.get(f"{live.url}/healthz").status_code == 200


def fronts(platform: Platform) -> list[int]:
    found = []
    for pid in processes.family(platform.instance):
        if b"front.cfg" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(pid)
    return found


def processes_end(pids: list[int]) -> None:
    import os
    import signal

    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(
        Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
        for pid in pids
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)

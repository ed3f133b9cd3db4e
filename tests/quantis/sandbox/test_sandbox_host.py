"""The host of readers: fast, untouched by any file, gone with its caller, and there again when it was killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quantis.errors import QuantisError, TooLarge
from quantis.reading import ReadLimits
from quantis.sandbox import client
from quantis.sandbox.client import check_untrusted_file, read_untrusted_file

ROOT = Path(__file__).resolve().parents[3]
GOOD = b"unique_id,ds,y\n" + b"".join(b"a,2024-01-%02d,%d\n" % (day, day) for day in range(1, 29))
SLOW = b"unique_id,ds,y\n" + b"a,2024-01-01,1\n" * 10_000_000
CALLER = """
import sys, threading, time
from pathlib import Path
from quantis.sandbox import client
client.check_untrusted_file(Path(sys.argv[1]), name="good")
slow = lambda: client.check_untrusted_file(Path(sys.argv[2]), name="slow")
threading.Thread(target=slow, daemon=True).start()
print(client._POOL._host.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_bytes(GOOD)
    return path


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    path = tmp_path / "slow.csv"
    path.write_bytes(SLOW)
    return path


def host() -> int:
    client.start_readers()
    found = client._POOL._host
    assert found is not None
    return found.process.pid


def readers(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return False


def rows(path: Path) -> int:
    return read_untrusted_file(path, name=path.name).num_rows


def test_when_many_files_are_read_then_one_host_with_one_thread_forks_a_reader_for_each(good: Path) -> None:
    before = host()
    assert [rows(good) for _ in range(5)] == [28] * 5
    assert host() == before
    assert len(list(Path(f"/proc/{before}/task").iterdir())) == 1
    assert eventually(lambda: readers(before) == [])


def test_when_files_come_at_once_then_each_gets_its_own_answer(tmp_path: Path) -> None:
    paths = []
    for count in range(1, 13):
        paths.append(tmp_path / f"{count}.csv")
        paths[-1].write_bytes(b"unique_id,ds,y\n" + b"a,2024-01-01,1\n" * count)
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(rows, paths)) == list(range(1, 13))


def test_when_a_file_takes_too_long_then_its_reader_is_killed_and_the_next_file_is_read(
    good: Path, slow: Path
) -> None:
    before = host()
    with pytest.raises(TooLarge, match="takes more than"):
        read_untrusted_file(slow, name="slow.csv", limits=ReadLimits(seconds=0.2))
    assert eventually(lambda: readers(before) == [])
    assert (rows(good), host()) == (28, before)


def test_when_a_reader_stands_still_then_the_clock_gives_it_up(good: Path, slow: Path) -> None:
    before = host()
    assert eventually(lambda: readers(before) == [])
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_untrusted_file, slow, name="slow.csv", limits=ReadLimits(seconds=0.5))
        while not (working := readers(before)):
            pass
        os.kill(working[0], signal.SIGSTOP)
        with pytest.raises(TooLarge, match="takes more than 3 s to read"):
            reading.result()
    assert (rows(good), host()) == (28, before)


def test_when_a_reader_runs_out_of_memory_then_the_next_one_has_limits_of_its_own(
    good: Path, slow: Path
) -> None:
    before = host()
    with pytest.raises(TooLarge, match="memory"):
        check_untrusted_file(slow, name="slow.csv", limits=ReadLimits(working_memory=8 * 2**20))
    assert (rows(good), host()) == (28, before)


def test_when_a_reader_is_killed_then_it_is_said_and_the_next_file_is_read(good: Path, slow: Path) -> None:
    before = host()
    assert eventually(lambda: readers(before) == [])  # those of the tests before are gone
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_untrusted_file, slow, name="slow.csv", limits=ReadLimits(seconds=60))
        assert eventually(lambda: readers(before) != [])
        os.kill(readers(before)[0], signal.SIGKILL)
        with pytest.raises(TooLarge, match="its reader ended"):
            reading.result()
    assert (rows(good), host()) == (28, before)


def test_when_a_reader_is_killed_before_it_knows_its_file_then_it_is_said_and_the_host_stays(
    slow: Path,
) -> None:
    before = host()
    assert eventually(lambda: readers(before) == [])
    for _ in range(30):
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_untrusted_file, slow, name="slow.csv", limits=ReadLimits(seconds=60))
            while not (working := readers(before)):
                pass
            os.kill(working[0], signal.SIGKILL)
            with pytest.raises(TooLarge, match="its reader ended"):
                reading.result()
    assert host() == before


def test_when_a_reader_is_killed_before_it_was_sent_its_file_then_it_is_said_and_the_host_stays(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host()
    assert eventually(lambda: readers(before) == [])
    exchange = client._exchange

    def late(connection: socket.socket, request: bytes, deadline: float) -> bytes:
        assert eventually(lambda: readers(before) != [])
        os.kill(readers(before)[0], signal.SIGKILL)
        assert eventually(lambda: readers(before) == [])  # the host has seen it, and has closed its end
        return exchange(connection, request, deadline)

    monkeypatch.setattr(client, "_exchange", late)
    with pytest.raises(TooLarge, match="its reader ended"):
        read_untrusted_file(slow, name="slow.csv", limits=ReadLimits(seconds=60))
    assert host() == before


def test_when_a_reader_fails_unforeseen_then_it_is_an_internal_error_with_an_id_and_not_of_memory(
    good: Path, tmp_path: Path
) -> None:
    request = client._build_request(
        "read", good, str(tmp_path), name="good.csv", media_type=None, limits=None, options=None
    )
    request["options"] = {"delimiter": "no such option"}  # as no caller sends it
    with pytest.raises(QuantisError) as caught:
        client._request_result(request, ReadLimits())
    error = caught.value
    assert (error.status, error.code) == (500, "internal")
    assert re.search(
        r"good.csv .* internal error of Quantis \(ValidationError\).* id [0-9a-f]{32}$", error.message
    )
    assert "memory" not in error.message
    assert "Traceback" in error.__notes__[0]
    assert rows(good) == 28


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (-signal.SIGKILL, 413, "ended by SIGKILL, as when the machine runs out of memory"),
        (-signal.SIGSEGV, 413, "ended by SIGSEGV, as a broken file may cause, or one that needs more than"),
        (1, 500, "ended with exit code 1, an internal error of Quantis; report it with the id"),
    ],
)
def test_when_a_reader_ends_without_a_response_then_the_message_says_how(
    code: int, status: int, expected: str
) -> None:
    error = client._reader_ended(code, "x.csv", ReadLimits())
    assert (error.status, expected in error.message) == (status, True)


def test_when_the_host_is_killed_then_the_next_file_gets_another(good: Path) -> None:
    before = host()
    os.kill(before, signal.SIGKILL)
    assert rows(good) == 28
    assert eventually(lambda: host() != before)


def test_when_the_caller_is_killed_then_its_host_and_its_readers_are_gone(good: Path, slow: Path) -> None:
    command = [sys.executable, "-c", CALLER, str(good), str(slow)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert caller.stdout is not None
        theirs = int(caller.stdout.readline())
        assert eventually(lambda: readers(theirs) != [], 60)
        working = readers(theirs)
        caller.kill()
    assert eventually(lambda: not any(_runs(pid) for pid in (theirs, *working)))


def test_when_the_caller_was_forked_then_it_gets_a_host_of_its_own(good: Path) -> None:
    before = host()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, f"{rows(good)} {host()}".encode())
            client._POOL.stop()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    found, theirs = os.read(reading, 100).decode().split()
    assert (found, host()) == ("28", before)
    assert int(theirs) != before
    assert eventually(lambda: not _runs(int(theirs)))


def test_when_the_callers_environment_holds_a_secret_then_its_host_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUANTIS_SECRET", "canary")
    before = host()
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: not _runs(before))
    assert b"canary" not in Path(f"/proc/{host()}/environ").read_bytes()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Requests are counted exactly: by threads, by processes of one node, and on Redis by several nodes."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from cluster.local.processes import free_ports
from cluster.tenancy import rate_counters
from cluster.tenancy.rate_counters import _BUCKET, BUCKETS, WAYS, FileCounters, RedisCounters, open_counters

ROOT = Path(__file__).parents[3]
MANY = """
import sys
from pathlib import Path
from cluster.tenancy.rate_counters import open_counters
counters = open_counters(Path(sys.argv[1]), sys.argv[2] or None)
sys.stdin.readline()
print(sum(counters.take("team a", 500, 60.0).admitted for _ in range(300)))
"""


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The address of a Redis of our own, stopped by its pid."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    folder, (port,) = Path(tempfile.mkdtemp(prefix="quantis-redis-")), free_ports(1)
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        counters = RedisCounters(f"redis://127.0.0.1:{port}/0", FileCounters(folder / "here"))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                counters._redis.ping()
                break
            except Exception:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _empty(url: str) -> None:
    redis.Redis.from_url(url).flushall()


@pytest.fixture(params=["file", "redis"])
def counters(request, tmp_path):
    url = request.getfixturevalue("redis_server") if request.param == "redis" else None
    if url:
        _empty(url)
    return open_counters(tmp_path, url)


def test_when_takes_are_counted_then_exactly_the_limit_succeeds_and_the_window_ends(counters):
    found = [counters.take("a", 3, 5) for _ in range(5)]
    assert [one.admitted for one in found] == [True, True, True, False, False]
    assert [one.used for one in found] == [1, 2, 3, 3, 3]
    assert 0 < found[-1].resets_in <= 5
    assert 1 <= found[-1].retry_after <= 5
    assert counters.take("b", 3, 5).used == 1
    time.sleep(found[-1].resets_in + 0.05)
    assert counters.take("a", 3, 5).used == 1


def test_when_one_only_looks_or_gives_back_then_the_count_says_so(counters):
    assert counters.take("a", 3, 60, cost=0).used == 0
    counters.take("a", 3, 60)
    assert counters.take("a", 3, 60, cost=0).used == 1
    counters.take("a", 3, 60, cost=-1)
    assert counters.take("a", 3, 60, cost=0).used == 0
    counters.take("a", 3, 60, cost=-1)
    assert [counters.take("a", 3, 60).admitted for _ in range(4)] == [True] * 3 + [False]


def test_when_threads_take_at_once_then_exactly_the_limit_succeeds(counters):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: counters.take("a", 100, 60).admitted, range(400)))
    assert sum(found) == 100


@pytest.mark.parametrize("where", ["one node", "three nodes on Redis"])
def test_when_processes_take_at_once_then_exactly_the_limit_succeeds(request, tmp_path, where):
    """Processes share a file on one node; those of three nodes share only Redis."""
    nodes = where == "three nodes on Redis"
    url = request.getfixturevalue("redis_server") if nodes else ""
    if nodes:
        _empty(url)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = []
    for number in range(3):
        folder = tmp_path / (str(number) if nodes else "shared")
        folder.mkdir(exist_ok=True)
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", MANY, str(folder), url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=ROOT,
            )
        )
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    admitted = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(admitted) == 500


def test_when_redis_does_not_answer_then_the_node_counts_alone(tmp_path):
    (port,) = free_ports(1)
    counters = open_counters(tmp_path, f"redis://127.0.0.1:{port}/0")
    assert [counters.take("a", 2, 60).admitted for _ in range(3)] == [True, True, False]


def test_when_the_clock_was_set_back_then_a_window_from_the_future_does_not_last(tmp_path, monkeypatch):
    counters = FileCounters(tmp_path / "limits")
    real = time.time
    monkeypatch.setattr("cluster.tenancy.rate_counters.time.time", lambda: real() + 86_400)
    for _ in range(3):
        counters.take("a", 2, 60)
    monkeypatch.setattr("cluster.tenancy.rate_counters.time.time", real)
    assert counters.take("a", 2, 60).admitted


def test_when_many_keys_come_then_the_table_stays_as_large_as_it_is_and_counts_go_on(tmp_path):
    counters = FileCounters(tmp_path / "limits")
    size = (tmp_path / "limits").stat().st_size
    assert [counters.take("team", 2, 60).admitted for _ in range(2)] == [True, True]
    for number in range(20_000):
        counters.take(f"address {number}", 10, 60)
    assert (tmp_path / "limits").stat().st_size == size == BUCKETS * WAYS * 32
    assert not counters.take("team", 2, 60).admitted
    assert (tmp_path / "limits").stat().st_mode & 0o077 == 0


def test_when_a_take_is_timed_then_it_is_far_below_a_millisecond(tmp_path):
    counters = FileCounters(tmp_path / "limits")
    started = time.process_time()
    for _ in range(2000):
        counters.take("team", 10**6, 60)
    assert (time.process_time() - started) / 2000 < 0.0005


def test_when_the_file_is_made_then_the_disk_has_given_all_its_room(tmp_path):
    """A mapped page that finds no room when it is first touched ends the process."""
    counters = FileCounters(tmp_path / "counters")
    counters.close()
    made = (tmp_path / "counters").stat()
    assert made.st_size == BUCKETS * _BUCKET
    assert made.st_blocks * 512 >= made.st_size


def unkeyed_bucket(key):
    """The bucket that somebody would compute who knows the program, but no secret."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:4], "big") % BUCKETS


def test_when_names_are_chosen_to_share_a_bucket_then_the_counter_there_stays(tmp_path):
    counters = FileCounters(tmp_path / "limits")
    victim = "sign-in to ann from 10.0.0.1"
    for _ in range(9):  # one below its limit, so that it may be evicted
        counters.take(victim, 10, 300)
    chosen = (f"name {n}" for n in range(10**7))
    colliding = [
        name for name in itertools.islice(chosen, 400_000) if unkeyed_bucket(name) == unkeyed_bucket(victim)
    ]
    assert len(colliding) > WAYS
    for name in colliding:
        counters.take(name, 10, 300)
    assert counters.take(victim, 10, 300, cost=0).used == 9


def test_when_two_tables_are_made_then_their_keys_differ_and_processes_of_one_share_it(tmp_path):
    one, other = FileCounters(tmp_path / "one"), FileCounters(tmp_path / "other")
    assert FileCounters(tmp_path / "one")._key == one._key != other._key
    assert len(one._key) == 32
    assert (tmp_path / "one.key").stat().st_mode & 0o077 == 0


def test_when_a_bucket_is_full_of_counters_at_their_limit_then_a_new_key_is_refused_and_none_is_forgotten(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(rate_counters, "BUCKETS", 1)
    counters = FileCounters(tmp_path / "limits")
    full = [f"account {number}" for number in range(WAYS)]
    for key in full:
        while counters.take(key, 3, 60).admitted:
            pass
    for number in range(50):
        refused = counters.take(f"other {number}", 3, 60)
        assert not refused.admitted
        assert 0 < refused.resets_in <= 60
        assert counters.take(f"other {number}", 3, 60, cost=0).admitted  # who only reads takes nothing
    assert not any(counters.take(key, 3, 60).admitted for key in full)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), min_size=20, max_size=200))
def test_when_keys_come_in_any_order_then_one_at_its_limit_is_refused_until_its_window_ends(takes):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(rate_counters, "BUCKETS", 2)
        counters = FileCounters(Path(folder) / "limits")
        exhausted = set()
        for number, times in takes:
            for _ in range(times):
                count = counters.take(f"key {number}", 4, 60)
                assert not (count.admitted and number in exhausted)
                if count.admitted and count.used == 4:
                    exhausted.add(number)
        counters.close()


def test_when_a_bucket_is_full_then_the_counter_furthest_from_its_limit_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(rate_counters, "BUCKETS", 1)
    counters = FileCounters(tmp_path / "limits")
    for _ in range(9):
        counters.take("guessed", 10, 300)
    for number in range(100):
        counters.take(f"flood {number}", 10, 600)
    assert counters.take("guessed", 10, 300, cost=0).used == 9

"""What a function run over many items gives back is the same in this process and on Ray."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from cluster.machine import BOUNDS
from cluster.ray.session import InProcessExecutor, RayExecutor, declared_memory, session
from cluster.settings import Settings
from quantis.errors import InvalidInput, QuantisError, RejectedPanel, TimedOut


def work(shared, item):
    if item == "refuse":
        raise InvalidInput(f"{item!r} is not welcome", errors=[{"pointer": "/x", "message": "no"}])
    if item == "findings":
        raise RejectedPanel("rejected", [])
    if item == "crash":
        raise ZeroDivisionError("by zero")
    if item == "odd":
        raise Odd(threading.Lock())
    if item == "slow":
        time.sleep(0.3)
    return {"sum": sum(shared["numbers"]) + len(item), "item": item}


class Odd(Exception):
    """An error that no process can hand to another."""


ITEMS = ["a", "slow", "refuse", "bb", "crash", "findings", "ccc"]


def told(results):
    return [
        (type(one).__name__, getattr(one, "message", str(one)).split("\n")[0])
        if isinstance(one, Exception)
        else one
        for one in results
    ]


@pytest.fixture(scope="module")
def on_ray():
    import ray

    ray.init(
        address="local", num_cpus=3, include_dashboard=False, object_store_memory=100 * 2**20, logging_level="error",
        log_to_driver=False,
    )  # fmt: skip
    yield RayExecutor()
    ray.shutdown()


def check(executor):
    shared = {"numbers": list(range(1000))}
    results = executor.map(work, shared, ITEMS)
    assert told(results) == [
        {"sum": 499501, "item": "a"},
        {"sum": 499504, "item": "slow"},
        ("InvalidInput", "'refuse' is not welcome"),
        {"sum": 499502, "item": "bb"},
        ("ZeroDivisionError", "by zero"),
        ("RejectedPanel", "rejected"),
        {"sum": 499503, "item": "ccc"},
    ]
    assert results[2].errors == [{"pointer": "/x", "message": "no"}]
    assert isinstance(results[2], QuantisError)
    assert executor.map(work, shared, []) == []
    kept = executor.map(work, shared, ["a", "odd", "bb"])
    assert [isinstance(one, Exception) for one in kept] == [False, True, False]


def test_when_items_are_worked_on_here_then_results_and_errors_stand_in_their_places():
    check(InProcessExecutor())


@pytest.mark.ray
def test_when_items_are_worked_on_by_ray_then_results_and_errors_stand_in_the_same_places(on_ray):
    check(on_ray)


def die(shared, item):
    if item == "die":
        os._exit(1)
    return os.getpid()


@pytest.mark.ray
def test_when_a_worker_dies_then_its_item_is_an_error_and_the_others_are_done_elsewhere(on_ray):
    results = on_ray.map(die, None, ["a", "die", "b"])
    assert [isinstance(one, Exception) for one in results] == [False, True, False]
    assert os.getpid() not in results


def takes(shared, item, seconds):
    if item == "die":
        os._exit(1)
    if item == "fail":
        raise ZeroDivisionError("by zero")
    end = time.monotonic() + float(item)
    while time.monotonic() < end:
        time.sleep(0.02)
    return (item, seconds)


def shares(left: int) -> float:
    return 10.0 * left


def test_when_items_have_allowances_here_then_each_is_told_its_own():
    done = dict(InProcessExecutor().map_timed(takes, None, ["0", "fail", "0.01"], shares))
    assert (done[0], done[2]) == (("0", 30.0), ("0.01", 10.0))
    assert isinstance(done[1], ZeroDivisionError)


def test_when_no_time_is_left_then_what_is_still_to_begin_is_timed_out():
    done = dict(
        InProcessExecutor().map_timed(takes, None, ["0", "0"], lambda left: 5.0 if left == 2 else 0.0)
    )
    assert done[0] == ("0", 5.0)
    assert isinstance(done[1], TimedOut)


@pytest.mark.ray
def test_when_no_time_is_left_then_no_task_begins(on_ray):
    done = dict(on_ray.map_timed(takes, None, ["600", "0", "600"], lambda left: 5.0 if left == 2 else 0.0))
    assert done[1] == ("0", 5.0)
    assert [isinstance(done[number], TimedOut) for number in (0, 2)] == [True, True]


@pytest.mark.ray
def test_when_tasks_are_declared_then_they_have_memory_within_what_the_nodes_have(on_ray):
    import ray

    memory = ray.cluster_resources()["memory"]
    assert 0 < declared_memory(1) <= memory / 3
    assert on_ray.map(free_memory, None, ["a"])[0] <= memory - declared_memory(0.5)


def free_memory(shared, item):
    """Return the memory that no task or actor has declared, once this task's is counted."""
    import ray

    for _ in range(600):
        free = ray.available_resources().get("memory", 0)
        if free < ray.cluster_resources()["memory"]:
            return free
        time.sleep(0.1)
    raise AssertionError("the task declared no memory")


@pytest.mark.ray
def test_when_the_driver_is_bounded_then_its_tasks_are_too(on_ray, monkeypatch):
    monkeypatch.setattr(BOUNDS, "limit", 300 * 2**20)
    done = on_ray.map(allocate, None, [10, 600, 20])
    assert [done[0], done[2]] == [10, 20]
    assert isinstance(done[1], MemoryError)


def allocate(shared, item):
    return len(bytearray(item * 2**20)) // 2**20


@pytest.mark.ray
def test_when_a_task_overruns_its_allowance_then_it_is_killed_and_named_and_the_others_go_on(
    on_ray, monkeypatch
):
    monkeypatch.setattr("cluster.ray.session.GRACE", 0.5)
    started = time.monotonic()
    items = ["0.1", "600", "fail", "die", "0.2"]
    done = dict(RayExecutor(cpus=1).map_timed(takes, None, items, lambda left: 2.0))
    assert time.monotonic() - started < 60
    assert (done[0], done[4]) == (("0.1", 2.0), ("0.2", 2.0))
    assert isinstance(done[1], TimedOut)
    assert "timed out after 3 s of its 2 s" in done[1].message
    assert isinstance(done[2], ZeroDivisionError)
    assert isinstance(done[3], Exception)


@pytest.mark.ray
def test_when_there_is_no_limit_then_tasks_wait_for_a_free_cpu_and_all_end(on_ray):
    done = dict(RayExecutor(cpus=1).map_timed(takes, None, ["0.3"] * 5, lambda left: None))
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert set(done.values()) == {("0.3", None)}


@pytest.mark.ray
def test_when_no_head_is_configured_then_a_session_has_its_own_and_ends_with_it(tmp_path, on_ray):
    import ray

    ray.shutdown()
    with session(Settings(data_dir=tmp_path, cpus=2, object_store_mb=80)):
        assert ray.is_initialized()
        private = Path(ray._private.worker._global_node.get_session_dir_path()).parents[1]
        assert private.name.startswith("quantis-")
        assert private.stat().st_mode & 0o077 == 0  # Ray opens its own folder to every account
        assert RayExecutor().map(work, {"numbers": [1]}, ["a"]) == [{"sum": 2, "item": "a"}]
    assert not ray.is_initialized()
    assert not private.exists()

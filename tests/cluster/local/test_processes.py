from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import MARK, MemoryWatch, Platform, family, living, marked_pids, stop
from tests.cluster.spawned import SLEEP

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
PARENT = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); c.wait()"


def test_when_processes_are_looked_for_then_only_those_with_the_whole_mark_are_found(spawn, mark):
    ours, other, similar, plain = spawn(mark), spawn(uuid.uuid4().hex), spawn(mark + "0"), spawn(None)
    assert processes.marked_pids(mark) == [ours.pid]
    assert processes.marked_pids(mark[:-1]) == []
    assert processes.marked_pids("") == []
    ours.kill()
    ours.wait()
    assert processes.marked_pids(mark) == []
    assert all(process.poll() is None for process in (other, similar, plain))


def test_when_an_instance_is_stopped_then_its_children_go_too_and_nobody_else(spawn, mark):
    parent, other, plain = spawn(mark, PARENT), spawn(uuid.uuid4().hex), spawn(None)
    assert len(processes.marked_pids(mark)) == 2
    assert processes.stop(mark) == 2
    assert processes.marked_pids(mark) == []
    assert parent.wait(60) == -signal.SIGTERM
    assert other.poll() is None
    assert plain.poll() is None
    assert processes.stop(mark) == 0


def test_when_a_process_does_not_listen_then_it_is_killed_after_some_patience(spawn, mark):
    process = spawn(mark, STUBBORN)
    started = time.monotonic()
    assert processes.stop(mark, patience=0.4) == 1
    assert process.wait(60) == -signal.SIGKILL
    assert time.monotonic() - started >= 0.4


def test_when_this_process_carries_the_mark_then_it_is_left_out(mark):
    code = f"from cluster.local import processes; print(processes.stop({mark!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {MARK: mark},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0\n"


def test_when_a_platform_is_saved_then_it_reads_back_until_it_is_forgotten(tmp_path, spawn, mark):
    data_layout = DataLayout(tmp_path)
    data_layout.prepare()
    assert processes.load(data_layout) is None
    platform = Platform(
        mark, 7, "127.0.0.1", 8000, "127.0.0.1:1", "http://127.0.0.1:2", "/tmp/quantis-x", 8001
    )
    processes.save(data_layout, platform)
    assert processes.load(data_layout) == platform
    assert platform.url == "http://127.0.0.1:8000"
    alive_before = platform.alive
    spawn(mark)
    assert (alive_before, platform.alive) == (False, True)
    for text in ("", "{", "[]", '{"instance": "x"}', '{"instance": 1, "more": 2}'):
        (data_layout.run / "platform.json").write_text(text)
        assert processes.load(data_layout) is None
    processes.forget(data_layout)
    processes.forget(data_layout)
    assert list(data_layout.run.iterdir()) == []


def test_when_a_port_is_taken_then_it_is_not_free_and_free_ones_differ():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not processes.port_is_free("127.0.0.1", port)
    assert processes.port_is_free("127.0.0.1", port)
    ports = processes.free_ports(5)
    assert len(set(ports)) == 5
    assert all(processes.port_is_free("127.0.0.1", port) for port in ports)


def test_when_memory_is_watched_then_the_peak_is_about_what_the_processes_took(spawn, mark):
    code = f"x = bytearray(50_000_000); x[::4096] = b'1' * len(x[::4096]); {SLEEP}"
    with MemoryWatch(mark, every=0.05) as watch:
        process = spawn(mark, code)
        deadline = time.monotonic() + 60
        while watch.peak < 50_000_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert 50_000_000 < watch.peak < 200_000_000
    assert processes.memory(mark) == 0


def test_when_a_child_hides_its_environment_then_it_still_ends_with_its_parent(mark: str) -> None:
    """Some of Ray's processes write their title over their environment."""
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess; subprocess.run(['env', '-i', '/bin/sleep', '60'])"],
        env={**os.environ, MARK: mark},
    )
    deadline = time.monotonic() + 20
    while len(family(mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    ours = family(mark)
    assert len(ours) == 2
    assert marked_pids(mark) == [parent.pid]
    assert stop(mark) == 2
    parent.wait()
    assert living(ours) == []


def test_when_a_port_is_asked_for_then_only_the_process_that_listens_there_counts(spawn, mark):
    """A port that answers may belong to anybody, after a restart of the machine for one."""
    other = spawn(mark)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert not processes.listens([os.getpid()], port)
        taken.listen()
        assert processes.listens([other.pid, os.getpid()], port)
        assert not processes.listens([other.pid], port)
    assert not processes.listens([os.getpid()], port)


def test_when_the_state_file_is_lost_then_the_instances_of_the_folder_are_found(spawn, mark, tmp_path):
    data_layout = DataLayout(tmp_path)
    spawn(mark, SLEEP, QUANTIS_DATA_DIR=str(tmp_path))
    spawn(uuid.uuid4().hex, SLEEP, QUANTIS_DATA_DIR=str(tmp_path / "another"))
    spawn(None, SLEEP, QUANTIS_DATA_DIR=str(tmp_path))
    assert processes.strays(data_layout) == {mark}
    assert processes.strays(DataLayout(tmp_path / "nothing")) == set()


def test_when_some_processes_are_spared_then_the_others_end(spawn, mark):
    front, other = spawn(mark, SLEEP, "/somewhere/front.cfg"), spawn(mark)
    fronts = processes.with_argument(mark, "front.cfg")
    assert list(fronts) == [front.pid]
    assert processes.stop(mark, spare=fronts) == 1
    assert other.wait(5) == -signal.SIGTERM
    assert front.poll() is None
    assert processes.end(fronts) == [front.pid]
    assert front.wait(5) == -signal.SIGTERM
    assert processes.end(fronts) == []


def test_when_a_child_has_ended_unnoticed_then_its_parent_is_not_whole(spawn, mark):
    code = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', ''], stdout=subprocess.PIPE); "
        "c.stdout.read(); print('ready', flush=True); time.sleep(60)"
    )
    parent, other = spawn(mark, code), spawn(mark)
    deadline = time.monotonic() + 20
    while not processes.has_dead_child([parent.pid]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes.has_dead_child([parent.pid])
    assert not processes.has_dead_child([other.pid])

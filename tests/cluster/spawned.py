"""Processes with the mark of an instance, ended after the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cluster.local.processes import MARK

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
Spawn = Callable[..., subprocess.Popen[bytes]]


@contextmanager
def spawning() -> Iterator[Spawn]:
    """Give a function that starts a Python process with a mark, or without."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        mark: str | None, code: str = SLEEP, *arguments: str, **environment: str
    ) -> subprocess.Popen[bytes]:
        inherited = {key: value for key, value in os.environ.items() if key != MARK}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**inherited, **environment, **({MARK: mark} if mark is not None else {})},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    try:
        yield start
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout
            process.stdout.close()

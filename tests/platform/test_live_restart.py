"""A replica of the API and Serve's proxy are killed under load: nobody who may ask again is left without an answer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from quantis.client import Client
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.jobs import JobState
from tests.platform.live import Live

VICTIMS = ["ServeReplica:quantis:Api", "ProxyActor"]
SECONDS = 240
"""Until anything that is waited for must have come, on a busy machine."""


@dataclass
class Load:
    """Callers that ask until they are told to end, and what became of it."""

    live: Live
    served: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        """Use the SDK; all that it asks is safe to repeat."""
        token, job = self.live.report["token"], self.live.report["job"]
        with Client(self.live.url, token) as client:
            while not self.over.is_set():
                try:
                    client.job(job)
                    client.models()
                    client.submit(FeaturizeSpec(dataset="lamps"), idempotency_key=f"again {number}")
                    client.series("lamps", limit=5)
                    self.served[f"caller {number}"] += 1
                except Exception as error:
                    self.errors.append(repr(error))

    def listen(self) -> None:
        """Note answers that are neither the API's nor the front's, as a program without the SDK meets them."""
        headers = {"Authorization": f"Bearer {self.live.report['token']}"}
        with httpx.Client(base_url=self.live.url, headers=headers, timeout=60) as client:
            while not self.over.is_set():
                with suppress(httpx.TransportError):
                    answer = client.get("/v1/jobs")
                    is_problem = answer.headers["content-type"] == "application/problem+json"
                    is_away = is_problem and answer.status_code == 503 and "retry-after" in answer.headers
                    self.served["listener"] += 1
                    if answer.status_code != 200 and not is_away:
                        self.foreign.append(f"{answer.status_code} {answer.text[:200]}")
                time.sleep(0.02)

    def wait_for_more(self) -> None:
        """Return when each caller was served three more times."""
        wanted = {name: times + 3 for name, times in self.served.items()}
        deadline = time.monotonic() + SECONDS
        while any(self.served[name] < times for name, times in wanted.items()):
            assert time.monotonic() < deadline, (self.served, wanted, self.errors)
            time.sleep(0.1)


@contextmanager
def load_on(live: Live) -> Iterator[Load]:
    load = Load(live)
    threads = [threading.Thread(target=load.ask, args=(number,), daemon=True) for number in range(4)]
    threads.append(threading.Thread(target=load.listen, daemon=True))
    for number in range(4):
        load.served[f"caller {number}"] = 0
    load.served["listener"] = 0
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.over.set()
        for thread in threads:
            thread.join(SECONDS)


def pids_of(live: Live, title: str) -> list[int]:
    platform = processes.load(DataLayout(live.folder))
    assert platform is not None
    found = []
    for pid in processes.family(platform.instance):
        with suppress(OSError):
            if title.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_when_a_replica_and_serve_s_proxy_are_killed_under_load_then_every_safe_request_is_served(
    bare: Live,
) -> None:
    waited: list[JobState] = []
    with Client(bare.url, bare.report["token"]) as client:
        job = client.submit(FeaturizeSpec(dataset="lamps"))

        def wait() -> None:
            with Client(bare.url, bare.report["token"]) as own:
                waited.append(own.wait(job.id).state)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        with load_on(bare) as load:
            load.wait_for_more()
            for title in VICTIMS:
                victims = pids_of(bare, title)
                assert victims, title
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                load.wait_for_more()
        assert load.errors == []
        assert load.foreign == []
        client.stop(job.id)
    waiting.join(SECONDS)
    assert waited == [JobState.stopped]


@pytest.mark.parametrize("title", VICTIMS[:1])
def test_when_a_replica_is_gone_then_the_command_line_waits_for_the_next(bare: Live, title: str) -> None:
    for pid in pids_of(bare, title):
        os.kill(pid, signal.SIGKILL)
    bare.environment["QUANTIS_TOKEN"] = bare.report["token"]
    done = bare.quantis("jobs", "ls")
    assert done.returncode == 0, done.stderr
    assert bare.report["job"] in done.stdout

"""The processes that one `quantis up` started: found by a mark in their environment, stopped by pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.storage import Storage, write_private

MARK = "QUANTIS_INSTANCE"


@dataclass(frozen=True)
class Platform:
    """What is known of a running platform."""

    instance: str
    pid: int
    host: str
    port: int
    ray_address: str
    ray_dashboard: str
    ray_temp: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        return bool(marked(self.instance))


def load(storage: Storage) -> Platform | None:
    try:
        return Platform(**json.loads((storage.run / "platform.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def save(storage: Storage, platform: Platform) -> None:
    write_private(storage.run / "platform.json", json.dumps(asdict(platform), indent=1))


def forget(storage: Storage) -> None:
    for name in ("platform.json", "env"):
        (storage.run / name).unlink(missing_ok=True)


def marked(instance: str) -> list[int]:
    """The living processes that carry the instance's mark, this one left out; an empty mark is nobody's."""
    if not instance:
        return []
    needle = f"{MARK}={instance}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = (
                needle in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid()
            )
            if ours and " Z " not in (folder / "stat").read_text():
                found.append(int(folder.name))
    return found


def stop(instance: str, patience: float = 5.0) -> int:
    """End every marked process, politely first; how many there were."""
    pids = marked(instance)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in marked(instance):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        deadline = time.monotonic() + patience
        while marked(instance) and time.monotonic() < deadline:
            time.sleep(0.1)
    return len(pids)


def port_is_free(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Ports that the kernel says are free, all different (outside Ray's range of worker ports)."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def memory(instance: str) -> int:
    """Bytes of memory of all marked processes, shared pages counted once (PSS)."""
    total = 0
    for pid in marked(instance):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class MemoryWatch:
    """Keeps the highest memory of an instance while it is open, looked at every few seconds."""

    def __init__(self, instance: str, every: float = 3.0) -> None:
        self.peak = 0
        self._instance = instance
        self._every = every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self._every):
            self.peak = max(self.peak, memory(self._instance))

"""Processes of one `quantis up`: found by a mark in their environment, stopped by pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.data_layout import DataLayout
from quantis.files import write_atomic

MARK = "QUANTIS_INSTANCE"
_LISTEN = "0A"


@dataclass(frozen=True)
class Platform:
    """Addresses and identity of a running platform."""

    instance: str
    pid: int
    host: str
    port: int
    ray_address: str
    ray_dashboard: str
    ray_temp: str
    serve_port: int
    tls_port: int | None = None
    agent_port: int | None = None

    @property
    def url(self) -> str:
        """The public address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.tls_port}" if self.tls_port else f"http://{host}:{self.port}"

    @property
    def serve_url(self) -> str:
        """The address of Serve, behind the proxy."""
        return f"http://127.0.0.1:{self.serve_port}"

    @property
    def alive(self) -> bool:
        return bool(marked_pids(self.instance))


def load(data_layout: DataLayout) -> Platform | None:
    try:
        return Platform(**json.loads((data_layout.run / "platform.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def save(data_layout: DataLayout, platform: Platform) -> None:
    write_atomic(data_layout.run / "platform.json", json.dumps(asdict(platform), indent=1))


def forget(data_layout: DataLayout) -> None:
    for name in ("platform.json", "env"):
        (data_layout.run / name).unlink(missing_ok=True)


def marked_pids(instance: str) -> list[int]:
    """Return the living processes with the instance's mark, except this one; an empty mark matches none."""
    if not instance:
        return []
    needle = f"{MARK}={instance}".encode()
    return [pid for pid, environment in _environments() if needle in environment]


def strays(data_layout: DataLayout) -> set[str]:
    """Return the instances that run on this data folder, also those whose state file is lost."""
    data_dir = f"QUANTIS_DATA_DIR={data_layout.root}".encode()
    mark = f"{MARK}=".encode()
    entries = {
        entry for _, environment in _environments() if data_dir in environment for entry in environment
    }
    return {entry.removeprefix(mark).decode() for entry in entries if entry.startswith(mark)} - {""}


def _environments() -> Iterable[tuple[int, list[bytes]]]:
    """Yield pid and environment of each living process that may be read, except this one."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if pid != os.getpid() and _stat(pid):
                yield pid, environment


def family(instance: str) -> dict[int, int]:
    """Return the marked processes and all their descendants: pid to start time, in clock ticks.

    Some of Ray's processes write their title over their environment, so that only their parent identifies them.
    """
    stats = {pid: stat for folder in Path("/proc").glob("[0-9]*") if (stat := _stat(pid := int(folder.name)))}
    pids = {pid for pid in marked_pids(instance) if pid in stats}
    changed = True
    while changed:
        children = {pid for pid, (parent, _) in stats.items() if parent in pids} - pids - {os.getpid()}
        pids |= children
        changed = bool(children)
    return {pid: stats[pid][1] for pid in pids}


def _stat(pid: int) -> tuple[int, int] | None:
    """Return (parent, start) of a living process; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), int(fields[19]))


def living(processes: dict[int, int]) -> list[int]:
    """Return the processes of a family that still run; a pid that was given to another process is not one."""
    return [pid for pid, start in processes.items() if (stat := _stat(pid)) and stat[1] == start]


def with_argument(instance: str, argument: str) -> dict[int, int]:
    """Return the processes that were started with an argument, or a path of that name: pid to start time."""
    matches = {}
    for pid, start in family(instance).items():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
            if any(word.rpartition("/")[2] == argument for word in words):
                matches[pid] = start
    return matches


def has_dead_child(pids: Collection[int]) -> bool:
    """Return True if a child of one of these processes has ended and its parent has not yet noticed."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z" and int(fields[1]) in pids:
                return True
    return False


def stop(instance: str, patience: float = 5.0, spare: Collection[int] = ()) -> int:
    """End every process of the instance but the spared ones, politely first; return their number."""
    processes: dict[int, int] = {}
    for sign in (signal.SIGTERM, signal.SIGKILL):
        processes |= {pid: start for pid, start in family(instance).items() if pid not in spare}
        _signal(processes, sign, patience)
    return len(processes)


def end(processes: dict[int, int], patience: float = 5.0) -> list[int]:
    """End these processes, politely first; return those that were there."""
    pids = living(processes)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        _signal(processes, sign, patience)
    return pids


def _signal(processes: dict[int, int], sign: signal.Signals, patience: float) -> None:
    """Signal the living ones of these processes and give them time to end."""
    for pid in living(processes):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
    deadline = time.monotonic() + patience
    while living(processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def listens(pids: Iterable[int], port: int) -> bool:
    """Return True if one of these processes, and not merely anybody, listens on the TCP port."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return True
    return False


def port_is_free(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Return different free ports (outside Ray's range of worker ports)."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def memory(instance: str) -> int:
    """Return the bytes of memory of all marked processes, shared pages counted once (PSS)."""
    total = 0
    for pid in family(instance):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class MemoryWatch:
    """Records the highest memory of an instance while it is open, sampled every few seconds."""

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

"""Memory of this machine, how the platform shares it, and the bounds of a job's processes."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

MIB, GIB = 2**20, 2**30
_PROCESS, _PROCESS_LEAST, _PROCESS_SHARE = GIB, GIB // 2, 12
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_FIRST_TO_KILL = 1000
"""Linux's `oom_score_adj` of a process that is killed before any other."""


def total_memory() -> int:
    """Return the bytes of memory of this machine, or of the container that this process runs in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`
            total = min(total, int(path.read_text()))
    return total


def shared_memory_mb() -> int:
    """Return the MiB that serving and jobs may take together: the rest is the system's and Ray's own."""
    total = total_memory()
    return max(512, (total - max(GIB, total // 10)) // MIB - 256)


def jobs_at_once(memory_mb: int) -> int:
    """Return the number of jobs that a machine runs at once: one for every 3 GiB, two for every CPU at most."""
    return max(1, min(2 * (os.cpu_count() or 1), memory_mb // 3072))


def process_memory(memory_mb: int) -> int:
    """Return the bytes that a replica or a job's driver declares to Ray.

    A twelfth of the memory, so that an API, four forecasters and two drivers leave a third of it to a task.
    """
    return min(_PROCESS, max(_PROCESS_LEAST, memory_mb * MIB // _PROCESS_SHARE))


def task_memory(cpus: float, node: dict[str, float], serving: float) -> int:
    """Return the bytes that a task of so many CPUs declares on a node: its CPUs' share of half of the memory.

    The other half is for what serves (it has `serving` CPUs) and for drivers. 1 GiB at least, and never more than a
    third of the memory, or it might wait for ever.
    """
    memory, task_cpus = node.get("memory", 0.0), node.get("CPU", 0.0) - serving
    share = memory / 2 * cpus / max(task_cpus, cpus)
    return int(min(memory / 3, max(_PROCESS, share)))


class ProcessBounds:
    """Bounds of this process, set once: it may grow by so much, and is killed before whatever serves."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def set(self, limit: int) -> None:
        """Let this process allocate at most `limit` bytes more than it has; MemoryError is raised beyond."""
        if self.limit is not None or sys.platform != "linux":
            return
        self.limit = limit
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_KILL))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        maximum = _allocated() + limit
        resource.setrlimit(
            resource.RLIMIT_DATA, (maximum if hard == resource.RLIM_INFINITY else min(maximum, hard), hard)
        )


def _allocated() -> int:
    """Return the bytes of private data that this process has mapped."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


BOUNDS = ProcessBounds()

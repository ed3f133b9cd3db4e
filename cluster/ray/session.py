"""The door to a Ray session, and the executor that hides it from models and features."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import ray

from cluster.machine import BOUNDS, task_memory
from cluster.settings import SERVING, Settings
from quantis.errors import TimedOut

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Allowance = Callable[[int], float | None]
"""The seconds that an item may take, by how many are still to begin, it included; None for as long as it takes."""

GRACE = 5.0
"""Seconds over its allowance, and a fifth of it, until an item that goes on is killed."""


class Executor(Protocol):
    """Runs one function over many items with a shared argument; errors stand in for the results of their items."""

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]:
        """Return the results in the order of the items."""
        ...

    def map_timed(
        self,
        function: Callable[[Shared, Item, float | None], Result],
        shared: Shared,
        items: Sequence[Item],
        allowance: Allowance,
    ) -> Iterator[tuple[int, Result | Exception]]:
        """Yield the number and result of each item as it ends; the function is given the seconds it may take.

        Items begin in order, each with its allowance at its start, so that time that is left over goes to those that
        follow. TimedOut stands in for the result of one that takes longer, or has no time to begin with.
        """
        ...


class InProcessExecutor:
    """Runs the items in sequence in this process; an item that overruns is let finish."""

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]:
        return [_attempt(function, shared, item) for item in items]

    def map_timed(
        self,
        function: Callable[[Shared, Item, float | None], Result],
        shared: Shared,
        items: Sequence[Item],
        allowance: Allowance,
    ) -> Iterator[tuple[int, Result | Exception]]:
        for number, item in enumerate(items):
            seconds = allowance(len(items) - number)
            yield number, _NO_TIME if seconds == 0 else _attempt(function, shared, item, seconds)


class RayExecutor:
    """Runs a Ray task per item, as many at once as there are CPUs; a task that overruns is killed."""

    def __init__(self, cpus: float = 0.5) -> None:
        self._cpus = cpus

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]:
        stored = ray.put(shared)
        task: Any = ray.remote(**self._options())(_run_metered)
        references = [task.remote(BOUNDS.limit, function, stored, item) for item in items]
        return [_collect(reference) for reference in references]

    def map_timed(
        self,
        function: Callable[[Shared, Item, float | None], Result],
        shared: Shared,
        items: Sequence[Item],
        allowance: Allowance,
    ) -> Iterator[tuple[int, Result | Exception]]:
        stored = ray.put(shared)
        task: Any = ray.remote(**self._options(), num_returns="streaming")(_run_announced)
        waiting, running = deque(enumerate(items)), dict[Any, _Running]()
        while waiting or running:
            while waiting and len(running) < self.width:
                number, item = waiting.popleft()
                seconds = allowance(len(waiting) + 1)
                if seconds == 0:
                    yield number, _NO_TIME
                    continue
                reference = task.remote(BOUNDS.limit, function, stored, item, seconds)
                running[reference] = _Running(number, seconds)
            if not running:
                return
            ready, _ = ray.wait(
                list(running), timeout=_seconds_until_overdue(running.values()), fetch_local=False
            )
            for stream in ready:
                outcome = _collect(next(stream))
                if isinstance(outcome, str) and outcome == _STARTED:
                    running[stream].begin()
                else:
                    yield running.pop(stream).number, outcome
            for stream in [stream for stream, state in running.items() if state.left() <= 0]:
                ray.cancel(stream, force=True)
                RESOURCE_USAGE.cpu_seconds += (
                    self._cpus * running[stream].took()
                )  # what was killed can say nothing
                yield running[stream].number, running.pop(stream).overrun()

    def _options(self) -> dict[str, Any]:
        """Return what a task declares; it is started again once, and so is killed before what serves."""
        return {"num_cpus": self._cpus, "memory": declared_memory(self._cpus) or None, "max_retries": 1}

    @property
    def width(self) -> int:
        """Number of items that can run at once."""
        return max(1, int((ray.cluster_resources().get("CPU", 1) - SERVING) / self._cpus))


@dataclass
class _Running:
    """A submitted task; its time counts from when a worker has taken it."""

    number: int
    seconds: float | None
    started_at: float | None = None

    def begin(self) -> None:
        self.started_at = time.monotonic()

    def left(self) -> float:
        if self.started_at is None or self.seconds is None:
            return math.inf
        return self.started_at + 1.2 * self.seconds + GRACE - time.monotonic()

    def took(self) -> float:
        return time.monotonic() - (self.started_at or 0.0)

    def overrun(self) -> TimedOut:
        return TimedOut(f"timed out after {self.took():.0f} s of its {self.seconds:.0f} s")


@dataclass
class ResourceUsage:
    """CPU and GPU time that this process used elsewhere: of its tasks, and what it reserved, busy or not."""

    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0

    @contextmanager
    def reserved(self, cpus: float, gpus: float = 0.0) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.cpu_seconds += cpus * (time.monotonic() - started)
            self.gpu_seconds += gpus * (time.monotonic() - started)


@dataclass(frozen=True)
class _Metered:
    result: Any
    cpu_seconds: float


RESOURCE_USAGE = ResourceUsage()
_STARTED = "begun"
_NO_TIME = TimedOut("timed out: no time was left to begin")


def declared_memory(cpus: float) -> int:
    """Return the bytes that a task or worker of so many CPUs declares, by the largest node; 0 where none says."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return max((task_memory(cpus, node, SERVING) for node in nodes), default=0)


def _run_announced(
    limit: int | None,
    function: Callable[[Shared, Item, float | None], Result],
    shared: Shared,
    item: Item,
    seconds: float | None,
) -> Iterator[Any]:
    """Yield a start signal, then the result."""
    yield _STARTED
    yield _run_metered(limit, function, shared, item, seconds)


def _seconds_until_overdue(running: Iterable[_Running]) -> float | None:
    """Return the seconds until the first task is overdue; None when nothing has a limit."""
    seconds = min((task.left() for task in running), default=math.inf)
    return None if seconds == math.inf else max(0.0, seconds)


def _attempt(function: Callable[..., Result], *arguments: Any) -> Result | Exception:
    try:
        return function(*arguments)
    except Exception as error:
        return error


def _run_metered(limit: int | None, function: Callable[..., Result], *arguments: Any) -> _Metered:
    """Run the function in this process, which may take `limit` bytes more, and meter it."""
    if limit is not None:
        BOUNDS.set(limit)
    started = time.process_time()
    return _Metered(_attempt(function, *arguments), time.process_time() - started)


def _collect(reference: Any) -> Any:
    try:
        value = ray.get(reference)
    except ray.exceptions.RayError as error:
        return error
    if isinstance(value, _Metered):
        RESOURCE_USAGE.cpu_seconds += value.cpu_seconds
        return value.result
    return value


@contextmanager
def session(settings: Settings) -> Iterator[None]:
    """Open a Ray session on the configured head, or on a local one when there is none.

    The head's token comes with the environment: Ray's core reads it when it is loaded.
    """
    private: Path | None = None
    if settings.ray_address:
        ray.init(
            address=settings.ray_address, namespace="quantis", log_to_driver=True, logging_level="warning"
        )
    else:
        private = Path(tempfile.mkdtemp(prefix="quantis-", dir="/tmp"))  # nosec B108 - socket paths must be short
        ray.init(
            address="local",
            num_cpus=settings.ray_cpus,
            _memory=settings.memory_mb * 1024 * 1024,
            object_store_memory=settings.object_store_mb * 1024 * 1024,
            include_dashboard=False,
            logging_level="warning",
            _temp_dir=str(private / "ray"),  # which Ray opens to every account of the machine
        )
    try:
        yield
    finally:
        ray.shutdown()
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)

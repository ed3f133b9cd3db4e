"""The door to a Ray session, and the executor that hides it from models and features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import ray

from cluster.settings import Settings

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function over many items with what they share; results in order, an error in its item's place."""

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]: ...


class InProcess:
    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]:
        return [_attempt(function, shared, item) for item in items]


class OnRay:
    """One Ray task per item."""

    def __init__(self, cpus: float = 0.5) -> None:
        self._cpus = cpus

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result | Exception]:
        task: Any = ray.remote(num_cpus=self._cpus, max_retries=1)(_attempt)
        stored = ray.put(shared)
        references = [task.remote(function, stored, item) for item in items]
        return [_collect(reference) for reference in references]


def _attempt(function: Callable[[Shared, Item], Result], shared: Shared, item: Item) -> Result | Exception:
    try:
        return function(shared, item)
    except Exception as error:
        return error


def _collect(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return error


@contextmanager
def session(settings: Settings) -> Iterator[None]:
    """A Ray session on the configured head, or on a local one of its own when there is none.

    The head's token comes with the environment: Ray's core reads it when it is loaded.
    """
    if settings.ray_address:
        ray.init(
            address=settings.ray_address, namespace="quantis", log_to_driver=True, logging_level="warning"
        )
    else:
        ray.init(
            address="local",
            num_cpus=max(2, settings.cpus),
            object_store_memory=settings.object_store_mb * 1024 * 1024,
            include_dashboard=False,
            logging_level="warning",
        )
    try:
        yield
    finally:
        ray.shutdown()

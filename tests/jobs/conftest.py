from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def on_ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=3, object_store_memory=256 * 2**20, include_dashboard=False)
    yield
    ray.shutdown()

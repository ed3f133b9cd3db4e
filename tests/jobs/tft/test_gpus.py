"""GPUs are the cluster's: a driver without one asks for those of the workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from quantis.errors import InvalidInput
from quantis.types.job_specs import TftParams

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(params=[0, 1])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The GPUs that a cluster declares, while this driver sees none."""
    import ray

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ray.init(
        address="local", num_cpus=2, num_gpus=request.param, include_dashboard=False, log_to_driver=False,
        object_store_memory=100 * 2**20, logging_level="error",
    )  # fmt: skip
    yield request.param
    ray.shutdown()


def test_when_the_cluster_has_gpus_then_they_are_used_whatever_the_driver_has(gpus: int) -> None:
    from jobs.tft.ray_trainer import fit_to_gpus, scaling_config

    both = TftParams(workers=2, batch_size=32)
    fitted = fit_to_gpus(both)
    assert (fitted.workers, fitted.batch_size) == ((1, 64) if gpus else (2, 32))
    scaling = scaling_config(fitted)
    assert scaling.use_gpu is bool(gpus)
    assert scaling.num_workers == fitted.workers
    assert scaling.resources_per_worker is not None
    assert scaling.resources_per_worker["memory"] > 0
    assert not scaling_config(both.model_copy(update={"use_gpu": False})).use_gpu
    asked = both.model_copy(update={"use_gpu": True})
    if gpus:
        assert scaling_config(fit_to_gpus(asked)).use_gpu
    else:
        with pytest.raises(InvalidInput, match="use_gpu is true, and no node of the cluster has a GPU"):
            fit_to_gpus(asked)

"""The forecaster as a Serve deployment: one engine per replica, models loaded as they are asked for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.backend import Backend
from cluster.settings import Settings
from monitoring import instruments, logs
from quantis.errors import QuantisError, TimedOut, all_errors
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from serve.forecasting.engine import Engine

_BY_CODE = {kind.code: kind for kind in all_errors()}


def make_engine(backend: Backend) -> Engine:
    outage_seconds = backend.settings.outage_seconds
    return Engine(
        backend.registry, backend.catalogue, backend.buffered_vintages, backend.families, outage_seconds
    )


class ForecasterReplica:
    """A replica. Errors travel as values, so that they arrive as they left."""

    def __init__(self) -> None:
        backend = Backend.from_settings()
        settings = backend.settings
        instruments.configure(settings.data_layout.metrics)
        logs.configure("forecaster", file=settings.data_layout.logs / "forecaster.log")
        self._engine = make_engine(backend)
        self._threads = ThreadPoolExecutor(max_workers=2)

    async def forecast(self, team: str, ref: str, request: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            parsed = ForecastRequest.model_validate_json(request)
            response = await loop.run_in_executor(self._threads, self._engine.forecast, team, ref, parsed)
        except QuantisError as error:
            return {"code": error.code, "message": error.message, "errors": error.errors}
        return {"answer": response.model_dump_json()}


class RemoteForecaster:
    """Client of the deployment inside the ingress: one hop."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        call = self._handle.forecast.remote(team, ref, request.model_dump_json())
        try:
            result: dict[str, Any] = await asyncio.wait_for(_await_result(call), request.seconds)
        except TimeoutError:
            raise TimedOut(
                f"no answer within {request.seconds:g} s; allow more time with deadline_ms"
            ) from None
        if "answer" not in result:
            raise _BY_CODE.get(result["code"], QuantisError)(result["message"], errors=result["errors"])
        return ForecastResponse.model_validate_json(result["answer"])


async def _await_result(call: Any) -> dict[str, Any]:
    result: dict[str, Any] = await call
    return result


def deployment(settings: Settings) -> Any:
    """Return the deployment, autoscaling between the configured numbers of replicas."""
    return serve.deployment(
        name="Forecaster",
        ray_actor_options={"num_cpus": 0.2},
        max_ongoing_requests=16,
        health_check_period_s=5,
        autoscaling_config={
            "min_replicas": settings.forecaster_replicas,
            "max_replicas": settings.forecaster_max_replicas,
            "target_ongoing_requests": 4,
        },
    )(ForecasterReplica)

"""The forecaster as a Serve deployment: one engine per replica, models loaded as they are asked for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.backend import Backend
from cluster.settings import Settings
from monitoring import instruments, logs
from quantis.errors import QuantisError, TimedOut, all_errors
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.operations.reproduction import Reproduction
from serve.forecasting.canary_counts import CanaryCounts
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.engine import Engine
from serve.forecasting.reproduction import reproduce
from serve.security.concurrency_limits import FORECASTS_PER_REPLICA

REPRODUCTION_SECONDS = 60.0
_BY_CODE = {kind.code: kind for kind in all_errors()}


def make_engine(backend: Backend) -> Engine:
    return Engine(
        backend.registry,
        backend.catalogue,
        backend.buffered_vintages,
        backend.families,
        backend.settings.outage_seconds,
        calibrations=backend.calibrations,
    )


class ForecasterReplica:
    """A replica. Errors travel as values, so that they arrive as they left."""

    def __init__(self) -> None:
        backend = Backend.from_settings()
        settings = backend.settings
        instruments.configure(settings.data_layout.metrics)
        logs.configure("forecaster", file=settings.data_layout.logs / "forecaster.log")
        self._engine = make_engine(backend)
        self._canaries = CanaryCounts(backend.online_experiments, backend.experiment_arms)
        self._threads = ThreadPoolExecutor(max_workers=2)

    async def forecast(self, team: str, ref: str, request: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        parsed = ForecastRequest.model_validate_json(request)
        cancellation = Cancellation(parsed.seconds)
        work = partial(self._canaries.forecast, self._engine, team, ref, parsed, cancellation)
        try:
            response = await loop.run_in_executor(self._threads, work)
        except QuantisError as error:
            return _to_value(error)
        finally:
            cancellation.cancel()  # what waits for a thread never begins, what has begun ends at its next step
        return {"answer": response.model_dump_json()}

    async def reproduce(self, team: str, forecast_id: str) -> dict[str, Any]:
        work = partial(reproduce, self._engine, team, forecast_id)
        try:
            reproduction = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except QuantisError as error:
            return _to_value(error)
        return {"answer": reproduction.model_dump_json()}


def _to_value(error: QuantisError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "errors": error.errors}


class RemoteForecaster:
    """Client of the deployment inside the ingress: one hop."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        call = self._handle.forecast.remote(team, ref, request.model_dump_json())
        text = await _response_text(call, request.seconds, "allow more time with deadline_ms")
        return ForecastResponse.model_validate_json(text)

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction:
        call = self._handle.reproduce.remote(team, forecast_id)
        text = await _response_text(call, REPRODUCTION_SECONDS, "ask again when less is going on")
        return Reproduction.model_validate_json(text)


async def _response_text(call: Any, seconds: float, remedy: str) -> str:
    """Return the answer of a call of the deployment, or raise the error that it travels as."""
    is_answered = False
    try:
        result: dict[str, Any] = await asyncio.wait_for(_await_result(call), seconds)
        is_answered = True
    except TimeoutError:
        raise TimedOut(f"no answer within {seconds:g} s; {remedy}") from None
    finally:
        if not is_answered:
            _cancel(call)
    if "answer" not in result:
        raise _BY_CODE.get(result["code"], QuantisError)(result["message"], errors=result["errors"])
    text: str = result["answer"]
    return text


async def _await_result(call: Any) -> dict[str, Any]:
    result: dict[str, Any] = await call
    return result


def _cancel(call: Any) -> None:
    """Cancel a call of a handle, so that the replica works for nobody."""
    if hasattr(call, "cancel"):
        call.cancel()


def deployment(settings: Settings) -> Any:
    """Return the deployment, autoscaling between the configured numbers of replicas."""
    return serve.deployment(
        name="Forecaster",
        ray_actor_options={"num_cpus": 0.2, "memory": settings.process_memory},
        max_ongoing_requests=16,
        health_check_period_s=5,
        autoscaling_config={
            "min_replicas": settings.forecaster_replicas,
            "max_replicas": settings.forecaster_max_replicas,
            "target_ongoing_requests": FORECASTS_PER_REPLICA,
        },
    )(ForecasterReplica)

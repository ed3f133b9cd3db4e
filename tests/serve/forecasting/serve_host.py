"""The API and a forecaster that goes on until it is told, on a Serve of their own: `python -m ... FOLDER PORT`."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from cluster.repositories.operations.experiment_arms import ExperimentArms
from cluster.repositories.operations.online_experiments import OnlineExperiments
from quantis.errors import TimedOut
from quantis.types.forecasts import ForecastRequest
from serve.api.application import create_app
from serve.forecasting.canary_counts import CanaryCounts
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.deployment import ForecasterReplica, RemoteForecaster
from serve.services import Services
from tests.serve.api_under_test import settings_for


class EndlessEngine:
    """Leaves a file for each forecast that begins, and one for each that is told to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def forecast(self, team: str, ref: str, request: ForecastRequest, cancellation: Cancellation) -> None:
        name = request.series[0].unique_id
        (self._folder / f"begun-{name}").touch()
        while True:
            try:
                cancellation.check()
            except TimedOut:
                (self._folder / f"told-{name}").touch()
                raise
            time.sleep(0.02)


class Replica(ForecasterReplica):
    def __init__(self, folder: str) -> None:
        self._engine: Any = EndlessEngine(Path(folder))
        self._threads = ThreadPoolExecutor(max_workers=1)
        database = Database(settings_for(Path(folder)).sql_url)
        self._canaries = CanaryCounts(OnlineExperiments(database), ExperimentArms(database))


class Front:
    def __init__(self, folder: str, handle: DeploymentHandle[Any]) -> None:
        settings = settings_for(Path(folder))
        database = Database(settings.sql_url)
        self._services = Services(settings, database, RemoteForecaster(handle), FakeJobs())

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._services)


def main() -> None:
    folder, port = sys.argv[1], int(sys.argv[2])
    ray.init(address="local", num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.1}, "max_ongoing_requests": 16}
    replica = serve.deployment(**options)(Replica).bind(folder)
    front: Any = serve.deployment(**options)(serve.ingress()(Front))
    serve.run(front.bind(folder, replica), name="host", route_prefix="/")
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()

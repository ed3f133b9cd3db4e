"""The Serve application: the API as ingress, the forecaster behind it.

`serve.app:app` is what KubeRay deploys; `python -m serve.app` deploys it onto the running head.
"""

from __future__ import annotations

import threading
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from cluster.database.engine import Database
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.ray.reconciler import Reconciler
from cluster.ray.session import session
from cluster.ray.submission import RayJobs
from cluster.settings import Settings
from monitoring import instruments, logs
from quantis.sandbox.client import start_readers
from serve.api.application import create_app
from serve.forecasting import deployment as forecasting
from serve.forecasting.deployment import RemoteForecaster
from serve.operations import deployment as operations
from serve.services import Services

APPLICATION = "quantis"
MAX_ONGOING_REQUESTS = 1000
"""Of an API replica: several times what callers can leave open in it (`serve/security/concurrency_limits.py`), for
waiting costs an event loop next to nothing; work is bounded by the threads that do it."""


class Ingress:
    """An API replica: the FastAPI application and, where it holds the lease, the reconciler."""

    def __init__(self, handle: DeploymentHandle[Any], background: DeploymentHandle[Any]) -> None:
        """`background` is not called: to name it is what makes Serve run it."""
        settings = Settings()
        settings.data_layout.prepare()
        instruments.configure(settings.data_layout.metrics)
        logs.configure("api", file=settings.data_layout.logs / "api.log")
        database = Database(settings.sql_url)
        server = RayJobs(settings.ray_dashboard or "http://127.0.0.1:8265", settings.process_memory)
        self._services = Services(settings, database, RemoteForecaster(handle), server)
        self._services.check_secrets()
        self._reconciler = Reconciler(database, server, self._services.quotas)
        self._sweeper = OrphanSweeper(
            database, settings.data_layout, remove_left_over=self._services.deletion.remove_left_over
        )
        start_readers()
        for name, run in (("reconciler", self._reconciler.run), ("sweeper", self._sweeper.run)):
            threading.Thread(target=run, name=name, daemon=True).start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = create_app(self._services)
        # Ready before it is asked for: it takes a second of the processor.
        threading.Thread(target=app.openapi, name="document", daemon=True).start()
        return app


def app(args: dict[str, str]) -> Application:
    """Build the application; Serve calls this. It takes no arguments: settings come from the environment."""
    settings = Settings()
    ingress: Any = serve.deployment(
        name="Api",
        num_replicas=settings.api_replicas,
        ray_actor_options={"num_cpus": 0.1, "memory": settings.process_memory},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        health_check_period_s=5,
    )(serve.ingress()(Ingress))
    forecaster, background = forecasting.deployment(settings), operations.deployment(settings)
    bound: Application = ingress.bind(forecaster.bind(), background.bind())
    return bound


def deploy(settings: Settings) -> None:
    """Deploy onto the running head and return when it serves."""
    has_proxy = settings.serve_port is not None
    host, port = ("127.0.0.1", settings.serve_port) if has_proxy else (settings.host, settings.port)
    with session(settings):
        serve.start(http_options={"host": host, "port": port, "access_log": False})
        serve.run(app({}), name=APPLICATION, route_prefix="/")


if __name__ == "__main__":
    deploy(Settings())

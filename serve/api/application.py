"""The whole HTTP API as a plain FastAPI application: it runs and tests without Ray."""

from __future__ import annotations

import json
from functools import cache

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute

from monitoring import instruments
from quantis import __version__
from quantis.errors import NotFound, NotInstalled, Unavailable
from quantis.types.base import Frozen, Problem
from serve.api import (
    accounts,
    approvals,
    audit,
    datasets,
    experiments,
    forecasts,
    jobs,
    keys,
    models,
    oauth,
    observations,
    sessions,
    teams,
)
from serve.api.dependencies import AppServices, authorise
from serve.api.operations import (
    alert_channels,
    alert_deliveries,
    alert_rules,
    alerts,
    anomalies,
    calibration,
    drift,
    experiments_online,
    live,
    pipelines,
    schedules,
)
from serve.api.strict_route import StrictRoute
from serve.http import cors, openapi_document, problems
from serve.http.connection_close import ConnectionCloseMiddleware
from serve.http.observability import ObservabilityMiddleware
from serve.security.audit_middleware import AuditMiddleware
from serve.security.policy import POLICY, methods_at
from serve.services import Services

ROUTES = (
    *(accounts, oauth, sessions, keys, teams, audit),
    *(datasets, observations, jobs, experiments, models, forecasts, approvals),
    *(
        alert_channels,
        alert_deliveries,
        alert_rules,
        alerts,
        anomalies,
        calibration,
        drift,
        experiments_online,
        live,
        pipelines,
        schedules,
    ),
)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
REST = "/v1/{rest:path}"
ERRORS: dict[int | str, dict[str, object]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        "4XX": "The request cannot be served; `code` says why.",
        "5XX": "The service cannot serve now; the request id finds it in the log.",
    }.items()
}


class Health(Frozen):
    status: str


def create_app(services: Services) -> FastAPI:
    """Build the application around its services."""
    app = FastAPI(
        title="Quantis",
        version=__version__,
        description="Probabilistic forecasts of panels of time series.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=ERRORS,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    app.state.services = services
    instruments.declare_routes(POLICY, problems.SERVER_ERRORS)
    problems.install(app)
    for router in (*(module.router for module in ROUTES), _operations(app)):
        app.include_router(router, dependencies=[Depends(authorise)])
    app.add_api_route(REST, _no_route, methods=_METHODS, include_in_schema=False)
    if (services.settings.web_dist / "index.html").exists():
        app.frontend("/", directory=services.settings.web_dist, fallback="index.html")
    app.add_middleware(AuditMiddleware, trail=services.audit)
    cors.install(app, services.settings.cors_origins)
    app.add_middleware(ObservabilityMiddleware, seconds=services.settings.request_seconds)
    app.add_middleware(ConnectionCloseMiddleware)
    openapi_document.install(app)
    return app


def _no_route(request: Request) -> None:
    """Answer 404 below /v1, or 405 for a wrong method: an unknown route is no page of the dashboard either."""
    if methods_at(request.url.path):
        raise HTTPException(405)
    raise NotFound("there is nothing at this address")


def _operations(app: FastAPI) -> APIRouter:
    router = APIRouter(route_class=StrictRoute)

    @cache
    def serialized_document() -> bytes:
        """Return the document as it is sent; to build it takes longer than all else that anybody may ask for."""
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    @router.get("/healthz", tags=["operations"])
    def healthz() -> Health:
        """Say that the process lives."""
        return Health(status="ok")

    @router.get("/readyz", tags=["operations"])
    def readyz(services: AppServices) -> Health:
        """Say that the process can serve: its database answers and has the newest schema."""
        services.database.ping()
        if not services.database.is_current():
            raise Unavailable("the database has an older schema; `quantis up` migrates it")
        return Health(status="ready")

    @router.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """Prometheus metrics of every process of this node."""
        body, content_type = instruments.render()
        return Response(body, media_type=content_type)

    @router.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return Response(serialized_document(), media_type="application/json")

    @router.get("/docs", include_in_schema=False)
    def docs(services: AppServices) -> FileResponse:
        page = services.settings.web_dist / "docs" / "index.html"
        if not page.exists():
            raise NotInstalled("the documentation page is not built; run `make web`")
        return FileResponse(page)

    return router


def _operation_id(route: APIRoute) -> str:
    return route.name

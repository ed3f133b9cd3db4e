"""Each route lives in the file that its path names: one table, longest prefix first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from serve.api import application

FILES = {
    "/v1/setup": "accounts",
    "/v1/users": "accounts",
    "/v1/users/me/sessions": "sessions",
    "/v1/oauth": "oauth",
    "/v1/api-keys": "keys",
    "/v1/clients": "keys",
    "/v1/teams": "teams",
    "/v1/usage": "teams",
    "/v1/audit-events": "audit",
    "/v1/datasets": "datasets",
    "/v1/datasets/*/observations": "observations",
    "/v1/datasets/*/anomalies": "anomalies",
    "/v1/datasets/*/drift": "drift",
    "/v1/jobs": "jobs",
    "/v1/experiments": "experiments",
    "/v1/experiments-online": "experiments_online",
    "/v1/backtests": "experiments",
    "/v1/models": "models",
    "/v1/models/*/forecasts": "forecasts",
    "/v1/models/*/live": "live",
    "/v1/models/*/at": "live",
    "/v1/models/*/calibration": "calibration",
    "/v1/forecasts": "forecasts",
    "/v1/approvals": "approvals",
    "/v1/alert-rules": "alert_rules",
    "/v1/alerts": "alerts",
    "/v1/schedules": "schedules",
    "/v1/alert-channels": "alert_channels",
    "/v1/alert-deliveries": "alert_deliveries",
    "/v1/pipelines": "pipelines",
}
"""Path prefix -> module of serve/api; `*` is one parameter."""

CHANGES_OF_SERIES = {("DELETE", "/v1/datasets/*/series"), ("POST", "/v1/datasets/*/series")}
"""Deletions and restorations are observations of a series, though reads below the same path are not."""


def file_of(method: str, path: str) -> str | None:
    """Return the module that a route belongs to; None where the table has no prefix of its path."""
    template = re.sub(r"\{[^}]*\}", "*", path)
    if any(method == verb and _below(template, prefix) for verb, prefix in CHANGES_OF_SERIES):
        return "observations"
    prefixes = [prefix for prefix in FILES if _below(template, prefix)]
    return FILES[max(prefixes, key=len)] if prefixes else None


def _below(template: str, prefix: str) -> bool:
    return template == prefix or template.startswith(prefix + "/")


def misplaced(modules: Sequence[tuple[str, APIRouter]]) -> Iterator[str]:
    """Yield every route that stands in another file than the table says."""
    for name, router in modules:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                expected = file_of(method, route.path)
                if expected != name:
                    yield f"{method} {route.path} is in serve/api/{name}.py and belongs into {expected}"


def test_when_a_route_is_added_then_it_stands_in_the_file_that_its_path_names() -> None:
    modules = [(module.__name__.rpartition(".")[2], module.router) for module in application.ROUTES]
    assert sum(len(router.routes) for _, router in modules) > 50
    assert list(misplaced(modules)) == []


def test_when_a_prefix_has_no_route_any_more_then_it_leaves_the_table() -> None:
    templates = [
        re.sub(r"\{[^}]*\}", "*", route.path)
        for module in application.ROUTES
        for route in module.router.routes
        if isinstance(route, APIRoute)
    ]
    assert [prefix for prefix in FILES if not any(_below(path, prefix) for path in templates)] == []


@pytest.mark.parametrize(
    ("file", "method", "path"),
    [
        ("jobs", "GET", "/v1/experiments/{job_id}/leaderboard"),
        ("models", "POST", "/v1/models/{ref}/forecasts"),
        ("approvals", "PUT", "/v1/models/{name}/traffic"),
        ("datasets", "DELETE", "/v1/datasets/{name}/series/{unique_id:path}"),
        ("models", "GET", "/v1/drift"),
    ],
)
def test_when_a_route_stands_elsewhere_then_it_is_found(file: str, method: str, path: str) -> None:
    router = APIRouter()
    router.add_api_route(path, lambda: None, methods=[method])
    assert len(list(misplaced([(file, router)]))) == 1

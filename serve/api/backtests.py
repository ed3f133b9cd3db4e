"""What backtests found: the summary, and the figures by series, step, window and segment."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.errors import NotFound
from quantis.types.base import Id, Page
from quantis.types.job_results import BacktestResult
from quantis.types.registry import Backtest, Dimension, Figures
from serve.api.dependencies import AppServices, CurrentUser, Principal
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1", tags=["backtests"], route_class=StrictRoute)


@router.get("/backtests/{job_id}")
def backtest(job_id: Id, principal: CurrentUser, services: AppServices) -> Backtest:
    """Every model of a backtest: its place on the leaderboard, and every metric over all of it."""
    return _found(job_id, principal, services)


@router.get("/backtests/{job_id}/{dimension}")
def backtest_figures(
    job_id: Id,
    dimension: Dimension,
    principal: CurrentUser,
    services: AppServices,
    model: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[Figures]:
    """Every metric for each series, horizon step, window or segment."""
    found = _found(job_id, principal, services)
    kept = services.backtests
    return kept.page(principal.team, found.id, dimension, model=model, cursor=cursor, limit=limit)


def _found(job_id: str, principal: Principal, services: Services) -> Backtest:
    job = services.jobs.get(principal.team, job_id)
    if not isinstance(job.result, BacktestResult):
        raise NotFound(f"job {job_id} has no backtest; a backtest job that succeeded has one")
    return job.result.backtest

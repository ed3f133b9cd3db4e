"""Results of experiments: leaderboards of train jobs, figures of backtests by series, step, window and segment."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quantis.errors import NotFound
from quantis.types.base import Id, Page
from quantis.types.job_results import BacktestResult, TrainResult, TuneResult
from quantis.types.registry import Backtest, Dimension, Figures, Leaderboard
from serve.api.dependencies import AppServices, CurrentUser, Principal
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1", route_class=StrictRoute)


@router.get("/experiments/{job_id}/leaderboard", tags=["jobs"])
def leaderboard(job_id: Id, principal: CurrentUser, services: AppServices) -> Leaderboard:
    """Return the leaderboard of a train or tune job's families on its backtest."""
    job = services.jobs.get(principal.team, job_id)
    board = job.result.leaderboard if isinstance(job.result, TrainResult | TuneResult) else None
    if board is None:
        raise NotFound(f"job {job_id} has no leaderboard; a train or tune job that succeeded has one")
    return board


@router.get("/backtests/{job_id}", tags=["backtests"])
def backtest(job_id: Id, principal: CurrentUser, services: AppServices) -> Backtest:
    """Return every model of a backtest: its place on the leaderboard, and every metric over all of it."""
    return _backtest(job_id, principal, services)


@router.get("/backtests/{job_id}/{dimension}", tags=["backtests"])
def backtest_figures(
    job_id: Id,
    dimension: Dimension,
    principal: CurrentUser,
    services: AppServices,
    model: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[Figures]:
    """Return every metric for each series, horizon step, window or segment."""
    result = _backtest(job_id, principal, services)
    return services.backtests.page(
        principal.team, result.id, dimension, model=model, cursor=cursor, limit=limit
    )


def _backtest(job_id: str, principal: Principal, services: Services) -> Backtest:
    job = services.jobs.get(principal.team, job_id)
    if not isinstance(job.result, BacktestResult):
        raise NotFound(f"job {job_id} has no backtest; a backtest job that succeeded has one")
    return job.result.backtest

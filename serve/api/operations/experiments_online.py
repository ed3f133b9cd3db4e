"""Online experiments: a challenger against the champion, judged on the actuals that come after their forecasts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from cluster.model_ops.experiment_traffic import ExperimentTraffic
from cluster.repositories.principals import Author
from quantis.errors import Conflict, InvalidInput
from quantis.types.base import Id, Name, Page
from quantis.types.operations.online_experiments import (
    AutoPromotion,
    ExperimentMode,
    NewOnlineExperiment,
    OnlineExperiment,
    OnlineExperimentState,
    OnlineExperimentWithHistory,
)
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1/experiments-online", tags=["experiments"], route_class=StrictRoute)


@router.post("", status_code=201)
def start_experiment(
    new: NewOnlineExperiment,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> OnlineExperiment:
    """Let a challenger stand trial against the champion of now: in the shadow, or with a growing share of the series.

    It acts for you, with your rights as they are at each of its steps. The same Idempotency-Key starts one.
    """
    call.detail = {"model": new.model, "challenger": new.challenger}
    incumbent = _incumbent(services, principal.team, new)
    experiment = services.online_experiments.create(
        principal.team, Author.from_principal(principal), new, incumbent, key=idempotency_key
    )
    response.headers["Location"] = f"/v1/experiments-online/{experiment.id}"
    return experiment


@router.get("")
def online_experiments(
    principal: CurrentUser,
    services: AppServices,
    model: Annotated[Name | None, Query()] = None,
    state: Annotated[OnlineExperimentState | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[OnlineExperiment]:
    """List the experiments, newest first."""
    return services.online_experiments.page(
        principal.team, model=model, state=state, cursor=cursor, limit=limit
    )


@router.get("/{experiment_id}")
def online_experiment(
    experiment_id: Id,
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> OnlineExperimentWithHistory:
    """Return an experiment, by its id or name, with its assessments, latest first.

    Of assessments without consequence the last one of each day is kept.
    """
    stored = services.online_experiments.with_history(
        principal.team, experiment_id, cursor=cursor, limit=limit
    )
    progress = services.shadows.progress(principal.team, stored.experiment.id, stored.experiment.model)
    return stored.model_copy(update={"shadows": progress})


@router.post("/{experiment_id}/stop")
def stop_experiment(experiment_id: Id, principal: CurrentUser, services: AppServices) -> OnlineExperiment:
    """Stop an experiment: the champion answers everything again, at once."""
    reason = f"stopped by {principal.user_name}"
    stopped = services.online_experiments.end(
        principal.team, experiment_id, OnlineExperimentState.stopped, reason
    )
    ExperimentTraffic(services).bring_about(services.online_experiments.stored(principal.team, stopped.id))
    return services.online_experiments.get(principal.team, stopped.id)


def _incumbent(services: Services, team: str, new: NewOnlineExperiment) -> int:
    """Return the champion that the challenger is compared with; an error where the trial could not be held."""
    registry = services.registry(team)
    challenger, champion = registry.get(new.model, new.challenger), registry.champion(new.model)
    if champion is None:
        raise Conflict(f"{new.model!r} has no champion to be compared with; promote a version first")
    if champion.version == new.challenger:
        raise InvalidInput(f"version {new.challenger} is the champion itself; name another challenger")
    if (challenger.dataset, challenger.freq) != (champion.dataset, champion.freq):
        raise InvalidInput(
            f"version {new.challenger} forecasts {challenger.dataset!r} ({challenger.freq}) and the champion "
            f"{champion.dataset!r} ({champion.freq}), so no point is forecast by both; train on the same dataset"
        )
    if new.mode is ExperimentMode.canary or new.promote is not AutoPromotion.off:
        registry.check_promotion(new.model, new.challenger)
    if new.mode is ExperimentMode.canary and registry.traffic(new.model).shares:
        raise Conflict(
            f"the requests of {new.model!r} are divided already; take the shares away first, or run a shadow"
        )
    return champion.version

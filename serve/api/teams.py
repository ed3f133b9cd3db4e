"""Teams, their quotas and their usage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from quantis.types.base import Name, Page
from quantis.types.teams import NewTeam, Team, TeamChange, Usage
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1", tags=["teams"], route_class=StrictRoute)


@router.get("/teams")
def teams(principal: CurrentUser, services: AppServices) -> Page[Team]:
    """List the teams of the platform; for its operators."""
    return Page(items=services.teams.all())


@router.post("/teams", status_code=201)
def create_team(new: NewTeam, principal: CurrentUser, services: AppServices, call: Audited) -> Team:
    """Make a team with its first admin, who adds the others."""
    call.detail = {"team": new.name, "admin": new.admin_name}
    password = new.admin_password.get_secret_value()
    services.accounts.create_team(new.name, new.quota, new.admin_name, password)
    return services.teams.get(new.name)


@router.patch("/teams/{team}")
def change_team(
    team: Name, change: TeamChange, principal: CurrentUser, services: AppServices, call: Audited
) -> Team:
    """Set a team's quota; gaps fall back to the platform's defaults."""
    call.detail = {"quota": change.quota.model_dump(exclude_none=True)}
    changed = services.teams.set_quota(team, change.quota)
    services.authenticator.forget()
    return changed


@router.get("/usage")
def usage(principal: CurrentUser, services: AppServices) -> Usage:
    """Return the team's usage of its quota."""
    return _usage(principal.team, services)


@router.get("/usage/teams")
def usage_of_teams(principal: CurrentUser, services: AppServices) -> Page[Usage]:
    """List every team's usage of its quota; for operators."""
    return Page(items=[_usage(team.name, services) for team in services.teams.all()])


def _usage(team: str, services: Services) -> Usage:
    count = services.rate_limits.used(team)
    resets_at = datetime.now(UTC) + timedelta(seconds=count.resets_in) if count.used else None
    return services.quotas.usage(team, count.used, resets_at)

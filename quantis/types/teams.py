"""Teams, their quotas and their usage."""

from __future__ import annotations

from pydantic import Field

from quantis.types.accounts import NewPassword
from quantis.types.base import MAX_INTEGER, Frozen, Name, RequestBody, Timestamp

Limit = int | None


class Quota(RequestBody):
    """The most that a team may use; null is the platform's default."""

    jobs_at_once: Limit = Field(default=None, ge=0, le=MAX_INTEGER)
    jobs_waiting: Limit = Field(
        default=None, ge=0, le=MAX_INTEGER, description="Jobs that wait to be started; more are refused."
    )
    cpu_seconds: Limit = Field(
        default=None, ge=0, le=MAX_INTEGER, description="Of jobs, in a calendar month (UTC)."
    )
    gpu_seconds: Limit = Field(
        default=None, ge=0, le=MAX_INTEGER, description="Of jobs, in a calendar month (UTC)."
    )
    storage_mb: Limit = Field(default=None, ge=0, le=MAX_INTEGER)
    requests_per_minute: Limit = Field(default=None, ge=1, le=MAX_INTEGER)
    forecast_days: Limit = Field(
        default=None,
        ge=1,
        le=MAX_INTEGER,
        description="Days after which issued forecasts and their scores are removed; they stay for good without it.",
    )


class Used(Frozen):
    """A line of a team's usage."""

    name: str
    used: float
    limit: int | None
    unit: str
    resets_at: Timestamp | None = None


class Usage(Frozen):
    team: str
    at: Timestamp
    items: list[Used]


class NewTeam(RequestBody):
    """A team and its first admin."""

    name: Name
    admin_name: Name
    admin_password: NewPassword
    quota: Quota = Quota()


class TeamChange(RequestBody):
    quota: Quota


class Team(Frozen):
    name: str
    created_at: Timestamp
    users: int
    quota: Quota

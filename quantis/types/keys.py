"""Credentials of machines: API keys of people, and service accounts."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from quantis.types.accounts import Role
from quantis.types.base import Duration, Frozen, Name, RequestBody, Timestamp


class Scope(StrEnum):
    """The most that a key or a service account may do; its role must allow it too."""

    read = "read"
    forecast = "forecast"
    data = "data"
    jobs = "jobs"
    models = "models"
    audit = "audit"


def _check_count(value: Any) -> Any:
    if isinstance(value, list) and len(value) > len(Scope):
        raise ValueError(f"there are {len(Scope)} scopes; name each once")
    return value


Scopes = Annotated[
    frozenset[Scope], Field(min_length=1, max_length=len(Scope)), BeforeValidator(_check_count)
]


class NewApiKey(RequestBody):
    name: Name
    scopes: Scopes = frozenset({Scope.read, Scope.forecast})
    expires_in: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(minutes=1),
        le=timedelta(days=366),
        description="At most a year.",
    )


class ApiKey(Frozen):
    """A key without the key: `hint` is how it begins."""

    id: str
    name: str
    owner: str
    hint: str
    scopes: list[Scope]
    created_at: Timestamp
    expires_at: Timestamp
    used_at: Timestamp | None = Field(default=None, description="To about a minute.")
    revoked_at: Timestamp | None = None


class CreatedApiKey(ApiKey):
    key: str = Field(description="Shown this once; send it as `Authorization: Bearer qk_...`.")


class NewServiceAccount(RequestBody):
    name: Name
    role: Role = Role.viewer
    scopes: Scopes = frozenset({Scope.read, Scope.forecast})


class ServiceAccountChange(RequestBody):
    role: Role | None = None
    scopes: Scopes | None = None
    disabled: bool | None = None


class ServiceAccount(Frozen):
    """A machine's account; `id` is its client_id."""

    id: str
    name: str
    role: Role
    scopes: list[Scope]
    disabled: bool
    created_at: Timestamp
    created_by: str


class CreatedServiceAccount(ServiceAccount):
    client_secret: str = Field(description="Shown this once; for the client_credentials grant.")

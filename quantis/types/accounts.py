"""Accounts: users, roles, tokens."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, SecretStr

from quantis.types.base import Frozen, Moment, Name


class Role(StrEnum):
    viewer = "viewer"
    analyst = "analyst"
    ml_engineer = "ml_engineer"
    admin = "admin"


Password = SecretStr


class NewUser(Frozen):
    user_name: Name
    password: Password = Field(min_length=12, max_length=256)
    role: Role = Role.viewer


class UserChange(Frozen):
    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = Field(default=None, min_length=12, max_length=256)


class User(Frozen):
    id: str
    user_name: str
    role: Role
    team: str
    disabled: bool
    created_at: Moment


class SetupState(Frozen):
    open: bool = Field(description="True until the first admin exists.")


class SetupRequest(Frozen):
    """Creates the first admin with the secret that `quantis up` wrote."""

    secret: SecretStr
    user_name: Name
    password: Password = Field(min_length=12, max_length=256)


class TokenResponse(Frozen):
    access_token: str
    token_type: str = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str | None = None

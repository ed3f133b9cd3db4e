"""Accounts: users, roles, tokens."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from quantis.types.base import Frozen, Name, RequestBody, Timestamp

REAUTHENTICATION_HEADER = "Quantis-Reauthentication"
"""Carries the token of a reauthentication."""


class Role(StrEnum):
    viewer = "viewer"
    analyst = "analyst"
    ml_engineer = "ml_engineer"
    admin = "admin"


Password = SecretStr
Otp = Annotated[SecretStr, Field(min_length=6, max_length=12, description="A code of the second factor.")]
NewPassword = Annotated[SecretStr, Field(min_length=12, max_length=256)]
"""A password that is to be set; 12 characters or more."""


class NewUser(RequestBody):
    user_name: Name
    password: NewPassword
    role: Role = Role.viewer


class UserChange(RequestBody):
    role: Role | None = None
    disabled: bool | None = None
    password: NewPassword | None = None
    second_factor: Literal[False] | None = Field(
        default=None, description="false takes a lost second factor away."
    )


class User(Frozen):
    id: str
    user_name: str
    role: Role
    team: str
    disabled: bool
    created_at: Timestamp
    second_factor: bool = False
    external: bool = Field(default=False, description="Signs in at the configured identity provider.")


class SetupState(Frozen):
    open: bool = Field(description="True until the first admin exists.")
    oidc: bool = Field(default=False, description="Whether one can sign in at an identity provider.")


class SetupRequest(RequestBody):
    """Creates the first admin with the secret that `quantis up` wrote."""

    secret: SecretStr = Field(max_length=256)
    user_name: Name
    password: NewPassword


class TokenResponse(Frozen):
    access_token: str
    token_type: str = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str | None = None


class Session(Frozen):
    """A sign-in, as its owner sees it."""

    id: str
    created_at: Timestamp
    used_at: Timestamp
    expires_at: Timestamp
    agent: str = Field(description="The program that signed in, as it calls itself.")
    address: str
    current: bool = Field(description="Whether this answer goes to it.")


class PasswordChange(RequestBody):
    """A new password of one's own; `otp` where the second factor is on."""

    current: Password = Field(min_length=1, max_length=256)
    new: NewPassword
    otp: Otp | None = None


class Reauthentication(RequestBody):
    """Proof that the caller is the user: the password, or nothing after a recent sign-in at an identity provider."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=256)] | None = None
    otp: Otp | None = None


class ReauthenticationToken(Frozen):
    """Goes with calls that hand out or change credentials, beside the access token of the same session."""

    token: str = Field(description="Send it as `Quantis-Reauthentication`.")
    expires_in: int


class SecondFactorSecret(Frozen):
    """Shown once: what an authenticator app takes. It counts from the first right code on."""

    secret: str
    uri: str = Field(description="The same as otpauth://, for a QR code.")


class SecondFactorCode(RequestBody):
    code: SecretStr = Field(min_length=6, max_length=12)

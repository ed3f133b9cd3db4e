"""Users and tokens of the in-memory platform."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from urllib.parse import parse_qs

import httpx

from quantis.errors import Conflict, Forbidden, NotFound, ReauthenticationRequired, Unauthenticated
from quantis.testing.responses import json_response, page_response
from quantis.types.accounts import (
    REAUTHENTICATION_HEADER,
    NewUser,
    Reauthentication,
    ReauthenticationToken,
    Role,
    SetupRequest,
    SetupState,
    TokenResponse,
    User,
    UserChange,
)

_ORDER = list(Role)


class FakeAccounts:
    """`setup_secret` opens the setup of the first admin."""

    def __init__(self, setup_secret: str, token_seconds: int) -> None:
        self.setup_secret = setup_secret or secrets.token_hex(16)
        self.token_seconds = token_seconds
        self.access: dict[str, str] = {}
        self.refresh: dict[str, str] = {}
        self.reauthentications: dict[str, str] = {}
        self._users: dict[str, tuple[str, User]] = {}

    def add_user(self, user_name: str, password: str, role: Role = Role.viewer) -> User:
        user = User(
            id=secrets.token_hex(8),
            user_name=user_name,
            role=role,
            team="default",
            disabled=False,
            created_at=datetime.now(UTC),
        )
        self._users[user_name] = (password, user)
        return user

    def user(self, request: httpx.Request) -> User:
        name = self.access.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if name is None:
            raise Unauthenticated("the access token is missing, unknown or has ended")
        return self._users[name][1]

    def post_reauthentication(self, request: httpx.Request) -> httpx.Response:
        body = Reauthentication.model_validate_json(request.content)
        name = self.user(request).user_name
        if body.password is None or body.password.get_secret_value() != self._users[name][0]:
            raise ReauthenticationRequired("the password or the code is wrong")
        token = secrets.token_hex(16)
        self.reauthentications[token] = name
        return json_response(ReauthenticationToken(token=token, expires_in=300), 201)

    def get_setup(self, request: httpx.Request) -> httpx.Response:
        return json_response(SetupState(open=not self._users))

    def post_setup(self, request: httpx.Request) -> httpx.Response:
        body = SetupRequest.model_validate_json(request.content)
        if self._users:
            raise Conflict("there is an admin already; ask them for an account")
        if body.secret.get_secret_value() != self.setup_secret:
            raise Forbidden("the setup secret is wrong; read it where `quantis up` wrote it")
        return json_response(self.add_user(body.user_name, body.password.get_secret_value(), Role.admin), 201)

    def post_token(self, request: httpx.Request) -> httpx.Response:
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        if form.get("grant_type") == "refresh_token":
            name = self.refresh.pop(form.get("refresh_token", ""), None)
        else:
            password, _ = self._users.get(form.get("username", ""), (None, None))
            name = form["username"] if password is not None and password == form.get("password") else None
        if name is None:
            raise Unauthenticated("user name or password is wrong, or the login has ended")
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.access[access], self.refresh[refresh] = name, name
        return json_response(
            TokenResponse(access_token=access, expires_in=self.token_seconds, refresh_token=refresh)
        )

    def post_revoke(self, request: httpx.Request) -> httpx.Response:
        name = self.refresh.pop(parse_qs(request.content.decode()).get("token", [""])[0], None)
        self.access = {token: user for token, user in self.access.items() if user != name}
        return httpx.Response(204)

    def get_me(self, request: httpx.Request) -> httpx.Response:
        return json_response(self.user(request))

    def get_users(self, request: httpx.Request) -> httpx.Response:
        return page_response(request, [user for _, user in self._users.values()])

    def post_users(self, request: httpx.Request) -> httpx.Response:
        self._require_reauthentication(request)
        body = NewUser.model_validate_json(request.content)
        if body.user_name in self._users:
            raise Conflict(f"user {body.user_name!r} exists; choose another name")
        return json_response(self.add_user(body.user_name, body.password.get_secret_value(), body.role), 201)

    def patch_user(self, request: httpx.Request, user_id: str) -> httpx.Response:
        self._require_reauthentication(request)
        change = UserChange.model_validate_json(request.content)
        for name, (password, user) in self._users.items():
            if user.id == user_id:
                values = change.model_dump(exclude_unset=True, exclude={"password"})
                new_password = change.password.get_secret_value() if change.password else password
                self._users[name] = (new_password, user.model_copy(update=values))
                return json_response(self._users[name][1])
        raise NotFound(f"there is no user {user_id!r}")

    def _require_reauthentication(self, request: httpx.Request) -> None:
        name = self.reauthentications.get(request.headers.get(REAUTHENTICATION_HEADER, ""))
        if name != self.user(request).user_name:
            raise ReauthenticationRequired("this asks for your password again")


def require_role(user: User, needed: Role) -> None:
    if _ORDER.index(user.role) < _ORDER.index(needed):
        raise Forbidden(f"role {user.role.value} may not do this; it takes {needed.value}")

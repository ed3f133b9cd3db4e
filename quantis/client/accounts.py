"""Signing in and out, and the users of the team, from the client."""

from __future__ import annotations

from pydantic import SecretStr

from quantis import settings
from quantis.client.access import Access
from quantis.client.bodies import dump_with_secrets, quote_segment
from quantis.client.connection import Connection, Request
from quantis.client.credentials import CredentialsFile, Login
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.errors import QuantisError
from quantis.types.accounts import NewUser, Role, SetupRequest, SetupState, User, UserChange


class AccountsMixin:
    """Mixed into the client."""

    def setup_state(self: ApiCaller) -> SetupState:
        """Return whether the first admin is still to be created."""
        return self._get(SetupState, "/setup", signed=False)

    def create_first_admin(self: ApiCaller, secret: str, user_name: str, password: str) -> User:
        """Create the first admin with the secret that `quantis up` wrote."""
        body = validate(
            SetupRequest, secret=SecretStr(secret), user_name=user_name, password=SecretStr(password)
        )
        return self._send(User, "POST", "/setup", dump_with_secrets(body), signed=False)

    def login(
        self: ApiCaller, user: str, password: str, *, otp: str | None = None, save: bool = False
    ) -> User:
        """Sign in; `save` keeps the login for later processes, as `quantis login` does.

        SecondFactorRequired when the user has one and `otp`, a code of it, is missing.
        """
        access = Access(user=user, password=password, otp=otp)
        me = _try_access(self._connection, access)
        if save and access.login:
            self._connection.access = _store_login(self.url, access.login)
        return me

    def login_with_key(self: ApiCaller, key: str, *, save: bool = False) -> User:
        """Use an API key from now on; `save` keeps it for later processes."""
        me = _try_access(self._connection, Access(token=key))
        if save:
            self._connection.access = _store_login(self.url, Login.from_api_key(key, me.user_name))
        return me

    def reauthenticate(self: ApiCaller, password: str, *, otp: str | None = None) -> None:
        """Give one's password again, which calls that hand out or change credentials ask for; holds five minutes.

        They raise ReauthenticationRequired without it. A client that was made with a password gives it by itself.
        """
        self._connection.reauthenticate(password, otp)

    def logout(self: ApiCaller) -> None:
        """Make the refresh token void and forget the login."""
        login = self._connection.access.login
        try:
            if login and login.refresh_token:
                form = {"token": login.refresh_token}
                self._connection.send(Request("POST", "/v1/oauth/revoke", form=form, signed=False))
        finally:
            store = CredentialsFile(settings.config_dir())
            with store.lock():
                store.remove(self.url)
            self._connection.access = Access()

    def me(self: ApiCaller) -> User:
        return self._get(User, "/users/me")

    def users(self: ApiCaller, *, limit: int = 1000) -> list[User]:
        return self._get_all(User, "/users", limit)

    def create_user(self: ApiCaller, user_name: str, password: str, role: Role | str = Role.viewer) -> User:
        body = validate(NewUser, user_name=user_name, password=SecretStr(password), role=role)
        return self._send(User, "POST", "/users", dump_with_secrets(body))

    def change_user(self: ApiCaller, user_id: str, change: UserChange) -> User:
        return self._send(User, "PATCH", f"/users/{quote_segment(user_id)}", dump_with_secrets(change))


def _try_access(connection: Connection, access: Access) -> User:
    """Return the user of this access; keep the previous one when it is refused."""
    before, connection.access = connection.access, access
    try:
        return connection.read(User, Request("GET", "/v1/users/me", repeatable=True))
    except QuantisError:
        connection.access = before
        raise


def _store_login(url: str, login: Login) -> Access:
    """Keep the login for later processes, and return the access that reads it from there."""
    store = CredentialsFile(settings.config_dir())
    with store.lock():
        store.put(url, login)
    return Access(store=store, url=url)

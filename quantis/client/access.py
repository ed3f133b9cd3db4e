"""The bearer token of a client: where it comes from and how it is renewed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

from quantis.client.credentials import CredentialsFile, Login
from quantis.errors import Unauthenticated
from quantis.types.accounts import TokenResponse

Grant = Callable[[dict[str, str]], TokenResponse]
"""Sends a form to the token route."""


class Access:
    """A fixed token; a user and password; the login in the credentials file; or nothing.

    `store` is the file from which the login came, so that a renewed one is written back.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        otp: str | None = None,
        store: CredentialsFile | None = None,
        url: str = "",
    ) -> None:
        self._token, self._user, self._password, self._otp = token, user, password, otp
        self._store, self._url = store, url
        self._lock = threading.Lock()
        self.login = store.get(url) if store else None

    @property
    def password(self) -> str | None:
        """The password that the client was given, if any."""
        return self._password

    def bearer(self, grant: Grant) -> str | None:
        """Return the token to send; signs in or renews first where that is known to be needed."""
        if self._token:
            return self._token
        if self.login is None and self._password is None:
            return None
        if self.login is None or self.login.expired:
            self.renew(self.login.access_token if self.login else None, grant)
        return self.login.access_token if self.login else None

    def renew(self, refused: str | None, grant: Grant) -> bool:
        """Replace the refused token; False when there is nothing to do it with."""
        with self._lock:
            if self._token or (self.login is None and self._password is None):
                return False
            if self.login and self.login.access_token != refused:
                return True  # another thread has done it
            with self._store.lock() if self._store else nullcontext():
                return self._renew_login(refused, grant)

    def _renew_login(self, refused: str | None, grant: Grant) -> bool:
        stored = self._store.get(self._url) if self._store else None
        if stored and stored.access_token != refused and not stored.expired:
            self.login = stored  # another process has done it
            return True
        login = self._refresh_login(stored or self.login, grant) or self._sign_in(grant)
        if login is None:
            return False
        self.login = login
        if self._store:
            self._store.put(self._url, login)
        return True

    def _refresh_login(self, login: Login | None, grant: Grant) -> Login | None:
        if login is None or login.refresh_token is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token}
        try:
            return Login.from_token_response(grant(form), login.user_name)
        except Unauthenticated:
            return None

    def _sign_in(self, grant: Grant) -> Login | None:
        if self._user is None or self._password is None:
            return None
        form = {"grant_type": "password", "username": self._user, "password": self._password}
        if self._otp:
            form["otp"], self._otp = self._otp, None  # it works once
        return Login.from_token_response(grant(form), self._user)

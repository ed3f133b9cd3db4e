"""Logins by server: a private JSON file, shared by every process of a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ValidationError

from quantis.errors import InvalidInput
from quantis.files import write_atomic
from quantis.types.accounts import TokenResponse
from quantis.types.base import Frozen, Timestamp


class Login(Frozen):
    access_token: str
    refresh_token: str | None = None
    expires_at: Timestamp
    user_name: str = ""

    @classmethod
    def from_token_response(cls, response: TokenResponse, user_name: str) -> Login:
        return cls(
            access_token=response.access_token,
            refresh_token=response.refresh_token,
            expires_at=datetime.now(UTC) + timedelta(seconds=response.expires_in),
            user_name=user_name,
        )

    @classmethod
    def from_api_key(cls, key: str, user_name: str) -> Login:
        """Make a login of a key; only the server knows how long it lasts."""
        return cls(access_token=key, expires_at=datetime.now(UTC) + timedelta(days=366), user_name=user_name)

    @property
    def expired(self) -> bool:
        """True some seconds early, so that a request does not meet the end on its way."""
        return datetime.now(UTC) > self.expires_at - timedelta(seconds=5)


class _Contents(BaseModel):
    servers: dict[str, Login] = {}


class CredentialsFile:
    """The logins by server address. Files are 0600 in a folder 0700; a write replaces the file whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "credentials.json"

    def get(self, url: str) -> Login | None:
        return self._read().servers.get(url)

    def put(self, url: str, login: Login) -> None:
        self._write({**self._read().servers, url: login})

    def remove(self, url: str) -> None:
        servers = self._read().servers
        if servers.pop(url, None) is not None:
            self._write(servers)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the file between processes: a refresh token works once, so two must not use the same one."""
        self._make_folder()
        with (self.folder / "credentials.lock").open("a") as file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> _Contents:
        try:
            return _Contents.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return _Contents()
        except ValidationError:
            raise InvalidInput(
                f"{self.path} is not a credentials file; remove it and run `quantis login`"
            ) from None

    def _write(self, servers: dict[str, Login]) -> None:
        self._make_folder()
        write_atomic(self.path, _Contents(servers=servers).model_dump_json(indent=2))

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def read_login_file(path: str | Path) -> tuple[str, str]:
    """(user name, password) from a private JSON file such as `quantis demo` writes."""
    try:
        login = json.loads(Path(path).read_text(encoding="utf-8"))
        return str(login["user_name"]), str(login["password"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} is no JSON file with user_name and password ({error!r}); name another"
        ) from None

"""The methods that the parts of the client call on each other."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from quantis.client.connection import Connection

T = TypeVar("T", bound=BaseModel)


class ApiCaller(Protocol):
    """Typed calls of the API, as `Client` makes them."""

    url: str
    _connection: Connection

    def _get(self, kind: type[T], path: str, /, *, signed: bool = True, **params: Any) -> T: ...

    def _get_all(self, kind: type[T], path: str, limit: int, /, **params: Any) -> list[T]: ...

    def _send(self, kind: type[T], method: str, path: str, body: str | None, **extra: Any) -> T: ...

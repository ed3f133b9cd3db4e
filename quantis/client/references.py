"""What a model reference means: `name`, `name@alias` or `name:7`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantis.errors import InvalidInput, NotFound
from quantis.types.registry import ModelVersion

if TYPE_CHECKING:
    from quantis.client.client import Client


def version_of(client: Client, ref: str) -> ModelVersion:
    """The version meant; a bare name is its champion."""
    name, colon, number = ref.partition(":")
    if colon:
        if not number.isdecimal():
            raise InvalidInput(f"model {ref!r} has no version number after the colon; write {name}:7")
        return client.model_version(name, int(number))
    name, _, alias = ref.partition("@")
    alias = alias or "champion"
    for version in client.model_versions(name):
        if alias in version.aliases:
            return version
    raise NotFound(
        f"model {name!r} has no {alias}; see `quantis models show {name}`, or name a version as {name}:1"
    )

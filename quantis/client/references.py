"""Model references: `name`, `name@alias` or `name:7`."""

from __future__ import annotations

from typing import NamedTuple

from quantis.errors import InvalidInput


class ModelSelector(NamedTuple):
    """A model's name, with either a version or an alias."""

    name: str
    version: int | None
    alias: str


def parse_reference(ref: str) -> ModelSelector:
    """Split a reference into its parts; a bare name selects the champion."""
    name, colon, number = ref.partition(":")
    if colon:
        if not number.isdecimal():
            raise InvalidInput(f"model {ref!r} has no version number after the colon; write {name}:7")
        return ModelSelector(name, int(number), "")
    name, _, alias = ref.partition("@")
    return ModelSelector(name, None, alias or "champion")

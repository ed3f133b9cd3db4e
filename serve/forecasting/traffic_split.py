"""Who answers when a model's requests are divided between versions."""

from __future__ import annotations

import hashlib

from quantis.types.registry import Traffic

_PARTS = 10_000


def drawn(traffic: Traffic, key: str) -> int | None:
    """The version whose share a key falls into; None for the champion's rest.

    The same key always falls at the same place, so whoever is in a share stays in it while it grows.
    """
    digest = hashlib.sha256(key.encode()).digest()
    place = int.from_bytes(digest[:8]) % _PARTS * 100 / _PARTS
    for share in traffic.shares:
        if place < share.percent:
            return share.version
        place -= share.percent
    return None

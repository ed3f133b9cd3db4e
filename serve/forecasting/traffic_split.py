"""Division of a model's requests between its versions."""

from __future__ import annotations

import hashlib

from quantis.types.registry import Traffic

_PARTS = 10_000


def version_for(traffic: Traffic, key: str) -> int | None:
    """Return the version whose share a key falls into; None for the champion's rest.

    A key hashes to the same percentage always, so whoever is in a share stays in it while it grows.
    """
    digest = hashlib.sha256(key.encode()).digest()
    percent = int.from_bytes(digest[:8]) % _PARTS * 100 / _PARTS
    for share in traffic.shares:
        if percent < share.percent:
            return share.version
        percent -= share.percent
    return None

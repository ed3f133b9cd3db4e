"""Signatures of webhooks, made by the platform and checked by whoever receives one.

The header `Quantis-Signature` is `t=<seconds since 1970>,v1=<hex>`, where v1 is HMAC-SHA256 (RFC 2104) of
`<t>.<body>` under the channel's secret. The time is signed too, so that an old request cannot be sent again for long.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time

from quantis.errors import InvalidInput

SIGNATURE_HEADER = "Quantis-Signature"
DELIVERY_HEADER = "Quantis-Delivery"
"""The notification's id, which is also `id` of the body: the same for every attempt to deliver it."""
_HEADER = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")
_TOLERANCE = 300.0


def sign(secret: str, body: bytes, timestamp: int) -> str:
    """Return the value of the header for a body that is sent at a time."""
    return f"t={timestamp},v1={_digest(secret, body, timestamp)}"


def verify(
    secret: str, body: bytes, header: str, *, now: float | None = None, tolerance: float = _TOLERANCE
) -> None:
    """Raise InvalidInput unless the body, as it came, was signed with the secret within `tolerance` seconds."""
    match = _HEADER.fullmatch(header)
    if match is None:
        raise InvalidInput(
            f"the header {SIGNATURE_HEADER} has another form than t=...,v1=...; refuse the request"
        )
    timestamp = int(match[1])
    if not hmac.compare_digest(match[2], _digest(secret, body, timestamp)):
        raise InvalidInput("the signature is of another body or secret; refuse the request")
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        raise InvalidInput(
            f"the request was signed more than {tolerance:.0f} s ago or ahead; refuse it, or set the clock"
        )


def _digest(secret: str, body: bytes, timestamp: int) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()

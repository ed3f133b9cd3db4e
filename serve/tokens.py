"""Access tokens: the one door to python-jose.

The library alone accepts unknown `crit`, string times, empty keys and headers nested so deep that it
falls over. `read` therefore bounds and checks everything itself before and after it asks the library
for the one thing it needs: whether the signature is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from jose import jwt

from quantis.errors import InvalidInput, Unauthenticated

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = "quantis"
AUDIENCE = "quantis-api"
LEEWAY_SECONDS = 5
_MAX_TOKEN, _MAX_HEADER, _MIN_KEY = 8192, 512, 32
_TIMES, _TEXTS = ("exp", "iat", "nbf"), ("iss", "aud", "sub", "jti")


@dataclass(frozen=True)
class Claims:
    subject: str
    token_id: str
    expires_at: int


def issue(subject: str, key: bytes, seconds: int) -> str:
    """A signed access token for a user id; the key has at least 32 bytes."""
    _check_key(key)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "jti": secrets.token_hex(16),
        "iat": now,
        "nbf": now,
        "exp": now + seconds,
    }
    token: str = jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": key_id(key)})
    return token


def read(token: str, key: bytes) -> Claims:
    """The claims of a token that we issued and that holds now; Unauthenticated for anything else."""
    _check_key(key)
    try:
        _check_header(token, key)
        options = {"leeway": LEEWAY_SECONDS}
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=options
        )
        return _checked(claims)
    except Exception as error:
        raise Unauthenticated("the access token is not valid or has ended; sign in again") from error


def key_id(key: bytes) -> str:
    """A name for a key that says nothing about it."""
    return hashlib.sha256(b"quantis kid" + key).hexdigest()[:16]


def _check_key(key: bytes) -> None:
    if len(key) < _MIN_KEY:
        raise InvalidInput(f"the token key has {len(key)} bytes and needs {_MIN_KEY}")


def _check_header(token: str, key: bytes) -> None:
    if len(token) > _MAX_TOKEN or not token.isascii() or token.count(".") != 2:
        raise ValueError("not a compact token")
    raw = token.partition(".")[0]
    decoded = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    if len(decoded) > _MAX_HEADER:
        raise ValueError("header too long")
    if json.loads(decoded) != {"alg": ALGORITHM, "typ": TYPE, "kid": key_id(key)}:
        raise ValueError("header not ours")


def _checked(claims: dict[str, Any]) -> Claims:
    for name in _TIMES:
        if type(claims.get(name)) is not int:
            raise ValueError(f"{name} is not a whole number")
    for name in _TEXTS:
        if type(claims.get(name)) is not str or not claims[name]:
            raise ValueError(f"{name} is not a text")
    now = time.time()
    if not claims["nbf"] - LEEWAY_SECONDS <= now < claims["exp"] or claims["iat"] > now + LEEWAY_SECONDS:
        raise ValueError("not now")
    return Claims(claims["sub"], claims["jti"], claims["exp"])

"""Tokens: the one door to python-jose.

The library alone accepts unknown `crit`, string times, empty keys and headers nested so deep that it falls over.
`read` and `read_identity` therefore bound and check everything themselves before and after they ask the library
for one thing: whether the signature is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
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
_FAMILIES = {"RS256": "RSA", "ES256": "EC"}
"""Signature algorithms of identity providers, and their key types. Never a shared secret."""


@dataclass(frozen=True)
class Claims:
    """`session` is the id of the sign-in that a user's token came from, or of a service account's secret."""

    subject: str
    token_id: str
    expires_at: int
    session: str = ""


def issue(subject: str, key: bytes, seconds: int, session: str = "", *, audience: str = AUDIENCE) -> str:
    """Return a signed token for a user id, an access token by default; the key has at least 32 bytes."""
    _check_key(key)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": subject,
        "jti": secrets.token_hex(16),
        "iat": now,
        "nbf": now,
        "exp": now + seconds,
        "sid": session,
    }
    token: str = jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": key_id(key)})
    return token


def read(token: str, *keys: bytes, audience: str = AUDIENCE) -> Claims:
    """Return the claims of a token that we issued and that is valid now; Unauthenticated for any other."""
    for key in keys:
        _check_key(key)
    try:
        header = _header(token)
        key = {key_id(key): key for key in keys}[header["kid"]]
        if header != {"alg": ALGORITHM, "typ": TYPE, "kid": header["kid"]}:
            raise ValueError("header not ours")
        options = {"leeway": LEEWAY_SECONDS}
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=audience, issuer=ISSUER, options=options
        )
        return _check_claims(claims)
    except Exception as error:
        raise Unauthenticated("the access token is not valid or has ended; sign in again") from error


def key_id(key: bytes) -> str:
    """Return a name for a key that reveals nothing of it."""
    return hashlib.sha256(b"quantis kid" + key).hexdigest()[:16]


def read_identity(
    token: str, keys: Sequence[Mapping[str, Any]], issuer: str, audience: str, nonce: str
) -> dict[str, Any]:
    """Return the claims of an identity provider's token (OpenID Connect Core 3.1.3.7); `keys` are its public JWKs."""
    try:
        header = _header(token)
        family = _FAMILIES[header["alg"]]
        if not header.keys() <= {"alg", "typ", "kid"}:
            raise ValueError("header with more than it may have")
        (key,) = [item for item in keys if item.get("kid") == header.get("kid") and item.get("kty") == family]
        options = {"leeway": LEEWAY_SECONDS, "verify_at_hash": False}
        claims: dict[str, Any] = jwt.decode(
            token, dict(key), algorithms=[header["alg"]], audience=audience, issuer=issuer, options=options
        )
        _check_identity(claims, audience, nonce)
        return claims
    except Exception as error:
        raise Unauthenticated("the identity provider's answer is not valid; sign in again") from error


def key_name(token: str) -> str | None:
    """Return the `kid` that a token names, unchecked; to see whether the provider has newer keys."""
    try:
        name = _header(token).get("kid")
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def _check_key(key: bytes) -> None:
    if len(key) < _MIN_KEY:
        raise InvalidInput(f"the token key has {len(key)} bytes and needs {_MIN_KEY}")


def _header(token: str) -> dict[str, Any]:
    """Return the header of a compact token, bounded before it is parsed."""
    if len(token) > _MAX_TOKEN or not token.isascii() or token.count(".") != 2:
        raise ValueError("not a compact token")
    raw = token.partition(".")[0]
    if len(raw) > 2 * _MAX_HEADER:
        raise ValueError("header too long")
    decoded = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    if len(decoded) > _MAX_HEADER or decoded.count(b"[") + decoded.count(b"{") > 1:
        raise ValueError("header too long or too deep")
    header = json.loads(decoded)
    if not isinstance(header, dict):
        raise ValueError("header not an object")
    return header


def _check_claims(claims: dict[str, Any]) -> Claims:
    for name in _TIMES:
        if type(claims.get(name)) is not int:
            raise ValueError(f"{name} is not a whole number")
    for name in _TEXTS:
        if type(claims.get(name)) is not str or not claims[name]:
            raise ValueError(f"{name} is not a text")
    if type(claims.get("sid", "")) is not str:
        raise ValueError("sid is not a text")
    now = time.time()
    if not claims["nbf"] - LEEWAY_SECONDS <= now < claims["exp"] or claims["iat"] > now + LEEWAY_SECONDS:
        raise ValueError("not now")
    return Claims(claims["sub"], claims["jti"], claims["exp"], claims.get("sid", ""))


def _check_identity(claims: dict[str, Any], audience: str, nonce: str) -> None:
    for name in ("exp", "iat"):
        if type(claims.get(name)) is not int:
            raise ValueError(f"{name} is not a whole number")
    if type(claims.get("sub")) is not str or not 0 < len(claims["sub"]) <= 255:
        raise ValueError("sub is not a text")
    audiences = claims.get("aud")
    if audiences not in (audience, [audience]) and claims.get("azp") != audience:
        raise ValueError("issued for somebody else besides")
    if claims.get("nonce") != nonce:
        raise ValueError("not the sign-in that was begun here")
    if claims["iat"] > time.time() + LEEWAY_SECONDS:
        raise ValueError("not now")

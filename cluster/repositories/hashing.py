"""Hashes of secrets: slow ones for passwords, at most two at once; fast ones for random secrets."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from quantis.errors import TooManyRequests

AT_ONCE, WAITING = 2, 8
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_WORKING = BoundedSemaphore(AT_ONCE)
_SEATS = BoundedSemaphore(AT_ONCE + WAITING)
NOBODY = _HASHER.hash(secrets.token_hex())
"""The hash that the password of somebody without one is compared with, for the time it takes."""


def hash_password(password: str) -> str:
    with _hashing_slot():
        return _HASHER.hash(password)


def verify_password(expected: str, password: str) -> bool:
    with _hashing_slot():
        try:
            return _HASHER.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return False


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret of 32 random bytes, which nobody can guess."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def secret_id(secret_hash: str) -> str:
    """Return a name for a secret by its hash, which reveals neither; another secret has another name."""
    return hashlib.sha256(b"quantis secret id" + secret_hash.encode()).hexdigest()[:32]


def new_secret(prefix: str = "") -> str:
    return prefix + secrets.token_urlsafe(32)


@contextmanager
def _hashing_slot() -> Iterator[None]:
    """Admit two hashings at once and eight to a queue; refuse more, so that sign-ins never take all threads."""
    if not _SEATS.acquire(blocking=False):
        raise TooManyRequests("too many people sign in at this moment; try again in a second", retry_after=1)
    try:
        with _WORKING:
            yield
    finally:
        _SEATS.release()

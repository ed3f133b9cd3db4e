"""Envelope encryption of the few secrets that the platform must read again. See docs/encryption.md.

An encrypted value is `key id (8) | nonce (12) | wrapped data key (48) | nonce (12) | ciphertext`: AES-256-GCM
twice, with the value's context (table, column, row) as associated data, so that it cannot be moved.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quantis.errors import InvalidInput, NotInstalled

_ID, _NONCE, _WRAPPED = 8, 12, 48


class Cipher:
    """Encrypts with the newest key, decrypts with any. Keys are texts of at least 32 characters, newest first."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = {_key_id(key): AESGCM(hashlib.sha256(b"quantis kek" + key).digest()) for key in keys}

    @property
    def ready(self) -> bool:
        return bool(self._keys)

    def encrypt(self, value: bytes, context: str) -> bytes:
        if not self._keys:
            raise NotInstalled(
                "this platform has no encryption key; set QUANTIS_ENCRYPTION_KEY, or put a file encryption-key "
                "into QUANTIS_SECRETS_DIR (`openssl rand -hex 32` makes one)"
            )
        key_id, key = next(iter(self._keys.items()))
        data_key, outer, inner = AESGCM.generate_key(256), secrets.token_bytes(12), secrets.token_bytes(12)
        wrapped = key.encrypt(outer, data_key, context.encode())
        return key_id + outer + wrapped + inner + AESGCM(data_key).encrypt(inner, value, context.encode())

    def decrypt(self, encrypted: bytes, context: str) -> bytes:
        """Return the plain value; InvalidInput when the key is gone, or the value was changed or moved."""
        key = self._keys.get(encrypted[:_ID])
        body = encrypted[_ID:]
        if key is None:
            raise InvalidInput(
                "a secret in the database is sealed with a key that this platform does not have"
            )
        try:
            data_key = key.decrypt(body[:_NONCE], body[_NONCE : _NONCE + _WRAPPED], context.encode())
            inner = body[_NONCE + _WRAPPED :]
            return AESGCM(data_key).decrypt(inner[:_NONCE], inner[_NONCE:], context.encode())
        except InvalidTag as error:
            raise InvalidInput("a sealed secret in the database was changed or moved") from error

    def uses_newest_key(self, encrypted: bytes) -> bool:
        return next(iter(self._keys), b"") == encrypted[:_ID]


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"quantis kek id" + key).digest()[:_ID]

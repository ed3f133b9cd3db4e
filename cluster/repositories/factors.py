"""Second factors: codes of an authenticator app (TOTP, RFC 6238: SHA-1, 30 s, six digits)."""

from __future__ import annotations

import base64
import hmac
import time

import pyotp
from sqlalchemy import func, select

from cluster.database.engine import Database
from cluster.database.tables import UserRow
from cluster.encryption import Cipher
from quantis.errors import Conflict, NotFound, Unauthenticated
from quantis.types.accounts import SecondFactorSecret

ISSUER = "Quantis"


class SecondFactors:
    """TOTP secrets of users, encrypted in their rows; each code is accepted once."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    def begin(self, user_id: str) -> SecondFactorSecret:
        """Make a new secret, which counts once a code of it is confirmed; Conflict while one counts."""
        secret = pyotp.random_base32()
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            if row.totp_on:
                raise Conflict("a second factor is on already; take it away first")
            row.totp = self._encrypt(user_id, secret)
            uri = pyotp.TOTP(secret).provisioning_uri(name=row.user_name, issuer_name=ISSUER)
            return SecondFactorSecret(secret=secret, uri=uri)

    def confirm(self, user_id: str, code: str) -> None:
        """Turn the factor on with a first right code."""
        self._accept_code(user_id, code, turn_on=True)

    def check(self, user_id: str, code: str) -> None:
        """Accept a code once; Unauthenticated for a wrong one, an old one, or one that was used before."""
        self._accept_code(user_id, code, turn_on=False)

    def remove(self, user_id: str) -> None:
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            if not row.totp_on:
                raise NotFound("there is no second factor to take away")
            row.totp, row.totp_on, row.totp_step = None, False, 0

    def count_encrypted(self) -> int:
        """Count the secrets that need the encryption key."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).where(UserRow.totp.is_not(None))) or 0

    def reencrypt(self) -> int:
        """Encrypt with the newest key what an older one encrypted; return the number of secrets."""
        with self._database.write() as session:
            rows = session.scalars(select(UserRow).where(UserRow.totp.is_not(None))).all()
            old = [row for row in rows if row.totp and not self._cipher.uses_newest_key(row.totp)]
            for row in old:
                row.totp = self._encrypt(row.id, self._decrypt(row.id, row.totp or b""))
            return len(old)

    def _accept_code(self, user_id: str, code: str, *, turn_on: bool) -> None:
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            if row.totp is None or turn_on == bool(row.totp_on):
                raise NotFound("there is no second factor to do this with")
            step = _matching_step(pyotp.TOTP(self._decrypt(user_id, row.totp)), code)
            if step is None or step <= row.totp_step:
                raise Unauthenticated("the code is wrong, or was used before; wait for the next one")
            row.totp_step = step
            row.totp_on = True

    # The database holds the 20 bytes of a secret, apps and pyotp take them in base32.
    def _encrypt(self, user_id: str, secret: str) -> bytes:
        return self._cipher.encrypt(base64.b32decode(secret), _context(user_id))

    def _decrypt(self, user_id: str, encrypted: bytes) -> str:
        return base64.b32encode(self._cipher.decrypt(encrypted, _context(user_id))).decode()


def _matching_step(totp: pyotp.TOTP, code: str) -> int | None:
    """Return the time step, this one or a neighbour, whose code it is; None when it is none of them."""
    entered = code.replace(" ", "").encode()
    current = int(time.time()) // totp.interval
    for step in (current, current - 1, current + 1):
        if hmac.compare_digest(totp.at(step * totp.interval).encode(), entered):
            return step
    return None


def _context(user_id: str) -> str:
    return f"users.totp/{user_id}"

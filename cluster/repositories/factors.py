"""The second factor: codes of an authenticator app (TOTP, RFC 6238: SHA-1, 30 s, six digits)."""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
import time
from urllib.parse import quote

from sqlalchemy import func, select

from cluster.database.engine import Database
from cluster.database.tables import UserRow
from cluster.encryption import Cipher
from quantis.errors import Conflict, NotFound, Unauthenticated
from quantis.types.accounts import SecondFactorSecret

STEP_SECONDS, DIGITS = 30, 6


class SecondFactors:
    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    def begin(self, user_id: str) -> SecondFactorSecret:
        """A new secret, which counts once a code of it was given; Conflict while one counts."""
        plain = secrets.token_bytes(20)
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            if row.totp_on:
                raise Conflict("a second factor is on already; take it away first")
            row.totp = self._cipher.encrypt(plain, _place(user_id))
            text = base64.b32encode(plain).decode()
            label = quote(f"Quantis:{row.user_name}")
            return SecondFactorSecret(secret=text, uri=f"otpauth://totp/{label}?secret={text}&issuer=Quantis")

    def confirm(self, user_id: str, code: str) -> None:
        """Turn the factor on with a first right code."""
        self._use(user_id, code, on=True)

    def check(self, user_id: str, code: str) -> None:
        """Accept a code once; Unauthenticated for a wrong one, an old one, or one that came before."""
        self._use(user_id, code, on=False)

    def remove(self, user_id: str, code: str) -> None:
        self._use(user_id, code, on=False)
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            row.totp, row.totp_on, row.totp_step = None, False, 0

    def count_encrypted(self) -> int:
        """How many secrets need the key."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).where(UserRow.totp.is_not(None))) or 0

    def reencrypt(self) -> int:
        """Seal what an older key sealed with the newest one; how many there were."""
        with self._database.write() as session:
            rows = session.scalars(select(UserRow).where(UserRow.totp.is_not(None))).all()
            old = [row for row in rows if row.totp and not self._cipher.uses_newest_key(row.totp)]
            for row in old:
                plain = self._cipher.decrypt(row.totp or b"", _place(row.id))
                row.totp = self._cipher.encrypt(plain, _place(row.id))
            return len(old)

    def _use(self, user_id: str, code: str, *, on: bool) -> None:
        with self._database.write() as session:
            row = session.get_one(UserRow, user_id)
            if row.totp is None or (on and row.totp_on) or not (on or row.totp_on):
                raise NotFound("there is no second factor to do this with")
            step = _matching_step(self._cipher.decrypt(row.totp, _place(user_id)), code)
            if step is None or step <= row.totp_step:
                raise Unauthenticated("the code is wrong, or was used before; wait for the next one")
            row.totp_step = step
            row.totp_on = True


def code_at(secret: bytes, moment: float) -> str:
    """The code of a time (RFC 6238; RFC 4226, section 5.3)."""
    mac = hmac.digest(secret, struct.pack(">Q", int(moment) // STEP_SECONDS), "sha1")
    offset = mac[-1] & 15
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def _matching_step(secret: bytes, code: str) -> int | None:
    """The step, this one or a neighbour, whose code it is."""
    now = time.time()
    given = code.replace(" ", "").encode()
    for moment in (now, now - STEP_SECONDS, now + STEP_SECONDS):
        if hmac.compare_digest(code_at(secret, moment).encode(), given):
            return int(moment) // STEP_SECONDS
    return None


def _place(user_id: str) -> str:
    return f"users.totp/{user_id}"

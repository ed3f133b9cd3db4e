"""Password policy: refuses common passwords and those that reveal their owner."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from quantis.errors import InvalidInput

TELLING = ("quantis", "forecast", "password", "passwort")
"""Words that a guesser tries here first; the user's own name is one as well."""

LEAST_BESIDE, LEAST_DIFFERENT = 8, 5
_REMEDY = "take another one, such as four words that do not belong together"


def check_password(password: str, user_name: str) -> None:
    """Raise InvalidInput for a password that is common, repetitive, or little more than revealing words."""
    folded = password.casefold()
    if len(set(folded)) < LEAST_DIFFERENT:
        raise InvalidInput(f"this password has fewer than {LEAST_DIFFERENT} different characters; {_REMEDY}")
    if folded in common() or "".join(folded.split()) in common():
        raise InvalidInput(f"this password is among the most used ones; {_REMEDY}")
    remainder = folded
    for word in (user_name.casefold(), *TELLING):
        remainder = remainder.replace(word, "")
    if len(remainder) < min(LEAST_BESIDE, len(folded)):
        raise InvalidInput(
            f"this password is little more than a name or word that is guessed first; {_REMEDY}"
        )


@cache
def common() -> frozenset[str]:
    """Return the 10,000 most used passwords of 12 characters and more, in lower case.

    From SecLists' `10-million-password-list-top-1000000.txt` (Copyright (c) 2025 Daniel Miessler, MIT License), in
    whose order the first were taken.
    """
    text = gzip.decompress(Path(__file__).with_name("common-passwords.txt.gz").read_bytes())
    return frozenset(text.decode("ascii").split("\n")[:-1])

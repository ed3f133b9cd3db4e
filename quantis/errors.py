"""The tree of errors that Quantis raises on purpose.

    QuantisError                500 internal
    |-- InvalidInput            422 invalid_input
    |   `-- RejectedPanel       422 rejected_panel      (carries the findings)
    |-- Unauthenticated         401 unauthenticated
    |   `-- SecondFactorRequired 401 second_factor_required (the password is right, a code is missing)
    |-- Forbidden               403 forbidden
    |   |-- QuotaExceeded       403 quota_exceeded      (the team used up what it may)
    |   `-- ReauthenticationRequired 403 reauthentication_required (the password is asked for again)
    |-- NotFound                404 not_found
    |-- NotAcceptable           406 not_acceptable      (none of the formats asked for)
    |-- Conflict                409 conflict
    |-- TooLarge                413 too_large
    |-- UnsupportedMedia        415 unsupported_media
    |-- TooManyRequests         429 too_many_requests
    |-- Unavailable             503 unavailable
    |   `-- NotInstalled        503 not_installed       (a part of the platform is missing)
    |-- TimedOut                504 timed_out           (no answer, or no end, within the time allowed)
    |   `-- TooSlow             408 too_slow            (the request itself came too slowly)
    |-- Disconnected            499 disconnected        (the caller hung up; nobody hears this)
    `-- InsufficientStorage     507 insufficient_storage (the disk is full; nothing was kept)

A message names the value, the rule and the remedy. `status` and `code` are what an HTTP answer
carries (RFC 9457); `exit_code` is what the command line ends with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from quantis.types.findings import Finding


_MOST_CHOICES = 20


class QuantisError(Exception):
    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, errors: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.errors = list(errors)
        """Details: `{"pointer": where, "message": what}` each."""


class InvalidInput(QuantisError):
    status, code, title, exit_code = 422, "invalid_input", "Invalid input", 2


class RejectedPanel(InvalidInput):
    """The panel breaks its contract; nothing was stored."""

    code, title, exit_code = "rejected_panel", "The panel was rejected", 1

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.findings = list(findings)

    def __reduce__(self) -> tuple[type[RejectedPanel], tuple[str, list[Finding]]]:
        """Pickle it with its findings."""
        return type(self), (self.message, self.findings)


class Unauthenticated(QuantisError):
    status, code, title, exit_code = 401, "unauthenticated", "Not signed in", 3


class SecondFactorRequired(Unauthenticated):
    """The password is right; the code of the second factor is missing."""

    code, title = "second_factor_required", "A second factor is needed"


class Forbidden(QuantisError):
    status, code, title, exit_code = 403, "forbidden", "Not allowed", 3


class QuotaExceeded(Forbidden):
    """The team has used up what it may use."""

    code, title = "quota_exceeded", "The team's quota is used up"


class ReauthenticationRequired(Forbidden):
    """The caller is signed in; this call needs the password again."""

    code, title = "reauthentication_required", "Your password is needed again"


class NotFound(QuantisError):
    status, code, title, exit_code = 404, "not_found", "Not found", 4


class NotAcceptable(QuantisError):
    status, code, title, exit_code = 406, "not_acceptable", "Not acceptable", 2


class Conflict(QuantisError):
    status, code, title, exit_code = 409, "conflict", "Conflict", 4


class TooLarge(QuantisError):
    status, code, title, exit_code = 413, "too_large", "Too large", 2


class UnsupportedMedia(QuantisError):
    status, code, title, exit_code = 415, "unsupported_media", "Unsupported media type", 2


class TooManyRequests(QuantisError):
    status, code, title, exit_code = 429, "too_many_requests", "Too many requests", 5

    def __init__(self, message: str, *, errors: Sequence[dict[str, str]] = (), retry_after: int = 1) -> None:
        super().__init__(message, errors=errors)
        self.retry_after = retry_after
        """Seconds until it makes sense to try again."""


class Unavailable(QuantisError):
    status, code, title, exit_code = 503, "unavailable", "Unavailable", 5


class NotInstalled(Unavailable):
    code, title = "not_installed", "A part of the platform is not installed"


class TimedOut(QuantisError):
    status, code, title, exit_code = 504, "timed_out", "Timed out", 6


class TooSlow(TimedOut):
    """The request did not arrive in time."""

    status, code, title = 408, "too_slow", "The request came too slowly"


class Disconnected(QuantisError):
    """The caller hung up before the answer was there."""

    status, code, title = 499, "disconnected", "The caller hung up"


class InsufficientStorage(QuantisError):
    status, code, title, exit_code = 507, "insufficient_storage", "The disk is full", 5


def all_errors() -> list[type[QuantisError]]:
    """Return the tree, flattened, parents first."""

    def walk(kind: type[QuantisError]) -> list[type[QuantisError]]:
        return [kind, *chain.from_iterable(walk(child) for child in kind.__subclasses__())]

    return walk(QuantisError)


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return the remedy for a name that is not known: the one that is meant, or those that there are."""
    by_folded = {choice.casefold(): choice for choice in sorted(choices)}
    close = get_close_matches(name.casefold(), by_folded, n=1)
    if close:
        return f"did you mean {by_folded[close[0]]!r}?"
    listed = ", ".join(list(by_folded.values())[:_MOST_CHOICES]) or "none"
    return f"there are {listed}{', ...' if len(by_folded) > _MOST_CHOICES else ''}"

"""Options that many commands share, and how their values are read."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantis.client import Client

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server; QUANTIS_URL when absent.", show_default=False),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        parser=lambda text: parse_timestamp(text),
        help="With what was known then; now when absent.",
    ),
]
Timeout = Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds to wait for the job's end.")]

_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def open_client(url: str | None) -> Client:
    """Open the client of this command's server."""
    from quantis.client import Client

    return Client(url)


def parse_timestamp(text: str | datetime) -> datetime:
    """Parse an ISO 8601 time; UTC when it names no zone."""
    if isinstance(text, datetime):
        return text
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write it as 2013-12-25T05:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """Parse a length of time such as 30min, 1h or 2d."""
    match = re.fullmatch(r"(\d{1,6})\s*(s|min|h|d|w)", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is no length of time; write it as 30min, 1h or 2d")
    return timedelta(**{_UNITS[match[2].lower()]: int(match[1])})


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone; a usage error where nobody can answer and `--yes` is missing."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("this cannot be undone, and nobody can be asked here; confirm it with --yes")
    typer.confirm(question, abort=True, err=True)


def split_names(text: str | None) -> tuple[str, ...]:
    """Split a list with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())

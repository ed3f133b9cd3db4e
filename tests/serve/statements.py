"""Watches what a database is asked, for questions about a team's things that do not name the team."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sqlalchemy import Engine, event

PLATFORM = {"teams", "leases", "outbox", "alembic_version"}
"""Tables of the platform: a team's row there is the team itself, or work on its way to Ray."""

WITHOUT_A_TEAM = {
    "accounts._is_taken": "user names are unique on the platform",
    "accounts.any_user": "whether the platform was set up",
    "accounts.authenticate": "who signs in has said no team yet",
    "accounts.change_password": "one's own account, by the id in the token",
    "accounts.enabled_user": "one's own account",
    "accounts.team_of": "the team of who tried to sign in, for the trail",
    "clients.create": "user names are unique on the platform",
    "clients.authenticate": "who signs in has said no team yet",
    "factors": "one's own account",
    "keys.create": "one's own account",
    "principals": "finds out whose team it is",
    "sessions": "one's own sessions, or the token in one's hands",
    "audit": "one chain for the whole platform",
}
"""Who asks without a team, and why that is right: `module` or `module.function` below cluster/repositories."""

_TABLE = re.compile(r"(?:FROM|JOIN|UPDATE) (\w+)")


@contextmanager
def watching(engine: Engine) -> Iterator[dict[str, str]]:
    """Fills with the statements that name no team, by who made them."""
    found: dict[str, str] = {}

    def look(connection: object, cursor: object, statement: str, *more: object) -> None:
        tables = set(_TABLE.findall(statement)) - PLATFORM
        verb, conditions = statement.split(None, 1)[0], statement.partition("WHERE")[2]
        names_none = verb in ("SELECT", "UPDATE", "DELETE") and tables and "team_id" not in conditions
        if names_none and (asker := _asker()):
            found.setdefault(asker, statement)

    event.listen(engine, "before_cursor_execute", look)
    yield found
    event.remove(engine, "before_cursor_execute", look)


def not_allowed(found: dict[str, str]) -> dict[str, str]:
    return {
        place: statement
        for place, statement in found.items()
        if not {place, place.partition(".")[0]} & WITHOUT_A_TEAM.keys()
    }


def _asker() -> str:
    """`module.function` of the repository that the statement comes from; empty for a test's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        path = Path(frame.f_code.co_filename)
        if "repositories" in path.parts and "<" not in frame.f_code.co_name:
            return f"{path.stem}.{frame.f_code.co_name}"
        frame = frame.f_back
    return ""

"""`quantis sessions`: ls, end."""

from __future__ import annotations

from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client

app = typer.Typer(no_args_is_help=True)


@app.command("ls")
def list_sessions(url: Url = None, as_json: Json = False) -> None:
    """List where you are signed in."""
    with open_client(url) as api:
        sessions = api.sessions()
    if as_json:
        output.print_json_list(sessions)
        return
    rows = [
        (
            session.id,
            output.format_timestamp(session.used_at),
            session.address,
            session.agent[:40],
            "here" if session.current else "",
        )
        for session in sessions
    ]
    output.print_table(("id", "last used (UTC)", "address", "program", ""), rows)


@app.command()
def end(
    session: Annotated[
        str | None, typer.Argument(metavar="ID", help="One session.", show_default=False)
    ] = None,
    end_others: Annotated[bool, typer.Option("--others", help="All but this one.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Sign out somewhere else."""
    if (session is None) == (not end_others):
        raise typer.BadParameter("name one session, or --others")
    with open_client(url) as api:
        api.end_session(session) if session else api.end_other_sessions()
    target = session or "others"
    output.print_json({"ended": target}) if as_json else output.report(
        f"signed out of {session or 'every other session'}"
    )

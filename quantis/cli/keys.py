"""`quantis keys`: create, ls, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.account import MyPasswordFile, run_reauthenticated
from quantis.cli.options import Json, Url, open_client, parse_duration

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as nightly-import.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="read, forecast, data, jobs, models or audit; repeat it.", show_default=False
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days until it ends.")] = 90,
    my_password_file: MyPasswordFile = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make an API key; it is shown this once. It reads and forecasts where no scope is named.

    Your password is asked for again, so that a stolen login makes no keys.
    """
    with open_client(url) as api:
        lifetime = parse_duration(f"{days}d")
        key = run_reauthenticated(
            api,
            lambda: api.create_api_key(name, scopes or ("read", "forecast"), expires_in=lifetime),
            my_password_file,
        )
    if as_json:
        output.print_json(key)
        return
    output.print_fields([("key", key.key)])
    output.report(
        f"keep it now, it is not shown again; it ends on {output.format_timestamp(key.expires_at)} UTC. "
        "Use it as QUANTIS_API_KEY"
    )


@app.command("ls")
def list_keys(
    team: Annotated[bool, typer.Option("--team", help="Those of the whole team; for admins.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Your API keys."""
    with open_client(url) as api:
        keys = api.api_keys(team=team)
    if as_json:
        output.print_json_list(keys)
    elif not keys:
        output.report("no API key yet; make one with `quantis keys create NAME`")
    else:
        rows = [
            (
                key.id,
                key.name,
                key.owner,
                f"{key.hint}…",
                ", ".join(key.scopes),
                output.format_timestamp(key.expires_at),
                output.format_timestamp(key.used_at),
                "revoked" if key.revoked_at else "",
            )
            for key in keys
        ]
        columns = ("id", "name", "owner", "key", "scopes", "ends (UTC)", "last used", "")
        output.print_table(columns, rows)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `quantis keys ls` shows it.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """End a key; it stops working within a second."""
    with open_client(url) as api:
        revoked = api.revoke_api_key(key)
    output.print_json(revoked) if as_json else output.report(f"{revoked.name} ({revoked.hint}…) is revoked")

"""`quantis users`: ls, create, change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantis.cli import output
from quantis.cli.account import MyPasswordFile, read_password, run_reauthenticated
from quantis.cli.options import Json, Url, open_client
from quantis.errors import NotFound
from quantis.types.accounts import Role, UserChange

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.accounts import User

app = typer.Typer(no_args_is_help=True)
PasswordFile = Annotated[
    Path, typer.Option("--password-file", help="A file with the password, - for stdin.", show_default=False)
]


@app.command("ls")
def list_users(url: Url = None, as_json: Json = False) -> None:
    """The users of your team."""
    with open_client(url) as api:
        users = api.users()
    if as_json:
        output.print_json_list(users)
        return
    rows = [
        (
            user.user_name,
            user.role,
            _describe_state(user),
            "yes" if user.second_factor else "",
            output.format_timestamp(user.created_at),
        )
        for user in users
    ]
    output.print_table(("user", "role", "state", "second factor", "created (UTC)"), rows)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The user name.")],
    password_file: PasswordFile,
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.viewer,
    my_password_file: MyPasswordFile = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Add somebody to your team."""
    password = read_password(password_file)
    with open_client(url) as api:
        user = run_reauthenticated(api, lambda: api.create_user(name, password, role), my_password_file)
    output.print_json(user) if as_json else output.report(f"{user.user_name} can sign in as {user.role}")


@app.command()
def change(
    name: Annotated[str, typer.Argument(help="The user name.")],
    role: Annotated[Role | None, typer.Option(help="Another role.", show_default=False)] = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Shut out, or let in again.", show_default=False)
    ] = None,
    reset_second_factor: Annotated[
        bool, typer.Option("--reset-second-factor", help="Take a lost second factor away.")
    ] = False,
    my_password_file: MyPasswordFile = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Change somebody's role, shut them out, or take a lost second factor away."""
    update = UserChange(role=role, disabled=disable, second_factor=False if reset_second_factor else None)
    if not update.model_dump(exclude_none=True):
        raise typer.BadParameter(
            "say what is to change: --role, --disable, --enable or --reset-second-factor"
        )
    with open_client(url) as api:
        user_id = _user_id(api, name)
        user = run_reauthenticated(api, lambda: api.change_user(user_id, update), my_password_file)
    output.print_json(user) if as_json else output.report(
        f"{user.user_name}: {user.role}, {_describe_state(user)}"
    )


def _user_id(api: Client, name: str) -> str:
    matches = [user.id for user in api.users() if user.user_name == name]
    if not matches:
        raise NotFound(f"no user {name!r} in your team; `quantis users ls` lists them")
    return matches[0]


def _describe_state(user: User) -> str:
    return "disabled" if user.disabled else "active"

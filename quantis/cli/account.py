"""Signing in and out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client
from quantis.errors import InvalidInput, ReauthenticationRequired, SecondFactorRequired

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.accounts import User

T = TypeVar("T")
_PANEL = "Account"
MyPasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--my-password-file",
        help="A file with your own password, - for stdin; asked when absent and needed.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("login", rich_help_panel=_PANEL)(login)
    app.command("logout", rich_help_panel=_PANEL)(logout)
    app.command("whoami", rich_help_panel=_PANEL)(whoami)


def login(
    user: Annotated[str | None, typer.Option("--user", help="Your user name; asked when absent.")] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="A file with the password, - for stdin; asked when absent."),
    ] = None,
    login_file: Annotated[
        Path | None,
        typer.Option("--login-file", help="JSON with user_name and password, as `quantis demo` writes it."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", help="A file with an API key, - for stdin, instead of a password."),
    ] = None,
    setup_secret: Annotated[
        Path | None,
        typer.Option("--setup-secret", help="The file that `quantis up` wrote; makes you the first admin."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Sign in; later commands use this login."""
    with open_client(url) as api:
        _warn_of_plain_http(api.url)
        if api_key_file:
            me = api.login_with_key(read_password(api_key_file), save=True)
            _report_login(me, api.url, as_json)
            return
        if login_file:
            from quantis.client.credentials import read_login_file

            user, password = read_login_file(login_file)
        else:
            user = user or _prompt("User name", hidden=False)
            password = read_password(password_file) if password_file else _prompt("Password", hidden=True)
        if setup_secret:
            api.create_first_admin(read_password(setup_secret), user, password)
        try:
            me = api.login(user, password, save=True)
        except SecondFactorRequired:
            code = _prompt("Code of your second factor", hidden=False, option="a terminal, or an API key")
            me = api.login(user, password, otp=code, save=True)
    _report_login(me, api.url, as_json)


def logout(url: Url = None, as_json: Json = False) -> None:
    """Sign out here and make the login void on the server."""
    with open_client(url) as api:
        api.logout()
    if as_json:
        output.print_json({"signed_out": api.url})
    else:
        output.report(f"signed out of {api.url}")


def whoami(url: Url = None, as_json: Json = False) -> None:
    """Show who is signed in, with what role."""
    with open_client(url) as api:
        me = api.me()
    if as_json:
        output.print_json(me)
    else:
        output.print_fields(
            [("user", me.user_name), ("role", me.role.value), ("team", me.team), ("server", api.url)]
        )


def run_reauthenticated(api: Client, call: Callable[[], T], password_file: Path | None) -> T:
    """Return the result of a call that asks for the user's password again, read from a file or the terminal."""
    try:
        return call()
    except ReauthenticationRequired:
        option = "--my-password-file"
        password = (
            read_password(password_file)
            if password_file
            else _prompt("Your password, again", hidden=True, option=option)
        )
    try:
        api.reauthenticate(password)
    except SecondFactorRequired:
        code = _prompt("Code of your second factor", hidden=False, option="a terminal")
        api.reauthenticate(password, otp=code)
    return call()


def _report_login(me: User, url: str, as_json: bool) -> None:
    if as_json:
        output.print_json(me)
    else:
        output.report(f"signed in to {url} as {me.user_name} ({me.role.value})")


def _prompt(label: str, *, hidden: bool, option: str = "") -> str:
    if not sys.stdin.isatty():
        option = option or ("--password-file" if hidden else "--user")
        raise typer.BadParameter(f"there is no terminal to ask for the {label.lower()}; give {option}")
    return str(typer.prompt(label, hide_input=hidden, err=True))


def read_password(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}") from None
    return text.rstrip("\r\n")


def _warn_of_plain_http(url: str) -> None:
    import httpx

    address = httpx.URL(url)
    if address.scheme == "http" and address.host not in ("127.0.0.1", "localhost", "::1"):
        output.report(f"warning: {url} is not https; the password can be read on its way")

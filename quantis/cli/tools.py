"""Small tools: the API's description, shell completion."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client

_SHELLS = ("bash", "zsh", "fish", "powershell")


def register(app: typer.Typer) -> None:
    app.command("openapi", rich_help_panel="Tools")(openapi)
    app.command("completion", rich_help_panel="Tools")(completion)


def openapi(url: Url = None, as_json: Json = False) -> None:
    """The server's OpenAPI document, as JSON in any case."""
    with open_client(url) as api:
        output.print_json(api.openapi())


def completion(
    shell: Annotated[str, typer.Argument(help=f"{', '.join(_SHELLS)}.")],
    as_json: Json = False,
) -> None:
    """The script that completes commands in a shell: quantis completion bash >> ~/.bashrc"""
    from typer._completion_shared import get_completion_script

    if shell not in _SHELLS:
        raise typer.BadParameter(f"shell {shell!r} is not one of {', '.join(_SHELLS)}")
    script = get_completion_script(prog_name="quantis", complete_var="_QUANTIS_COMPLETE", shell=shell)  # nosec B604
    if as_json:
        output.print_json({"shell": shell, "script": script})
    else:
        sys.stdout.write(script + "\n")

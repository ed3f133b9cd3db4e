"""The command line `quantis`: its commands, and what every failure becomes.

Exit codes: 0 done; 1 a job or check failed; 2 wrong usage; 3 not signed in or not allowed; 4 not
found or in conflict; 5 server or network; 6 timed out; 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer._completion_classes import completion_init

import quantis
from quantis.cli import (
    account,
    approvals,
    audit,
    backtest,
    data,
    forecast,
    jobs,
    keys,
    models,
    output,
    platform,
    sessions,
    tools,
    train,
    users,
)
from quantis.cli.operations import (
    alerts,
    calibration,
    dataset_watch,
    experiments,
    live,
    pipelines,
    schedules,
)
from quantis.errors import QuantisError

app = typer.Typer(
    help="Forecast panels of time series: check data, train, compare, serve and look.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


def _version(requested: bool) -> None:
    if requested:
        sys.stdout.write(quantis.__version__ + "\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Forecast panels of time series: check data, train, compare, serve and look."""


for module in (platform, account, train, forecast, live, calibration, dataset_watch, tools):
    module.register(app)
app.add_typer(data.app, name="data", help="Check, upload and look at data.", rich_help_panel="Work")
app.add_typer(jobs.app, name="jobs", help="Submit, follow and stop jobs.", rich_help_panel="Work")
app.add_typer(
    forecast.issued_app, name="forecasts", help="Fetch forecasts that were issued.", rich_help_panel="Work"
)
app.add_typer(
    backtest.app,
    name="backtest",
    help="Judge families on past windows, by every dimension.",
    rich_help_panel="Work",
)
app.add_typer(models.app, name="models", help="Compare and promote models.", rich_help_panel="Work")
app.add_typer(approvals.app, name="approvals", help="Decide what others asked for.", rich_help_panel="Work")
app.add_typer(alerts.app, name="alerts", help="What went wrong, and who is told.", rich_help_panel="Work")
app.add_typer(
    experiments.app,
    name="experiments",
    help="A challenger against the champion, on late actuals.",
    rich_help_panel="Work",
)
app.add_typer(pipelines.app, name="pipelines", help="Chains of jobs with conditions.", rich_help_panel="Work")
app.add_typer(schedules.app, name="schedules", help="Start jobs by the clock.", rich_help_panel="Work")
for name, commands, text in (
    ("keys", keys, "API keys: make, list and revoke them."),
    ("sessions", sessions, "Where you are signed in."),
    ("users", users, "The users of your team."),
    ("audit", audit, "Who changed what."),
):
    app.add_typer(commands.app, name=name, help=text, rich_help_panel="Account")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    as_json = "--json" in arguments
    completion_init()  # the shells that may ask for completions
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name="quantis", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except QuantisError as error:
        output.print_error(error, as_json=as_json)
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        output.report("interrupted")
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the reader left; nothing more can be written to it
        return 0
    except Exception as error:
        if as_json:
            output.print_json({"error": {"code": "internal", "message": f"{type(error).__name__}: {error}"}})
        traceback.print_exc()
        output.report("this is a defect of Quantis; please report it with the lines above")
        return 5


def _usage(error: typer.TyperException, as_json: bool) -> int:
    if as_json:
        output.print_json({"error": {"code": "usage", "message": error.format_message()}})
    else:
        show = getattr(error, "show", None)
        show() if show else output.report(f"error: {error.format_message()}")
    return error.exit_code


def main() -> None:
    sys.exit(run(sys.argv[1:]))

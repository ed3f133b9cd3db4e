"""`quantis calibration`: intervals as scored actuals have moved them."""

from __future__ import annotations

from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client

_COLUMNS = ("version", "steps", "width", "points")


def register(app: typer.Typer) -> None:
    app.command("calibration", rich_help_panel="Work")(calibration)


def calibration(
    model: Annotated[str, typer.Argument(help="The model.")],
    switch: Annotated[
        bool | None, typer.Option("--on/--off", help="Let intervals learn from actuals, or not.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show how scored actuals have moved a model's intervals, or switch that on or off."""
    with open_client(url) as api:
        state = api.calibration(model) if switch is None else api.set_calibration(model, enabled=switch)
    if as_json:
        output.print_json(state)
        return
    output.report(f"adaptive calibration of {model} is {'on' if state.enabled else 'off'}")
    rows = [
        (
            each.version,
            f"{stretch.first_step}-{stretch.last_step}",
            f"{stretch.factor:.2f}",
            round(stretch.points),
        )
        for each in state.versions
        for stretch in each.stretches
    ]
    output.print_table(_COLUMNS, rows, right=_COLUMNS)

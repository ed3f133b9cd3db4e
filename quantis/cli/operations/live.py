"""`quantis live` and `quantis reproduce`: how far forecasts were off, and the same numbers again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client, parse_timestamp
from quantis.types.operations.live import LiveAccuracy, LiveDimension, LiveFigures, VintageKind

_COLUMNS = ("n", "WAPE", "MASE", "bias", "WQL", "80 %", "naive WAPE")
Time = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME", parser=lambda text: parse_timestamp(text), help="Bound of the actuals' time."
    ),
]


def register(app: typer.Typer) -> None:
    app.command("live", rich_help_panel="Work")(live)
    app.command("reproduce", rich_help_panel="Work")(reproduce)


def live(
    model: Annotated[str, typer.Argument(help="The model.")],
    by: Annotated[LiveDimension, typer.Option(help="What to cut by.")] = LiveDimension.day,
    version: Annotated[int | None, typer.Option("--version", min=1, help="One version alone.")] = None,
    kind: Annotated[
        list[VintageKind] | None,
        typer.Option("--kind", help="Occasion, may be repeated; online and batch unless given."),
    ] = None,
    since: Time = None,
    until: Time = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show how far issued forecasts were off, beside seasonal naive on the same points."""
    with open_client(url) as api:
        report = api.live(model, by, version=version, since=since, until=until, kinds=kind)
    if as_json:
        output.print_json(report)
        return
    output.print_table(
        (by.value, *_COLUMNS), [_row(row) for row in (*report.items, report.overall)], right=_COLUMNS
    )
    for line in _notes(report):
        output.report(line)


def reproduce(
    forecast_id: Annotated[str, typer.Argument(help="The id of an issued forecast.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a forecast again from what was known; exit code 1 where the numbers differ or an input is gone."""
    with open_client(url) as api:
        reproduction = api.reproduce(forecast_id)
    if as_json:
        output.print_json(reproduction)
    elif reproduction.identical:
        output.report("identical to the bit")
    else:
        for line in reproduction.missing:
            output.report(f"gone: {line}")
        if reproduction.largest_difference is not None:
            output.report(f"different: by {reproduction.largest_difference:.3g} of a value at most")
    if not reproduction.identical:
        raise typer.Exit(1)


def _row(figures: LiveFigures) -> tuple[object, ...]:
    numbers = (figures.wape, figures.mase, figures.bias, figures.wql, figures.coverage.get("80"))
    naive = figures.seasonal_naive.wape
    return (figures.label, figures.n, *(output.format_number(number) for number in (*numbers, naive)))


def _notes(report: LiveAccuracy) -> list[str]:
    notes = [
        (report.waiting, "waiting for the actual"),
        (report.corrected, "scored again, since the actual was corrected"),
        (report.hindsight, "left out, since the actual was stored before the forecast"),
        (report.learned, "left out, since the version had learned from what followed"),
        (report.scenarios, "left out, since covariates were changed on purpose"),
    ]
    return [f"{count:,} {'point' if count == 1 else 'points'} {text}" for count, text in notes if count]

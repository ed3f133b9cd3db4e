"""`quantis forecast`: a table, or a drawing; and `quantis forecasts`, what was issued before."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.file_options import write_table
from quantis.cli.options import AsOf, Json, Url, open_client, parse_timestamp
from quantis.errors import QuantisError

if TYPE_CHECKING:
    import pyarrow as pa

    from quantis.client import Client
    from quantis.plot import Line, PlotCell
    from quantis.types.forecasts import ForecastResponse, SeriesForecast

_STYLES = {"history": "bright_white", "median": "bold cyan", "actual": "bold yellow", "axis": "bright_black"}
_BAND_STYLES = ("blue", "bright_black", "bright_black")
_BACKGROUNDS = ("on grey30", "on grey19", "on grey11")

issued_app = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command("forecast", rich_help_panel="Work")(forecast)


def forecast(
    model: Annotated[str, typer.Argument(help="name (its champion), name@alias or name:7.")],
    series: Annotated[list[str], typer.Option("--series", help="A series' id; may be repeated.")],
    h: Annotated[int | None, typer.Option("--h", min=1, help="Steps; the model's own when absent.")] = None,
    level: Annotated[
        list[float] | None, typer.Option("--level", help="An interval in percent; may be repeated.")
    ] = None,
    as_of: AsOf = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it instead of printing the table.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Forecast series of the model's dataset."""
    with open_client(url) as api:
        response = api.forecast(model, series, h=h, level=level or [80, 95], as_of=as_of)
        if as_json:
            output.print_json(response)
        elif plot:
            for entry in response.forecasts:
                _draw_forecast(api, model, response, entry)
        else:
            _print_forecast(response)
    if not as_json:
        _report_model(response)
    if all(entry.status == "refused" for entry in response.forecasts):
        raise typer.Exit(1)


@issued_app.callback()
def _forecasts() -> None:
    """Look at the forecasts that were issued."""


@issued_app.command("ls")
def list_issued(
    model: Annotated[str | None, typer.Option(help="Only of the model of this name.")] = None,
    series: Annotated[
        list[str] | None, typer.Option("--series", help="Only this series; may be repeated.")
    ] = None,
    issued_after: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", parser=lambda text: parse_timestamp(text), help="Only those after."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many forecasts at most.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", dir_okay=False, help="Save the rows; ends in .parquet, .csv or .arrow."
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """The forecasts that were issued, newest first; -o saves their values."""
    with open_client(url) as api:
        table = api.issued_forecasts(model=model, series=series, issued_after=issued_after, limit=limit)
    if out is not None:
        write_table(table, out, for_spreadsheets=True)
        output.report(f"{out}: {table.num_rows:,} rows")
    issued = _issued(table)
    if as_json:
        output.print_json({"items": issued})
    elif not issued:
        output.report("no forecast; `quantis forecast MODEL --series ID` issues one")
    elif out is None:
        headings = ("forecast", "model", "version", "issued (UTC)", "as of (UTC)", "series")
        rows = [tuple(row.values()) for row in issued]
        output.print_table(headings, rows, right=("version", "series"))


def _issued(table: pa.Table) -> list[dict[str, Any]]:
    """Return each forecast of a table of their rows, with the number of its series."""
    keys = ["forecast_id", "model", "version", "issued_at", "as_of"]
    rows = table.group_by(keys, use_threads=False).aggregate([("unique_id", "count_distinct")])
    issued: list[dict[str, Any]] = rows.rename_columns([*keys, "series"]).to_pylist()
    for row in issued:
        row |= {key: output.format_timestamp(row[key]) for key in ("issued_at", "as_of")}
    return issued


def _print_forecast(response: ForecastResponse) -> None:
    from quantis.client import forecast_frame

    table = forecast_frame(response, name="mean", origins=False)
    if not table.num_rows:
        return
    numbers = [name for name in table.column_names if name not in ("unique_id", "ds")]
    rows = [
        (
            row["unique_id"],
            output.format_timestamp(row["ds"]),
            *(output.format_number(row[name], 2) for name in numbers),
        )
        for row in table.to_pylist()
    ]
    headings = [name.removeprefix("mean-") for name in numbers]
    output.print_table(("series", "ds (UTC)", *headings), rows, right=headings)


def _report_model(response: ForecastResponse) -> None:
    model = response.model
    alias = f" ({model.alias})" if model.alias else ""
    output.report(
        f"{model.name} version {model.version}{alias}, {model.family}; as known at "
        f"{output.format_timestamp(response.as_of)} UTC; forecast {response.forecast_id}"
    )
    for entry in response.forecasts:
        if entry.status != "ok":
            reason = entry.detail or (entry.reason.value.replace("_", " ") if entry.reason else "")
            output.report(
                f"{entry.unique_id}: {entry.status}, {entry.method.value.replace('_', ' ')}: {reason}"
            )
    for warning in response.warnings:
        output.report(f"warning: {warning}")


def _draw_forecast(api: Client, model: str, response: ForecastResponse, entry: SeriesForecast) -> None:
    from quantis.client.frames import intervals
    from quantis.plot import Band, Line, Plot

    if not entry.ds:
        return
    bands = [
        Band(f"{level} %", entry.ds, entry.quantiles[low], entry.quantiles[high])
        for level, low, high in intervals(set(entry.quantiles))
    ]
    median = Line("median", entry.ds, entry.quantiles.get("0.5", entry.mean))
    lines = [*_stored_lines(api, model, response, entry), median]
    console = output.console()
    width = min(console.width, 110) if sys.stdout.isatty() else 100
    drawing = Plot(lines, bands, cutoff=entry.ds[0], width=width)
    output.console().print(
        _build_legend(entry.unique_id, [line.name for line in lines], [band.name for band in bands])
    )
    for row in drawing.rows():
        console.print(_style_row(row, [band.name for band in bands]), soft_wrap=True)


def _stored_lines(api: Client, model: str, response: ForecastResponse, entry: SeriesForecast) -> list[Line]:
    """History and later actuals from the model's dataset, as far as they can be had."""
    import numpy as np

    from quantis.frequency import Frequency, to_datetime, to_datetime64
    from quantis.plot import Line

    first = np.array([to_datetime64(entry.ds[0])])
    start = to_datetime(Frequency.parse(response.freq).shift(first, -3 * len(entry.ds))[0])
    try:
        dataset = api.resolve(f"{response.model.name}:{response.model.version}").dataset
        if dataset is None:
            return []
        history = api.read_series(dataset, entry.unique_id, as_of=response.as_of, start=start)
        actuals = api.read_series(dataset, entry.unique_id, start=entry.ds[0], end=entry.ds[-1])
    except QuantisError as error:
        output.report(f"drawn without its history: {error.message}")
        return []
    points = [(t, y) for t, y in zip(history.ds, history.y, strict=True) if t < entry.ds[0]]
    lines = [Line("history", [t for t, _ in points], [y for _, y in points])] if points else []
    if any(y is not None for y in actuals.y):
        lines.append(Line("actual", actuals.ds, actuals.y))
    return lines


def _build_legend(unique_id: str, lines: list[str], bands: list[str]):  # type: ignore[no-untyped-def]
    from rich.text import Text

    from quantis.plot import SHADES

    text = Text(output.sanitize(unique_id), style="bold")
    for name in lines:
        text.append(f"   ⠒⠒ {name}", style=_STYLES[name])
    for shade, name, style in zip(SHADES, bands, _BAND_STYLES, strict=False):
        text.append(f"   {shade}{shade} {name}", style=style)
    return text


def _style_row(row: list[PlotCell], bands: list[str]):  # type: ignore[no-untyped-def]
    from rich.text import Text

    text = Text()
    styles = {**_STYLES, **dict(zip(bands, _BAND_STYLES, strict=False))}
    backgrounds = dict(zip(bands, _BACKGROUNDS, strict=False))
    for cell in row:
        text.append(cell.text, style=f"{styles.get(cell.shows, '')} {backgrounds.get(cell.over, '')}".strip())
    return text

"""`quantis anomalies` and `quantis drift`: a dataset's last values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client, parse_timestamp
from quantis.types.operations.drift import DatasetDrift, DriftFinding

_SHOWN_NAMES = 5
_ANOMALY_COLUMNS = ("actual", "expected", "low", "high", "sigmas", "q")
_DRIFT_COLUMNS = ("drifted", "tested", "PSI", "Wasserstein", "importance")
Dataset = Annotated[str, typer.Argument(help="The dataset.")]
Time = Annotated[
    datetime | None,
    typer.Option(metavar="TIME", parser=lambda text: parse_timestamp(text), help="Bound of the arrival."),
]


def register(app: typer.Typer) -> None:
    app.command("anomalies", rich_help_panel="Work")(anomalies)
    app.command("drift", rich_help_panel="Work")(drift)


def anomalies(
    dataset: Dataset,
    since: Time = None,
    until: Time = None,
    model: Annotated[str | None, typer.Option(help="Forecasts of this model alone.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show actuals that the latest forecast before them held to be all but impossible."""
    with open_client(url) as api:
        report = api.anomalies(dataset, since=since, until=until, model=model)
    if as_json:
        output.print_json(report)
        return
    rows = [
        (
            item.unique_id,
            output.format_timestamp(item.ds),
            *map(
                output.format_number, (item.y, item.expected, item.low, item.high, item.score, item.q_value)
            ),
        )
        for item in report.items
    ]
    if rows:
        output.print_table(("series", "ds (UTC)", *_ANOMALY_COLUMNS), rows, right=_ANOMALY_COLUMNS)
    else:
        output.report("no anomaly")
    output.report(f"{report.points:,} actuals of {report.appends:,} appends were compared with a forecast")


def drift(
    dataset: Dataset,
    model: Annotated[str | None, typer.Option(help="Test the residuals of this model, too.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show which columns' last points differ from those before, and how fresh the dataset is."""
    with open_client(url) as api:
        report = api.drift(dataset, model=model)
    if as_json:
        output.print_json(report)
        return
    if report.drift.findings:
        output.print_table(
            ("column", "kind", "aspect", "where", *_DRIFT_COLUMNS),
            [_row(finding) for finding in report.drift.findings],
            right=_DRIFT_COLUMNS,
        )
    else:
        output.report("no column drifted")
    for line in _notes(report):
        output.report(line)


def _row(finding: DriftFinding) -> tuple[object, ...]:
    names = [part.unique_id or part.category or "all series" for part in finding.parts[:_SHOWN_NAMES]]
    where = ", ".join(names) + (" ..." if finding.drifted > _SHOWN_NAMES else "")
    sizes = (finding.psi, finding.wasserstein, finding.importance)
    counts = (finding.drifted, finding.tested)
    return (finding.column, finding.kind, finding.aspect, where, *counts, *map(output.format_number, sizes))


def _notes(report: DatasetDrift) -> list[str]:
    drift, freshness = report.drift, report.freshness
    notes = [f"{drift.tested:,} tests of the last {drift.window} points against the {drift.reference} before"]
    if drift.findings:
        ranked = "as important as to the model" if drift.ranked_by == "model" else "all as equally important"
        notes.append(f"columns count {ranked}")
    if drift.residual_change is not None:
        direction = "low" if drift.residual_change.rose else "high"
        notes.append(
            f"forecasts are too {direction} since {output.format_timestamp(drift.residual_change.since)}"
        )
    if not freshness.on_time:
        notes.append(f"the next value is late by {freshness.late}")
    return notes

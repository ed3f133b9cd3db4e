"""`quantis data`: check, clean, push, ls, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import file_options, output
from quantis.cli.options import AsOf, Json, Url, Yes, confirm, open_client, parse_duration, split_names
from quantis.errors import InvalidInput, NotFound, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.datasets import CheckReport, StoredSeries
    from quantis.types.reading import ReadOptions

app = typer.Typer(no_args_is_help=True)
DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]

File = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, readable=True, help="CSV, Parquet, Arrow or JSON, also packed."
    ),
]
Columns = str | None


@app.command()
def check(
    file: File,
    futr: Annotated[Columns, typer.Option(help="Columns known in advance, with commas.")] = None,
    hist: Annotated[Columns, typer.Option(help="Columns observed as time passes.")] = None,
    static: Annotated[Columns, typer.Option(help="Columns fixed per series.")] = None,
    categorical: Annotated[Columns, typer.Option(help="Which of these are categories.")] = None,
    freq: Annotated[
        str | None, typer.Option(help="h, D, B, W, MS, 15min ...; found out when absent.")
    ] = None,
    mapping: file_options.Mapping = None,
    dates: file_options.Dates = None,
    time_zone: file_options.Zone = None,
    delimiter: file_options.Delimiter = None,
    decimal: file_options.Decimal = None,
    encoding: file_options.Encoding = None,
    target_copies: file_options.TargetCopies = None,
    as_json: Json = False,
) -> None:
    """Show what an upload of FILE would find; works without a server. Ends with 1 when FILE would be rejected."""
    from quantis.sandbox.client import check_untrusted_file
    from quantis.validation.panel_check import report_unreadable

    options = file_options.read_options(
        delimiter, decimal, encoding, dates, mapping, time_zone, target_copies=target_copies
    )
    spec = file_options.spec_from_options(futr, hist, static, categorical, freq)
    try:
        report, _, _ = check_untrusted_file(file, name=file.name, spec=spec, freq=freq, options=options)
    except (InvalidInput, TooLarge, UnsupportedMedia) as error:
        report = report_unreadable(file.name, error.message)
    if as_json:
        output.print_json(report.model_dump(mode="json", exclude={"columns"}))
    else:
        _show_report(report)
    if report.outcome == "reject":
        raise typer.Exit(1)


@app.command()
def clean(
    file: File,
    out: Annotated[Path, typer.Option(help="Where to write it; .csv, .parquet or .arrow.")],
    apply: Annotated[
        str | None,
        typer.Option(help="Codes to repair, with commas, or `all`; those without loss when absent."),
    ] = None,
    freq: Annotated[
        str | None, typer.Option(help="Frequency of gaps to fill; found out when absent.")
    ] = None,
    mapping: file_options.Mapping = None,
    dates: file_options.Dates = None,
    time_zone: file_options.Zone = None,
    delimiter: file_options.Delimiter = None,
    decimal: file_options.Decimal = None,
    encoding: file_options.Encoding = None,
    as_json: Json = False,
) -> None:
    """Repair what FILE's findings name, and say what was done; FILE stays as it is."""
    from quantis.sandbox.client import read_untrusted_file
    from quantis.validation.panel_check import check_panel, detect_spec
    from quantis.validation.repair import REPAIRS
    from quantis.validation.repair import clean as repaired

    options = file_options.read_options(delimiter, decimal, encoding, dates, mapping, time_zone)
    table = read_untrusted_file(file, name=file.name, options=options)
    if apply == "all":
        codes: tuple[str, ...] | None = tuple(REPAIRS)
    else:
        codes = None if apply is None else split_names(apply)
    table, repairs = repaired(table, codes, options=options, freq=freq)
    file_options.write_table(table, out)
    spec = detect_spec(table, "check").model_copy(update={"freq": freq})
    report, _ = check_panel(table, spec, file=out.name)
    if as_json:
        body = report.model_dump(mode="json", exclude={"columns"})
        repair_rows = [{"code": r.code, "what": r.description, "rows": r.rows} for r in repairs]
        output.print_json({"file": file.name, "out": str(out), "repairs": repair_rows, "report": body})
    else:
        for repair in repairs:
            output.report(f"  {repair.code}  {repair.description}: {repair.rows:,}")
        _show_report(report)
    if report.outcome == "reject":
        raise typer.Exit(1)


@app.command()
def push(
    name: Annotated[str, typer.Argument(help="The dataset; made when there is none of this name.")],
    file: Annotated[
        str, typer.Argument(help="CSV, Parquet, Arrow or JSON, also packed; or s3://... of the platform.")
    ],
    futr: Annotated[Columns, typer.Option(help="Columns known in advance, with commas.")] = None,
    hist: Annotated[Columns, typer.Option(help="Columns observed as time passes.")] = None,
    static: Annotated[Columns, typer.Option(help="Columns fixed per series.")] = None,
    categorical: Annotated[Columns, typer.Option(help="Which of these are categories.")] = None,
    freq: Annotated[str | None, typer.Option(help="h, D, W, MS, 15min ...; found out when absent.")] = None,
    publication_lag: Annotated[
        str | None, typer.Option(metavar="1h", help="How long after `ds` a value becomes known.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of the calendar, such as Europe/Berlin.")
    ] = None,
    holidays: Annotated[str | None, typer.Option(help="Country code of the holidays, such as US.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is, for others.")] = None,
    mapping: file_options.Mapping = None,
    dates: file_options.Dates = None,
    delimiter: file_options.Delimiter = None,
    decimal: file_options.Decimal = None,
    encoding: file_options.Encoding = None,
    target_copies: file_options.TargetCopies = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Upload FILE as a new version of a dataset; the roles of columns are declared the first time.

    An address such as s3://bucket/folder/file.parquet is fetched by the platform, where its operator allows it.
    """
    source = file_options.parse_source(file)
    roles: dict[str, Any] = {
        "futr_exog": split_names(futr),
        "hist_exog": split_names(hist),
        "stat_exog": split_names(static),
        "categorical": split_names(categorical),
    }
    declared: dict[str, Any] = {
        "roles": roles if any(roles.values()) else None,
        "freq": freq,
        "publication_lag": parse_duration(publication_lag) if publication_lag else None,
        "time_zone": time_zone,
        "holidays": holidays,
        "description": description,
    }
    declared = {key: value for key, value in declared.items() if value is not None}
    options = file_options.read_options(
        delimiter, decimal, encoding, dates, mapping, target_copies=target_copies
    )
    with open_client(url) as api:
        _ensure_dataset(api, name, source, declared, options)
        result = api.upload(name, source, options=options)
    if as_json:
        output.print_json(result)
        return
    output.print_findings(result.report.findings)
    version, verb = result.version, "stored as" if result.created else "same content as"
    output.report(
        f"{verb} {name} version {version.number}: {version.rows} rows, {version.series} series, {version.freq}"
    )


@app.command("ls")
def list_datasets(url: Url = None, as_json: Json = False) -> None:
    """The datasets."""
    with open_client(url) as api:
        datasets = api.datasets()
    if as_json:
        output.print_json_list(datasets)
    elif not datasets:
        output.report("no dataset yet; upload one with `quantis data push NAME FILE`")
    else:
        rows = [
            (d.name, d.latest_version or "–", d.series or "–", d.rows or "–", d.freq or "–", d.description)
            for d in datasets
        ]
        output.print_table(
            ("name", "version", "series", "rows", "freq", "description"),
            rows,
            right=("version", "series", "rows"),
        )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    series: Annotated[str | None, typer.Argument(help="One of its series.")] = None,
    as_of: AsOf = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest values to print.")] = 24,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """A dataset with its series, or one series with its values."""
    with open_client(url) as api:
        if series is not None:
            _show_series(api.read_series(name, series, as_of=as_of), last, as_json)
        else:
            _show_dataset(api, name, as_json)


@app.command("windows")
def fitting_windows(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    h: Annotated[int, typer.Option("--h", min=1, help="Steps to forecast.")] = 24,
    step_size: Annotated[
        int | None, typer.Option(min=1, help="Steps between windows; h when absent.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Its version; the latest when absent.")] = None,
    as_of: AsOf = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """The longest horizon and the number of windows that a train or backtest of a dataset may have."""
    with open_client(url) as api:
        fitting = api.fitting_windows(name, h=h, step_size=step_size, version=version, as_of=as_of)
    if as_json:
        output.print_json(fitting)
        return
    output.print_fields(
        [
            ("dataset", f"{fitting.dataset} version {fitting.version}, {fitting.freq}"),
            ("longest history", f"{fitting.steps:,} steps"),
            ("longest h", f"{fitting.max_h:,}"),
            ("windows", f"{fitting.max_windows} of h={fitting.h}, {fitting.step_size} steps apart"),
        ]
    )


@app.command()
def delete(name: DatasetName, yes: Yes = False, url: Url = None, as_json: Json = False) -> None:
    """Delete a dataset with all its versions, for good; its name stays taken."""
    confirm(f"Delete the dataset {name} with all its versions, for good?", yes)
    with open_client(url) as api:
        api.delete_dataset(name)
    output.print_deleted(f"dataset {name}", as_json)


def _ensure_dataset(
    api: Client, name: str, file: Path | str, declared: dict[str, Any], options: ReadOptions
) -> None:
    """Make the dataset on its first upload; what is declared once cannot be declared again."""
    from quantis.client.problems import validate
    from quantis.errors import Conflict
    from quantis.types.datasets import Dataset, DatasetSpec

    try:
        dataset: Dataset = api.dataset(name)
    except NotFound:
        roles = (
            {}
            if "roles" in declared or isinstance(file, str)
            else {"roles": file_options.detect_roles(file, options)}
        )
        api.create_dataset(validate(DatasetSpec, name=name, **roles, **declared))
        return
    for key, value in validate(DatasetSpec, name=name, **declared).model_dump(include=set(declared)).items():
        if dataset.model_dump()[key] != value:
            raise Conflict(
                f"dataset {name!r} was declared with another {key}; push without it, or to another name"
            )


def _show_report(report: CheckReport) -> None:
    output.print_findings(report.findings)
    outcomes = {"accept": "accepted", "accept_with_warning": "accepted with warnings", "reject": "rejected"}
    freq = f", {report.freq}" if report.freq else ""
    output.report(
        f"{report.file}: {outcomes[report.outcome]}; {report.rows} rows, {report.series} series{freq}"
    )


def _show_dataset(api: Client, name: str, as_json: bool) -> None:
    dataset, versions, series = api.dataset(name), api.versions(name), api.series(name)
    if as_json:
        output.print_json(
            {
                "dataset": dataset.model_dump(mode="json"),
                "versions": [version.model_dump(mode="json") for version in versions],
                "series": [summary.model_dump(mode="json") for summary in series],
            }
        )
        return
    roles = dataset.roles
    output.print_fields(
        [
            ("dataset", dataset.name),
            ("description", dataset.description),
            ("version", dataset.latest_version),
            ("rows", dataset.rows),
            ("frequency", dataset.freq or max(versions, key=lambda v: v.number).freq if versions else None),
            ("known ahead", ", ".join(roles.futr_exog)),
            ("observed", ", ".join(roles.hist_exog)),
            ("static", ", ".join(roles.stat_exog)),
            ("categories", ", ".join(roles.categorical)),
            ("known after", dataset.publication_lag or None),
            ("time zone", dataset.time_zone),
            ("holidays", dataset.holidays),
        ]
    )
    rows = [
        (s.unique_id, s.rows, output.format_timestamp(s.first_ds), output.format_timestamp(s.last_ds))
        for s in series
    ]
    output.print_table(("series", "rows", "first", "last"), rows, right=("rows",))


def _show_series(series: StoredSeries, last: int, as_json: bool) -> None:
    if as_json:
        output.print_json(series)
        return
    exog = tuple(series.exog)
    rows = [
        (
            output.format_timestamp(series.ds[i]),
            "–" if series.y[i] is None else f"{series.y[i]:g}",
            *(_format_cell(series.exog[c][i]) for c in exog),
        )
        for i in range(max(0, len(series.ds) - last), len(series.ds))
    ]
    output.print_table(("ds (UTC)", "y", *exog), rows, right=("y", *exog))
    output.report(
        f"{series.unique_id} as known at {output.format_timestamp(series.as_of)}; {len(series.ds)} values in all"
    )


def _format_cell(value: float | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else value

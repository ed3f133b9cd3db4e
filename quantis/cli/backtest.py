"""`quantis backtest`: run one, and show what one found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.job_runs import run_job
from quantis.cli.models import show_rows
from quantis.cli.options import AsOf, Json, Timeout, Url, open_client, split_names
from quantis.cli.train import Dataset, Families, Horizon, Preset, TimeLimit, Version, Wait

if TYPE_CHECKING:
    from quantis.types.registry import Backtest, Figures

app = typer.Typer(no_args_is_help=True)
METRICS = ("mase", "rmsse", "wape", "bias", "wql", "msis", "coverage_80")


@app.command()
def run(
    dataset: Dataset,
    h: Horizon = 24,
    model: Annotated[
        str | None, typer.Option(help="Judge this model's family instead: name, name@alias or name:7.")
    ] = None,
    preset: Preset = None,
    families: Families = None,
    time_limit: TimeLimit = None,
    windows: Annotated[
        int | None, typer.Option(min=1, help="Rolling-origin windows; as many as tell enough, when absent.")
    ] = None,
    step_size: Annotated[
        int | None, typer.Option(min=1, help="Steps between windows; h when absent.")
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit anew at each window.")] = False,
    vintage: Annotated[
        bool, typer.Option("--vintage", help="At each window only what was known then.")
    ] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="A column known in advance, scored as a forecast; may be repeated."),
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="A column to cut the figures by; may be repeated.")
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(help="Static columns to add up by, such as state,region; may be repeated."),
    ] = None,
    version: Version = None,
    as_of: AsOf = None,
    wait: Wait = True,
    timeout: Timeout = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Judge model families on rolling origins; nothing is published."""
    from quantis.client.problems import validate
    from quantis.types.job_specs import BacktestSpec

    chosen: dict[str, Any] = {"families": split_names(families)} if families else {}
    chosen |= {"preset": preset} if preset else {}
    chosen |= {"n_windows": windows} if windows else {}
    spec = validate(
        BacktestSpec,
        dataset=dataset,
        version=version,
        as_of=as_of,
        model=model,
        h=h,
        time_limit=time_limit,
        step_size=step_size,
        refit=refit,
        backtest_mode="vintage" if vintage else "plain",
        baselines=tuple(baseline or ()),
        segments=tuple(segment or ()),
        hierarchy=tuple(split_names(columns) for columns in level or ()),
        **chosen,
    )
    run_job(
        spec,
        url=url,
        wait=wait,
        timeout=timeout,
        as_json=as_json,
        show=lambda api, job: _show_backtest(api.backtest(job.id)),
        next_step="see it with `quantis backtest show {id}` once it has ended",
    )


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The backtest job's id.")],
    by: Annotated[str | None, typer.Option(help="series, step, window or segment.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model; all when absent.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 1000,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what a backtest found: the leaderboard, or every figure by one dimension."""
    dimensions = ("series", "step", "window", "segment")
    if by is not None and by not in dimensions:
        raise typer.BadParameter(f"{by!r} is not one of {', '.join(dimensions)}", param_hint="--by")
    with open_client(url) as api:
        if by is None:
            result = api.backtest(job_id)
            output.print_json(result) if as_json else _show_backtest(result)
            return
        rows = api.backtest_figures(job_id, by, model=model, limit=limit)  # type: ignore[arg-type]
    if as_json:
        output.print_json_list(rows)
    else:
        _show_figures(rows, by)


def _show_backtest(backtest: Backtest) -> None:
    show_rows(backtest.rows)
    overall = "; ".join(
        f"{row.model} {output.format_number(row.metrics.get('smape'), 2)}" for row in backtest.overall
    )
    output.report(
        f"{backtest.dataset} version {backtest.dataset_version}, {backtest.mode}, h = {backtest.h}, "
        f"{len(backtest.cutoffs)} windows{', fitted anew at each' if backtest.refit else ''}; sMAPE: {overall}"
    )
    for fallback in backtest.fallbacks[:5]:
        series = f"{fallback.unique_id} at {output.format_timestamp(fallback.cutoff)}"
        output.report(f"{series}, {fallback.model}: {fallback.method}, {fallback.reason}")
    if len(backtest.fallbacks) > 5:
        output.report(
            f"and {len(backtest.fallbacks) - 5} more that a simpler method forecast; --json names them"
        )
    cuts = ", ".join(backtest.dimensions)
    output.report(
        f"more: quantis backtest show {backtest.id} --by {backtest.dimensions[0]} (or another of {cuts})"
    )


def _show_figures(rows: list[Figures], by: str) -> None:
    numbers = ("rows", *METRICS)
    cells = [
        (row.model, row.label, row.rows, *(output.format_number(row.metrics.get(name)) for name in METRICS))
        for row in rows
    ]
    output.print_table(("model", by, *numbers), cells, right=numbers)

"""`quantis models`: ls, show, leaderboard, promote, retire, traffic, delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.approvals import describe_comparison, describe_traffic
from quantis.cli.options import Json, Url, Yes, confirm, open_client, parse_timestamp
from quantis.errors import InvalidInput, NotFound
from quantis.types.approvals import Approval

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.registry import Leaderboard, LeaderboardRow, ModelVersion

app = typer.Typer(no_args_is_help=True)


@app.command("ls")
def list_models(url: Url = None, as_json: Json = False) -> None:
    """The models."""
    with open_client(url) as api:
        models = api.models()
    if as_json:
        output.print_json_list(models)
    elif not models:
        output.report("no model yet; train one with `quantis train DATASET --model NAME`")
    else:
        rows = [(m.name, m.champion or "–", m.latest, m.versions) for m in models]
        numbers = ("champion", "latest", "versions")
        output.print_table(("model", *numbers), rows, right=numbers)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, or one version as name:7 or name@alias.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """A model's versions, or one version."""
    with open_client(url) as api:
        if ":" in model or "@" in model:
            version = api.resolve(model)
            output.print_json(version) if as_json else _show_version(version)
            return
        versions = api.model_versions(model)
    if as_json:
        output.print_json_list(versions)
        return
    rows = [
        (
            v.version,
            v.family,
            ", ".join(v.aliases),
            v.h,
            v.freq,
            output.format_timestamp(v.created_at),
            _format_metrics(v),
        )
        for v in versions
    ]
    columns = ("version", "family", "aliases", "h", "freq", "created (UTC)", "metrics")
    output.print_table(columns, rows, right=("version", "h"))


@app.command()
def at(
    model: Annotated[str, typer.Argument(help="The model.")],
    time: Annotated[datetime, typer.Argument(metavar="TIME", parser=lambda text: parse_timestamp(text))],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show which versions answered a model's name at a time."""
    with open_client(url) as api:
        serving = api.serving_at(model, time)
    if as_json:
        output.print_json(serving)
        return
    end = output.format_timestamp(serving.until) if serving.until else "now"
    output.report(f"from {output.format_timestamp(serving.since)} to {end} (UTC)")
    rows = [(share.version, f"{share.percent} %") for share in serving.shares]
    output.print_table(("version", "of the series"), rows, right=("version", "of the series"))


@app.command()
def leaderboard(
    name: Annotated[str, typer.Argument(metavar="MODEL|JOB", help="A model, or a training job's id.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what the backtest found, best first."""
    with open_client(url) as api:
        board = api.leaderboard(_experiment_id(api, name))
    if as_json:
        output.print_json(board)
    else:
        show_leaderboard(board)


@app.command()
def card(
    model: Annotated[str, typer.Argument(help="A model, or one version as name:7 or name@alias.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """The model card in Markdown: what it is, its data, its figures, its limits and what made it."""
    with open_client(url) as api:
        model_card = api.card(model)
    if as_json:
        output.print_json(model_card)
    else:
        sys.stdout.write(output.sanitize(model_card.markdown))


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[int, typer.Argument(min=1, help="The version that the alias is to mean.")],
    alias: Annotated[str, typer.Option(help="candidate, challenger or champion.")] = "champion",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let an alias mean another version; the model's policy may say no."""
    with open_client(url) as api:
        promoted = api.promote(model, version, alias)
    if as_json:
        output.print_json(promoted)
    elif isinstance(promoted, Approval):
        _report_pending(f"{model}@{alias}", promoted)
    else:
        output.report(f"{model}@{alias} is now version {promoted.version} ({promoted.family})")
        if promoted.head_to_head:
            output.report(promoted.head_to_head.reason)


@app.command()
def traffic(
    model: Annotated[str, typer.Argument(help="The model.")],
    shares: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VERSION=PERCENT]...", help="What versions get; the champion has the rest."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Let the champion answer everything again.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show how the requests for a model's name are divided; with shares, divide them anew."""
    requested = _parse_shares(shares or [])
    with open_client(url) as api:
        result = api.set_traffic(model, requested) if requested or off else api.traffic(model)
    if as_json:
        output.print_json(result)
    elif isinstance(result, Approval):
        _report_pending(f"the traffic of {model}", result)
    else:
        output.report(f"{model}: {describe_traffic(result)}")


@app.command()
def retire(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Option(help="The alias to take away.")] = "champion",
    yes: Yes = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Take an alias away, so that no version serves under it any more."""
    confirm(f"Take {model}@{alias} away? Requests for it are answered 404 from then on.", yes)
    with open_client(url) as api:
        api.remove_alias(model, alias)
    output.print_deleted(f"{model}@{alias}", as_json)


@app.command()
def delete(
    model: Annotated[str, typer.Argument(help="A model with all its versions, or one version as name:7.")],
    yes: Yes = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete a model or a version of it, for good; its name or number stays taken."""
    from quantis.client.references import parse_reference

    name, number, _ = parse_reference(model)
    if "@" in model:
        raise InvalidInput(
            f"{model!r} is an alias; delete the version as {name}:7, or `quantis models retire {name}`"
        )
    title = f"the version {model}" if number else f"the model {name} with all its versions"
    confirm(f"Delete {title}, for good?", yes)
    with open_client(url) as api:
        if number is None:
            api.delete_model(name)
        else:
            api.delete_model_version(name, number)
    output.print_deleted(f"model {model}", as_json)


def _report_pending(change: str, approval: Approval) -> None:
    output.report(
        f"asked for: {change} waits for a second person, who runs `quantis approvals approve {approval.id}`"
    )
    if comparison := describe_comparison(approval):
        output.report(comparison)


def _parse_shares(texts: Sequence[str]) -> dict[int, int]:
    percent_by_version: dict[int, int] = {}
    for text in texts:
        version, _, percent = text.partition("=")
        if not (version.isdecimal() and percent.isdecimal()):
            raise InvalidInput(f"{text!r} is no share; write VERSION=PERCENT, such as 4=10")
        percent_by_version[int(version)] = int(percent)
    return percent_by_version


def show_leaderboard(board: Leaderboard) -> None:
    """Print a leaderboard as a table; the chosen family is marked."""
    show_rows(board.rows)
    windows = len(board.cutoffs)
    output.report(
        f"{board.dataset} version {board.dataset_version}, h = {board.h}, {windows} windows; * was chosen"
    )


def show_rows(rows: Sequence[LeaderboardRow]) -> None:
    """Print the rows of a leaderboard; the verdict is that of the test against the best seasonal naive."""
    numbers = ("MASE", "WQL", "WAPE", "cover 80", "skill", "p", "seconds", "size")
    cells = [
        (
            row.rank,
            f"{row.model}{' *' if row.chosen else ''}",
            *map(
                output.format_number, (row.mase, row.wql, row.wape, row.coverage_80, row.skill, row.p_value)
            ),
            output.format_number(row.seconds, 1),
            _format_size(row.size_bytes),
            row.failed or _describe_verdict(row),
        )
        for row in rows
    ]
    output.print_table(("#", "model", *numbers, "against naive"), cells, right=("#", *numbers))


def _describe_verdict(row: LeaderboardRow) -> str:
    fallbacks = f", {row.fallbacks} series by a simpler method" if row.fallbacks else ""
    return f"{row.verdict}{fallbacks}"


def _format_size(size: int | None) -> str:
    if size is None:
        return "–"
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def _experiment_id(api: Client, name: str) -> str:
    """Return the job behind a model's newest version; a name of no model is taken as a job."""
    try:
        versions = api.model_versions(name)
    except NotFound:
        return name
    with_experiment = [v for v in versions if v.experiment]
    if not with_experiment:
        return name
    return str(max(with_experiment, key=lambda v: v.version).experiment)


def _format_metrics(version: ModelVersion) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in list(version.metrics.items())[:4])


def _show_version(version: ModelVersion) -> None:
    trained = f"{version.dataset} version {version.dataset_version}" if version.dataset else None
    output.print_fields(
        [
            ("model", f"{version.model}:{version.version}"),
            ("family", version.family),
            ("aliases", ", ".join(version.aliases)),
            ("horizon", f"{version.h} steps of {version.freq}"),
            ("trained on", trained),
            ("as known at", f"{output.format_timestamp(version.as_of)} UTC" if version.as_of else None),
            ("code", version.lineage.code_version if version.lineage else None),
            ("experiment", version.experiment),
            ("created", f"{output.format_timestamp(version.created_at)} UTC"),
            ("content", version.content_hash),
            *((name, f"{value:.4g}") for name, value in version.metrics.items()),
            *((f"gate: {name}", _format_gate(value)) for name, value in version.gate.items()),
        ]
    )


def _format_gate(value: Any) -> Any:
    """Return a value of the gate as a field's text; a head-to-head row is its reason."""
    return value.get("reason", "") if isinstance(value, dict) else value

"""`quantis experiments`: start, ls, show, stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.jobs import load_file
from quantis.cli.options import Json, Url, open_client
from quantis.errors import InvalidInput

if TYPE_CHECKING:
    from quantis.types.operations.online_experiments import ArmFigures, OnlineExperiment
    from quantis.types.operations.shadows import ShadowProgress

app = typer.Typer(no_args_is_help=True)
Reference = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name or id.")]


@app.command()
def start(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    challenger: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The challenger.")],
    canary: Annotated[
        bool, typer.Option("--canary", help="Answer a growing share of the series, not only beside.")
    ] = False,
    share: Annotated[
        int | None, typer.Option(min=1, max=100, help="Requests in a hundred that are computed by both.")
    ] = None,
    replay: Annotated[
        int | None, typer.Option("--replay", min=0, help="Days before now whose forecasts are made again.")
    ] = None,
    promote: Annotated[
        str | None, typer.Option(help="Make it the champion: off (default), when_better or when_not_worse.")
    ] = None,
    lasts: Annotated[str | None, typer.Option(help="Time after which it ends, such as P30D.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--options", exists=True, dir_okay=False, help="More as YAML: ramp, guard_rails, alpha."
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let a version stand trial against the model's champion."""
    options: dict[str, Any] = {
        "mode": "canary" if canary else None,
        "share": share,
        "replay_days": replay,
        "promote": promote,
        "lasts": lasts,
    }
    present = {key: value for key, value in options.items() if value is not None}
    with open_client(url) as api:
        experiment = api.start_experiment(name, model, challenger, **_read_options(file) | present)
    _report(experiment, as_json)


@app.command("ls")
def list_experiments(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    running: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the experiments, newest first."""
    with open_client(url) as api:
        experiments = api.online_experiments(model, state="running" if running else None)
    if as_json:
        output.print_json_list(experiments)
    elif not experiments:
        output.report("no experiment; start one with `quantis experiments start NAME MODEL VERSION`")
    else:
        rows = [
            (
                each.name,
                f"{each.model}:{each.challenger}",
                f"{each.model}:{each.incumbent}",
                _mode(each),
                each.state.value,
                _verdict(each),
            )
            for each in experiments
        ]
        output.print_table(("name", "challenger", "champion", "mode", "state", "verdict"), rows)


@app.command()
def show(experiment: Reference, url: Url = None, as_json: Json = False) -> None:
    """Show an experiment: how it stands, and what was decided when."""
    with open_client(url) as api:
        stored = api.online_experiment(experiment)
    if as_json:
        output.print_json(stored)
        return
    trial = stored.experiment
    fields: list[tuple[str, object]] = [
        ("experiment", trial.name),
        ("id", trial.id),
        ("challenger", f"{trial.model}:{trial.challenger}"),
        ("champion", f"{trial.model}:{trial.incumbent}, when it began"),
        ("mode", _mode(trial)),
        ("state", trial.state.value),
        ("reason", trial.reason or ""),
        ("started", output.format_timestamp(trial.started_at)),
        ("ended", output.format_timestamp(trial.ended_at)),
        ("promotes", trial.promote.value),
    ]
    if trial.latest is not None:
        fields += [
            ("verdict", trial.latest.verdict.reason),
            ("challenger did", _measures(trial.latest.challenger)),
            ("champion did", _measures(trial.latest.incumbent)),
        ]
    fields += _shadow_fields(stored.shadows)
    output.print_fields(fields)
    rows = [(output.format_timestamp(each.at), each.action.value, each.reason) for each in stored.assessments]
    output.print_table(("assessed (UTC)", "action", "reason"), rows)


@app.command()
def stop(experiment: Reference, url: Url = None, as_json: Json = False) -> None:
    """Stop an experiment: the champion answers everything again, at once."""
    with open_client(url) as api:
        stopped = api.stop_experiment(experiment)
    _report(stopped, as_json)


def _read_options(file: Path | None) -> dict[str, Any]:
    options = load_file(file) if file else {}
    if not isinstance(options, dict):
        raise InvalidInput(f"{file} holds no options; write one as name: value on each line")
    return options


def _report(experiment: OnlineExperiment, as_json: bool) -> None:
    if as_json:
        output.print_json(experiment)
    else:
        sides = f"version {experiment.challenger} against {experiment.incumbent} of {experiment.model}"
        output.report(f"experiment {experiment.name} is {experiment.state}: {sides}")


def _mode(experiment: OnlineExperiment) -> str:
    shares = "/".join(str(step.percent) for step in experiment.ramp)
    return f"canary {shares} %, now {experiment.traffic} %" if shares else "shadow"


def _verdict(experiment: OnlineExperiment) -> str:
    verdict = experiment.latest.verdict if experiment.latest else None
    if verdict is None or verdict.estimate is None:
        return "-"
    return f"{verdict.state} ({verdict.estimate:+.1%}, {verdict.pairs} pairs)"


def _shadow_fields(shadows: ShadowProgress) -> list[tuple[str, object]]:
    """Return the lines on forecasts that the challenger made, and on those that it did not, with the reasons."""
    left_out = (
        (shadows.learned, "learned what followed"),
        (shadows.gone, "an input is gone"),
        (shadows.not_sampled, "not in the share"),
        (shadows.waiting, "wait"),
    )
    reasons = ", ".join(f"{count:,} {reason}" for count, reason in left_out if count)
    counts = f"{shadows.computed:,}, of which {shadows.replayed:,} replayed; {shadows.failed:,} failed"
    fields: list[tuple[str, object]] = [("shadows", f"{counts}; {reasons}" if reasons else counts)]
    if shadows.latest_failure:
        fields.append(("last failure", shadows.latest_failure))
    if shadows.latest_gap:
        fields.append(("last gap", shadows.latest_gap))
    return fields


def _measures(arm: ArmFigures) -> str:
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{share:.1%}"

    seconds = "-" if arm.seconds is None else f"{1000 * arm.seconds:.0f} ms"
    return (
        f"{arm.requests} requests, {percent(arm.error_share)} failed, "
        f"{percent(arm.fallback_share)} fell back, {seconds}"
    )

"""`quantis schedules`: create, ls, show, runs, change, pause, resume, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.jobs import read_spec
from quantis.cli.options import Json, Url, Yes, confirm, open_client

if TYPE_CHECKING:
    from quantis.types.operations.schedules import JobTarget, PipelineTarget, Schedule

app = typer.Typer(no_args_is_help=True)
Reference = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its name or id.")]
Zone = Annotated[
    str | None, typer.Option("--time-zone", help="The zone of the clock, such as Europe/Berlin.")
]
Jitter = Annotated[str | None, typer.Option(help="Start later by a part of this, such as PT5M.")]
Overlap = Annotated[
    str | None, typer.Option(help="While the run before goes on: skip (default), queue or allow.")
]
Backfill = Annotated[str | None, typer.Option(help="Make up missed runs: none (default), latest or all.")]
Pipeline = Annotated[str | None, typer.Option("--pipeline", help="A pipeline instead of a job.")]
Limit = Annotated[int | None, typer.Option("--backfill-limit", help="How many at most.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help='As in "30 6 * * MON-FRI".')],
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="The job as YAML or JSON.")
    ] = None,
    pipeline: Pipeline = None,
    time_zone: Zone = None,
    jitter: Jitter = None,
    overlap: Overlap = None,
    backfill: Backfill = None,
    backfill_limit: Limit = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start nothing before it is resumed.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Start the job that FILE describes, or a pipeline, by the clock."""
    starts = _starts(file, pipeline)
    if starts is None:
        raise typer.BadParameter("name the FILE of a job, or a --pipeline")
    options = _present(
        time_zone=time_zone, jitter=jitter, overlap=overlap, backfill=backfill, backfill_limit=backfill_limit
    )
    with open_client(url) as api:
        schedule = api.create_schedule(name, cron, starts, paused=paused, **options)
    _report(schedule, as_json)


@app.command("ls")
def list_schedules(url: Url = None, as_json: Json = False) -> None:
    """List the schedules, by name."""
    with open_client(url) as api:
        schedules = api.schedules()
    if as_json:
        output.print_json_list(schedules)
    elif not schedules:
        output.report('no schedule; make one with `quantis schedules create NAME "30 6 * * *" JOB.yaml`')
    else:
        rows = [
            (each.name, each.cron, each.time_zone, _target(each), each.acts_for, _next(each))
            for each in schedules
        ]
        output.print_table(("name", "cron", "zone", "starts", "acts for", "next (UTC)"), rows)


@app.command()
def show(schedule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Show a schedule."""
    with open_client(url) as api:
        stored = api.schedule(schedule)
    if as_json:
        output.print_json(stored)
        return
    output.print_fields(
        [
            ("schedule", stored.name),
            ("id", stored.id),
            ("cron", f"{stored.cron} ({stored.time_zone})"),
            ("next", _next(stored)),
            ("starts", _target(stored)),
            ("overlap", stored.overlap.value),
            ("backfill", stored.backfill.value),
            ("acts for", stored.acts_for),
        ]
    )


@app.command()
def runs(
    schedule: Reference,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the planned runs, newest first: what each started, or why it started nothing."""
    with open_client(url) as api:
        planned = api.schedule_runs(schedule, limit=limit)
    if as_json:
        output.print_json_list(planned)
    elif not planned:
        output.report("no run yet")
    else:
        rows = [
            (
                output.format_timestamp(run.planned_at),
                run.state.value,
                run.job_id or run.pipeline_run_id or "",
                run.reason or "",
            )
            for run in planned
        ]
        output.print_table(("planned (UTC)", "state", "job or run", "reason"), rows)


@app.command()
def change(
    schedule: Reference,
    cron: Annotated[str | None, typer.Option(help='As in "30 6 * * MON-FRI".')] = None,
    file: Annotated[
        Path | None, typer.Option("--job", exists=True, dir_okay=False, help="The job as YAML or JSON.")
    ] = None,
    pipeline: Pipeline = None,
    time_zone: Zone = None,
    jitter: Jitter = None,
    overlap: Overlap = None,
    backfill: Backfill = None,
    backfill_limit: Limit = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Change what is named; the schedule acts for you from then on."""
    changes = _present(
        cron=cron,
        starts=_starts(file, pipeline),
        time_zone=time_zone,
        jitter=jitter,
        overlap=overlap,
        backfill=backfill,
        backfill_limit=backfill_limit,
    )
    if not changes:
        raise typer.BadParameter("name what is to change, such as --cron")
    with open_client(url) as api:
        changed = api.change_schedule(schedule, **changes)
    _report(changed, as_json)


@app.command()
def pause(schedule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Start nothing more, until it is resumed."""
    with open_client(url) as api:
        paused = api.pause_schedule(schedule)
    _report(paused, as_json)


@app.command()
def resume(schedule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Go on from now; the schedule acts for you from then on."""
    with open_client(url) as api:
        resumed = api.resume_schedule(schedule)
    _report(resumed, as_json)


@app.command()
def delete(schedule: Reference, yes: Yes = False, url: Url = None, as_json: Json = False) -> None:
    """Delete a schedule and the record of its runs; what they started stays."""
    confirm(f"Delete the schedule {schedule}?", yes)
    with open_client(url) as api:
        api.delete_schedule(schedule)
    output.print_deleted(f"schedule {schedule}", as_json)


def _starts(file: Path | None, pipeline: str | None) -> JobTarget | PipelineTarget | None:
    from quantis.types.operations.schedules import JobTarget, PipelineTarget

    if pipeline:
        return PipelineTarget(pipeline=pipeline)
    return JobTarget(spec=read_spec(file)) if file else None


def _present(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _report(schedule: Schedule, as_json: bool) -> None:
    if as_json:
        output.print_json(schedule)
    else:
        output.report(f"schedule {schedule.name}: {_next(schedule)}")


def _target(schedule: Schedule) -> str:
    starts = schedule.starts
    if starts.kind == "pipeline":
        return f"pipeline {starts.pipeline}"
    return f"{starts.spec.kind} of {starts.spec.dataset}"


def _next(schedule: Schedule) -> str:
    if not schedule.paused:
        return output.format_timestamp(schedule.next_at)
    return f"paused: {schedule.pause_reason}" if schedule.pause_reason else "paused"

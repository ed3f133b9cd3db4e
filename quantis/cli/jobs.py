"""`quantis jobs`: submit, ls, show, logs, forecasts, watch, stop, retry, clone, delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.job_runs import FOLLOW, finish, format_duration, report_submitted, run_job
from quantis.cli.job_runs import watch as watch_job
from quantis.cli.options import Json, Timeout, Url, Yes, confirm, open_client
from quantis.errors import InvalidInput, NotInstalled

if TYPE_CHECKING:
    from quantis.types.job_specs import JobSpec
    from quantis.types.jobs import Job

NO_DETAILS = "no details: only admins of the team see them, and a job that ended itself may have none"
app = typer.Typer(no_args_is_help=True)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The job as YAML or JSON.")],
    priority: Annotated[str, typer.Option(help="low, normal or high among the team's jobs.")] = "normal",
    after: Annotated[
        list[str] | None, typer.Option("--after", help="A job that is to succeed first; may be repeated.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, max=5, help="Attempts after one that failed.")] = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")] = False,
    timeout: Timeout = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Submit the job that FILE describes: kind, dataset, model and the rest."""
    order = {"priority": priority, "after": tuple(after or ()), "retries": retries}
    run_job(read_spec(file), url=url, wait=wait, timeout=timeout, as_json=as_json, order=order)


@app.command("ls")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.")] = None,
    kind: Annotated[str | None, typer.Option(help="One of the kinds of job, such as train.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """The jobs, newest first."""
    from quantis.types.jobs import JOB_KINDS, JobState

    if state and state.upper() not in set(JobState):
        raise typer.BadParameter(f"state {state!r} is not one of {', '.join(JobState)}")
    if kind and kind not in JOB_KINDS:
        raise typer.BadParameter(f"kind {kind!r} is not one of {', '.join(JOB_KINDS)}")
    with open_client(url) as api:
        jobs = api.jobs(state=state.upper() if state else None, kind=kind, limit=limit)
    if as_json:
        output.print_json_list(jobs)
    elif not jobs:
        output.report("no job; start one with `quantis train DATASET --model NAME`")
    else:
        rows = [
            (
                j.id,
                j.kind,
                j.state.value,
                f"{j.progress:.0%}",
                output.format_timestamp(j.created_at),
                j.created_by,
                j.message,
            )
            for j in jobs
        ]
        output.print_table(
            ("job", "kind", "state", "done", "created (UTC)", "by", "message"), rows, right=("done",)
        )


@app.command("status", hidden=True)
@app.command()
def show(
    job_id: JobId,
    details: Annotated[
        bool, typer.Option("--details", help="Of a failure, print what the machine said, too; for admins.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show a job: state, progress, result, or why it failed and what to do."""
    with open_client(url) as api:
        job = api.job(job_id)
    if as_json:
        output.print_json(job)
        return
    _show_job(job)
    if details and job.error:
        sys.stdout.write(f"\n{output.sanitize(job.error.details or NO_DETAILS)}\n")


@app.command()
def logs(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Print what the job has written."""
    with open_client(url) as api:
        text = api.logs(job_id)
    if as_json:
        output.print_json({"text": text})
    else:
        sys.stdout.write(output.sanitize(text))


@app.command()
def forecasts(
    job_id: JobId,
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", dir_okay=False, help="Ends in .parquet, .csv, .arrow, .arrows or .json."
        ),
    ],
    series: Annotated[
        list[str] | None, typer.Option("--series", help="Only this series; may be repeated.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Save the forecasts of a forecast job, or of a backtest beside the actuals."""
    with open_client(url) as api:
        api.save_job_forecasts(job_id, out, series=series)
    if as_json:
        output.print_json({"path": str(out), "bytes": out.stat().st_size})
    else:
        output.report(f"{out}: {out.stat().st_size:,} bytes")


@app.command()
def watch(job_id: JobId, timeout: Timeout = None, url: Url = None, as_json: Json = False) -> None:
    """Follow a job to its end; Ctrl-C leaves it running."""
    with open_client(url) as api:
        job = watch_job(api, job_id, timeout)
    finish(job, as_json=as_json)


@app.command()
def stop(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Stop a job."""
    with open_client(url) as api:
        job = api.stop(job_id)
    if as_json:
        output.print_json(job)
    else:
        output.report(f"job {job.id}: {job.state.value.lower() if job.state.final else 'asked to stop'}")


@app.command()
def retry(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks later.")] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Try a job again that failed or was stopped."""
    with open_client(url) as api:
        job = api.retry_job(job_id, reason)
    report_submitted(job, FOLLOW, as_json)


@app.command()
def clone(
    job_id: JobId,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Have a field otherwise: h=48.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Start a job with another one's specification."""
    import json

    values: dict[str, Any] = {}
    for change in changes or ():
        name, sign, text = change.partition("=")
        if not sign:
            raise typer.BadParameter(f"{change!r} is no FIELD=VALUE; write it as in h=48")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    with open_client(url) as api:
        job = api.clone_job(job_id, values)
    report_submitted(job, FOLLOW, as_json)


@app.command()
def delete(job_id: JobId, yes: Yes = False, url: Url = None, as_json: Json = False) -> None:
    """Delete a job that has ended, with its events, result and files; what it published stays."""
    confirm(f"Delete the job {job_id} with its events, result and files, for good?", yes)
    with open_client(url) as api:
        api.delete_job(job_id)
    output.print_deleted(f"job {job_id}", as_json)


def read_spec(file: Path) -> JobSpec:
    """Read a job from a YAML or JSON file."""
    from pydantic import TypeAdapter, ValidationError

    from quantis.client.problems import to_invalid_input
    from quantis.types.job_specs import JobSpec as Spec

    values = load_file(file)
    try:
        spec: JobSpec = TypeAdapter(Spec).validate_python(values)
    except ValidationError as error:
        problem = to_invalid_input(error)
        raise InvalidInput(
            f"{file.name} describes no job: {problem.message}", errors=problem.errors
        ) from None
    return spec


def load_file(file: Path) -> Any:
    """Read a YAML or JSON file."""
    import json

    text = file.read_text(encoding="utf-8")
    try:
        if file.suffix == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except ModuleNotFoundError:
        raise NotInstalled("reading YAML needs the package pyyaml; install it, or write it as JSON") from None
    except ValueError as error:
        raise InvalidInput(f"{file.name} is no JSON: {error}") from None
    except yaml.YAMLError as error:
        raise InvalidInput(f"{file.name} is no YAML: {error}") from None


def _show_job(job: Job) -> None:
    result = job.result.model_dump(mode="json") if job.result else {}
    output.print_fields(
        [
            ("job", job.id),
            ("kind", job.kind),
            ("state", f"{job.state.value}{format_duration(job)}"),
            ("done", f"{job.progress:.0%}"),
            ("probable end", f"{output.format_timestamp(job.eta)} UTC" if job.eta else None),
            ("retry of", job.retry_of),
            ("waits for", ", ".join(job.after or ())),
            *([("cause", job.error.cause), ("remedy", job.error.remedy)] if job.error else []),
            *([] if job.error else [("message", job.message)]),
            ("dataset", job.spec.dataset),
            ("created", f"{output.format_timestamp(job.created_at)} UTC by {job.created_by}"),
            *((key, value) for key, value in result.items() if not isinstance(value, dict | list)),
        ]
    )

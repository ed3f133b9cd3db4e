"""Submit a job, report its events as they come, and turn its end into the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from quantis.cli import output
from quantis.cli.options import open_client

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.job_specs import JobSpec
    from quantis.types.jobs import Job, JobEvent

FOLLOW = "follow it with `quantis jobs watch {id}`"


def run_job(
    spec: JobSpec,
    *,
    url: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    show: Callable[[Client, Job], None] | None = None,
    next_step: str = FOLLOW,
    order: Mapping[str, Any] | None = None,
) -> None:
    """Submit a job and follow it to its end, unless told not to wait.

    `show` prints the result of a job that succeeded; `next_step` is reported when there is no wait.
    `order` is a `JobOrder`.
    """
    from quantis.types.jobs import JobState

    with open_client(url) as api:
        job = api.submit(spec, **(order or {}))
        if not wait:
            report_submitted(job, next_step, as_json)
            return
        output.report(f"job {job.id}")
        job = watch(api, job.id, timeout)
        if show and job.state is JobState.succeeded and not as_json:
            show(api, job)
    finish(job, as_json=as_json)


def watch(api: Client, job_id: str, timeout: float | None) -> Job:
    """Follow to the end; Ctrl-C leaves the job running and says so."""
    try:
        return api.wait(job_id, on_event=_print_event, timeout=timeout)
    except KeyboardInterrupt:
        output.report(f"\nno longer watching; job {job_id} goes on. Back to it: quantis jobs watch {job_id}")
        raise typer.Exit(130) from None


def finish(job: Job, *, as_json: bool) -> None:
    """Print the ended job; exit code 1 unless it succeeded."""
    from quantis.types.jobs import JobState

    if as_json:
        output.print_json(job)
    else:
        reason = job.error.cause if job.error else job.message
        message = f", {reason}" if reason else ""
        output.report(f"job {job.id}: {job.state.value.lower()}{format_duration(job)}{message}")
        if job.error:
            output.report(job.error.remedy)
        if job.state is JobState.failed:
            output.report(f"its log: quantis jobs logs {job.id}")
    if job.state is not JobState.succeeded:
        raise typer.Exit(1)


def format_duration(job: Job) -> str:
    """Return ` after 12 s` for a job that ran to an end, else nothing."""
    if job.started_at is None or job.ended_at is None:
        return ""
    return f" after {(job.ended_at - job.started_at).total_seconds():.0f} s"


def report_submitted(job: Job, next_step: str, as_json: bool) -> None:
    """Print a job that was submitted, or what to do next."""
    if as_json:
        output.print_json(job)
    else:
        output.report(f"job {job.id} submitted; {next_step.format(id=job.id)}")


def _print_event(event: JobEvent) -> None:
    line = f"{event.at.astimezone():%H:%M:%S}  {event.kind:<8}  {output.sanitize(event.message)}"
    if event.kind == "progress" and sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{line}")  # the next line overwrites it
    else:
        sys.stderr.write(f"\r\x1b[2K{line}\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()

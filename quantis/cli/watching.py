"""Telling a job's story as it goes, and what its end means for the exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from quantis.cli import output

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.jobs import Job, JobEvent


def watch(api: Client, job_id: str, timeout: float | None) -> Job:
    """Follow to the end; Ctrl-C leaves the job running and says so."""
    try:
        return api.wait(job_id, on_event=_tell, timeout=timeout)
    except KeyboardInterrupt:
        output.say(f"\nno longer watching; job {job_id} goes on. Back to it: quantis jobs watch {job_id}")
        raise typer.Exit(130) from None


def finish(job: Job, *, as_json: bool) -> None:
    """The ended job as the answer; exit code 1 unless it succeeded."""
    from quantis.types.jobs import JobState

    if as_json:
        output.answer(job)
    else:
        output.say(
            f"job {job.id}: {job.state.value.lower()}{seconds(job)}{f', {job.message}' if job.message else ''}"
        )
        if job.state is JobState.failed:
            output.say(f"its log: quantis jobs logs {job.id}")
    if job.state is not JobState.succeeded:
        raise typer.Exit(1)


def seconds(job: Job) -> str:
    if job.started_at is None or job.ended_at is None:
        return ""
    return f" after {(job.ended_at - job.started_at).total_seconds():.0f} s"


def _tell(event: JobEvent) -> None:
    line = f"{event.at.astimezone():%H:%M:%S}  {event.kind:<8}  {output.clean(event.message)}"
    if event.kind == "progress" and sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{line}")  # the next line takes its place
    else:
        sys.stderr.write(f"\r\x1b[2K{line}\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()

"""`quantis pipelines`: apply, ls, show, run, runs, status, stop, delete."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.jobs import load_file
from quantis.cli.options import Json, Url, Yes, confirm, open_client
from quantis.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from quantis.client import Client
    from quantis.types.operations.pipelines import PipelineDefinition, PipelineRun

app = typer.Typer(no_args_is_help=True)
PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="Its name.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The pipeline as YAML or JSON.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and stop.")] = False,
    yes: Yes = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make the pipeline that FILE describes, or change it, after showing what changes."""
    name, definition = _read(file)
    with open_client(url) as api:
        before = _lines(_stored(api, name))
        after = _lines(api.check_pipeline(name, definition))
        diff = [line.rstrip("\n") for line in difflib.unified_diff(before, after, "stored", file.name)]
        if dry_run or not diff:
            _report_difference(name, diff, as_json)
            return
        if not as_json:
            sys.stdout.write(output.sanitize("\n".join(diff)) + "\n")
        confirm(f"Apply this to the pipeline {name}?", yes)
        applied = api.apply_pipeline(name, definition)
    if as_json:
        output.print_json({**applied.model_dump(mode="json"), "diff": diff})
    else:
        output.report(f"pipeline {name}: version {applied.version}")


@app.command("ls")
def list_pipelines(url: Url = None, as_json: Json = False) -> None:
    """List the pipelines, by name."""
    with open_client(url) as api:
        pipelines = api.pipelines()
    if as_json:
        output.print_json_list(pipelines)
    elif not pipelines:
        output.report("no pipeline; make one with `quantis pipelines apply FILE`")
    else:
        rows = [
            (each.name, each.version, _chain(each.definition), each.acts_for, each.definition.description)
            for each in pipelines
        ]
        output.print_table(("name", "version", "steps", "acts for", "description"), rows, right=("version",))


@app.command()
def show(pipeline: PipelineName, url: Url = None, as_json: Json = False) -> None:
    """Print the definition of a pipeline, as `apply` reads it."""
    with open_client(url) as api:
        stored = api.pipeline(pipeline)
    if as_json:
        output.print_json(stored)
    else:
        sys.stdout.write(output.sanitize("".join([f"name: {stored.name}\n", *_lines(stored.definition)])))


@app.command()
def run(pipeline: PipelineName, url: Url = None, as_json: Json = False) -> None:
    """Start a run now; a schedule starts one by the clock."""
    with open_client(url) as api:
        started = api.run_pipeline(pipeline)
    if as_json:
        output.print_json(started)
    else:
        output.report(f"run {started.id}; look at it with `quantis pipelines status {pipeline} {started.id}`")


@app.command()
def runs(pipeline: PipelineName, limit: Limit = 20, url: Url = None, as_json: Json = False) -> None:
    """List the runs of a pipeline, newest first."""
    with open_client(url) as api:
        listed = api.pipeline_runs(pipeline, limit=limit)
    if as_json:
        output.print_json_list(listed)
    elif not listed:
        output.report(f"no run yet; start one with `quantis pipelines run {pipeline}`")
    else:
        rows = [
            (
                each.id,
                each.version,
                each.state.value,
                output.format_timestamp(each.created_at),
                each.started_by,
            )
            for each in listed
        ]
        output.print_table(("run", "version", "state", "started (UTC)", "by"), rows, right=("version",))


@app.command()
def status(pipeline: PipelineName, run_id: RunId, url: Url = None, as_json: Json = False) -> None:
    """Show a run and its steps; exit code 1 for one that failed."""
    with open_client(url) as api:
        shown_run = api.pipeline_run(pipeline, run_id)
    _print_run(shown_run, as_json)
    if shown_run.state == "failed":
        raise typer.Exit(1)


@app.command()
def stop(pipeline: PipelineName, run_id: RunId, url: Url = None, as_json: Json = False) -> None:
    """Start no further step, and stop the jobs of those that run."""
    with open_client(url) as api:
        stopped = api.stop_pipeline_run(pipeline, run_id)
    _print_run(stopped, as_json)


@app.command()
def delete(pipeline: PipelineName, yes: Yes = False, url: Url = None, as_json: Json = False) -> None:
    """Delete a pipeline with the record of its runs; what its steps made stays."""
    confirm(f"Delete the pipeline {pipeline} with the record of its runs?", yes)
    with open_client(url) as api:
        api.delete_pipeline(pipeline)
    output.print_deleted(f"pipeline {pipeline}", as_json)


def _read(file: Path) -> tuple[str, PipelineDefinition]:
    """Read name and definition from a YAML or JSON file."""
    from pydantic import ValidationError

    from quantis.client.problems import to_invalid_input
    from quantis.types.operations.pipelines import PipelineDefinition

    values = load_file(file)
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise InvalidInput(f"{file.name} names no pipeline; begin it with a line `name: ...`")
    name = values.pop("name")
    try:
        return name, PipelineDefinition.model_validate(values)
    except ValidationError as error:
        problem = to_invalid_input(error)
        raise InvalidInput(
            f"{file.name} describes no pipeline: {problem.message}", errors=problem.errors
        ) from None


def _stored(api: Client, name: str) -> PipelineDefinition | None:
    try:
        return api.pipeline(name).definition
    except NotFound:
        return None


def _lines(definition: PipelineDefinition | None) -> list[str]:
    """Return a definition as lines, without what is absent, so that a difference shows what changes."""
    if definition is None:
        return []
    values = definition.model_dump(mode="json", exclude_none=True)
    try:
        import yaml

        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    except ModuleNotFoundError:
        text = json.dumps(values, indent=2)
    return text.splitlines(keepends=True)


def _report_difference(name: str, diff: list[str], as_json: bool) -> None:
    difference: dict[str, Any] = {"name": name, "changed": bool(diff), "diff": diff}
    if as_json:
        output.print_json(difference)
    elif diff:
        sys.stdout.write(output.sanitize("\n".join(diff)) + "\n")
    else:
        output.report(f"pipeline {name} is as the file says; nothing to apply")


def _chain(definition: PipelineDefinition) -> str:
    return " ".join(step.name for step in definition.steps)


def _print_run(run: PipelineRun, as_json: bool) -> None:
    if as_json:
        output.print_json(run)
        return
    output.report(f"run {run.id} of {run.pipeline} (version {run.version}): {run.state.value}")
    rows = [
        (step.name, step.state.value, step.attempt or "", step.job_id or "", step.reason or "")
        for step in run.steps
    ]
    output.print_table(("step", "state", "attempt", "job", "reason"), rows, right=("attempt",))

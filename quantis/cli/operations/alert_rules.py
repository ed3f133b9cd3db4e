"""`quantis alerts rules`: ls, add, change, on, off, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client
from quantis.errors import InvalidInput, NotFound, suggest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from quantis.client import Client
    from quantis.types.operations.alerts import AlertRule

    Body = TypeVar("Body", bound=BaseModel)

app = typer.Typer()
Reference = Annotated[str, typer.Argument(metavar="RULE", help="Its name or id.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The rule as YAML or JSON.")]


@app.callback(invoke_without_command=True)
def rules(context: typer.Context, url: Url = None, as_json: Json = False) -> None:
    """List the rules where no command is given."""
    if context.invoked_subcommand is None:
        list_rules(url, as_json)


@app.command("ls")
def list_rules(url: Url = None, as_json: Json = False) -> None:
    """List the rules: those that come with every model, then the team's own."""
    with open_client(url) as api:
        stored = api.alert_rules()
    if as_json:
        output.print_json_list(stored)
        return
    rows = [
        (rule.id, rule.name, rule.model or rule.dataset or "all", describe(rule), rule.severity, rule.source,
         "" if rule.enabled else "off")
        for rule in stored
    ]  # fmt: skip
    output.print_table(("id", "name", "about", "opens", "severity", "source", ""), rows)


@app.command()
def add(file: File, url: Url = None, as_json: Json = False) -> None:
    """Add the rule that FILE describes: name, condition, model or dataset, duration, channels."""
    from quantis.types.operations.alerts import NewAlertRule

    with open_client(url) as api:
        _report(api.create_alert_rule(_read(file, NewAlertRule)), as_json)


@app.command()
def change(rule: Reference, file: File, url: Url = None, as_json: Json = False) -> None:
    """Change what FILE names of a rule, also of one that comes with every model."""
    from quantis.types.operations.alerts import AlertRuleChange

    with open_client(url) as api:
        _report(api.change_alert_rule(_find(api, rule).id, _read(file, AlertRuleChange)), as_json)


@app.command()
def on(rule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Switch a rule on."""
    _switch(rule, url, as_json, enabled=True)


@app.command()
def off(rule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Switch a rule off, and resolve its alerts."""
    _switch(rule, url, as_json, enabled=False)


@app.command()
def delete(rule: Reference, url: Url = None, as_json: Json = False) -> None:
    """Delete a rule and resolve its alerts; a default that was changed becomes what it was."""
    with open_client(url) as api:
        stored = _find(api, rule)
        api.delete_alert_rule(stored.id)
    output.print_deleted(stored.name, as_json)


def describe(rule: AlertRule) -> str:
    """Return a rule's condition in words: `drift above 0.25`."""
    condition = rule.condition
    if condition.kind == "above":
        return f"{condition.fact} above {condition.threshold:g}"
    if condition.kind == "outside":
        return f"{condition.fact} outside {condition.low:g} to {condition.high:g}"
    return f"no forecast by {condition.by} ({condition.time_zone})"


def _switch(rule: str, url: str | None, as_json: bool, *, enabled: bool) -> None:
    from quantis.types.operations.alerts import AlertRuleChange

    with open_client(url) as api:
        _report(api.change_alert_rule(_find(api, rule).id, AlertRuleChange(enabled=enabled)), as_json)


def _find(api: Client, reference: str) -> AlertRule:
    stored = api.alert_rules()
    for rule in stored:
        if reference in (rule.id, rule.name):
            return rule
    raise NotFound(f"no alert rule {reference!r}; {suggest(reference, [rule.name for rule in stored])}")


def _read(file: Path, kind: type[Body]) -> Body:
    import yaml
    from pydantic import ValidationError

    from quantis.client.problems import to_invalid_input

    try:
        values: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return kind.model_validate(values)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"cannot read {file.name}: {error}") from None
    except ValidationError as error:
        problem = to_invalid_input(error)
        raise InvalidInput(
            f"{file.name} describes no rule: {problem.message}", errors=problem.errors
        ) from None


def _report(rule: AlertRule, as_json: bool) -> None:
    state = "" if rule.enabled else " (off)"
    output.print_json(rule) if as_json else output.report(f"{rule.name}{state}: {describe(rule)}")

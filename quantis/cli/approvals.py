"""`quantis approvals`: ls, approve, refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quantis.cli import output
from quantis.cli.options import Json, Url, open_client
from quantis.types.approvals import AliasChange, ApprovalState, TrafficChange

if TYPE_CHECKING:
    from quantis.types.approvals import Approval
    from quantis.types.registry import Traffic

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The request, as `quantis approvals ls` shows it.")]


@app.command("ls")
def list_approvals(
    include_decided: Annotated[bool, typer.Option("--all", help="Also what was decided.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List what waits for a second person."""
    with open_client(url) as api:
        approvals = api.approvals(state=None if include_decided else ApprovalState.pending)
    if as_json:
        output.print_json_list(approvals)
    elif not approvals:
        output.report("nothing waits for a second person")
    else:
        rows = [
            (
                approval.id,
                approval.model,
                describe_change(approval),
                approval.requested_by,
                approval.state,
                approval.decided_by or "",
            )
            for approval in approvals
        ]
        output.print_table(("id", "model", "change", "asked by", "state", "decided by"), rows)
        for approval in approvals:
            if comparison := describe_comparison(approval):
                output.report(f"{approval.id}: {comparison}")


@app.command()
def approve(request: Id, url: Url = None, as_json: Json = False) -> None:
    """Do what somebody else asked for."""
    with open_client(url) as api:
        approval = api.approve(request)
    output.print_json(approval) if as_json else output.report(
        f"approved: {approval.model}, {describe_change(approval)}"
    )
    if not as_json and (comparison := describe_comparison(approval)):
        output.report(comparison)


@app.command()
def refuse(request: Id, url: Url = None, as_json: Json = False) -> None:
    """Say no to a request, or withdraw your own."""
    with open_client(url) as api:
        approval = api.refuse(request)
    output.print_json(approval) if as_json else output.report(
        f"{approval.state}: {approval.model}, {describe_change(approval)}"
    )


def describe_change(approval: Approval) -> str:
    change = approval.change
    if isinstance(change, AliasChange):
        return f"{change.alias}: version {change.instead_of or 'none'} to {change.version}"
    if isinstance(change, TrafficChange):
        return f"traffic: {describe_traffic(change.instead_of)} to {describe_traffic(change.traffic)}"
    return f"policy {change.policy}"


def describe_comparison(approval: Approval) -> str:
    """Return the head-to-head of the two versions of a change in words; empty where they were never compared."""
    change = approval.change
    row = change.head_to_head if isinstance(change, AliasChange) else None
    return row.reason if row else ""


def describe_traffic(traffic: Traffic) -> str:
    """`version 4 10 %, champion 90 %`"""
    champion_percent = 100 - sum(share.percent for share in traffic.shares)
    parts = [f"version {share.version} {share.percent} %" for share in traffic.shares]
    return ", ".join([*parts, f"champion {champion_percent} %"] if champion_percent else parts)

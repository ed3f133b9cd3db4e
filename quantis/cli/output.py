"""Output of a command: the answer on stdout (one JSON object, or text), everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from quantis.errors import QuantisError
    from quantis.types.findings import Finding


_TERMINAL_CODE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def sanitize(text: object) -> str:
    """Text without colours and the control characters by which data could steer a terminal."""
    text_only = _TERMINAL_CODE.sub("", str(text))
    return "".join(c for c in text_only if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf"))


def console(stream: TextIO | None = None) -> Console:
    """Return a console for text that is already clean; as wide as needed when it is no terminal."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else 1000
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True)


def report(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(sanitize(text) + "\n")
    sys.stderr.flush()


def print_json(value: BaseModel | dict[str, Any]) -> None:
    """Write the one JSON object to stdout."""
    text = json.dumps(value) if isinstance(value, dict) else value.model_dump_json()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_deleted(title: str, as_json: bool) -> None:
    """Say what was deleted."""
    if as_json:
        print_json({"deleted": title})
    else:
        report(f"{title} is deleted")


def print_json_list(items: Sequence[BaseModel]) -> None:
    print_json({"items": [item.model_dump(mode="json") for item in items]})


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Print a plain table on stdout; `right` names the columns of numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(sanitize(cell)) for cell in row))
    screen = console()
    with screen.capture() as drawing:
        screen.print(grid)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawing.get().splitlines()))


def print_fields(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values, one a line, on stdout; what is absent is left out."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        if value not in (None, "", (), [], {}):
            sys.stdout.write(f"{name:<{width}}  {sanitize(value)}\n")


def format_number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def format_timestamp(value: datetime | None) -> str:
    """Format a time in UTC to the minute, or to the second where there are seconds."""
    if value is None:
        return "–"
    return value.strftime("%Y-%m-%d %H:%M:%S" if value.second else "%Y-%m-%d %H:%M")


def print_findings(items: Sequence[Finding]) -> None:
    """Print the findings of a check, most severe first, on stderr."""
    order = {"error": 0, "warning": 1, "info": 2}
    for item in sorted(items, key=lambda item: order[item.severity]):
        parts = [item.series and f"series {item.series}", item.row and f"row {item.row}", item.column]
        location = ", ".join(str(part) for part in parts if part)
        report(
            f"  {item.severity.value:<7}  {item.code}  {item.message}{f'  ({location})' if location else ''}"
        )


def print_error(error: QuantisError, *, as_json: bool) -> None:
    """Print an error's message with its remedy, and its details below."""
    if as_json:
        body: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.errors:
            body["errors"] = error.errors
        error_findings = getattr(error, "findings", None)
        if error_findings:
            body["findings"] = [item.model_dump(mode="json") for item in error_findings]
        print_json({"error": body})
        return
    report(f"error: {error.message}{_sign_in_hint(error)}")
    print_findings(getattr(error, "findings", []))
    for detail in error.errors:
        line = f"{detail.get('pointer', '')}: {detail.get('message', '')}"
        if detail.get("message", "") not in error.message:
            report(f"  {line}")
    for note in getattr(error, "__notes__", []) if error.status >= 500 else []:
        report(f"  {note}")


def _sign_in_hint(error: QuantisError) -> str:
    if error.code == "unauthenticated" and "quantis login" not in error.message:
        return "; sign in with `quantis login`"
    return ""

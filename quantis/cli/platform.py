"""Commands of the platform itself; each runs its module as a child from the application's root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from quantis import settings

_MODULES = {
    "up": ("cluster.up", "Start the platform here and leave it running."),
    "down": ("cluster.down", "Stop what `quantis up` started."),
    "demo": ("jobs.demo", "Run the whole path on real data: from a raw file to a forecast."),
    "backup": ("cluster.backup", "Copy everything into one file while the platform runs."),
    "restore": ("cluster.restore", "Make a data folder from a backup, checked version by version."),
    "windows": ("jobs.preflight", "Say which training windows a dataset gives, and what removes the others."),
    "doctor": ("cluster.doctor", "Say what is wrong with this installation."),
}


def register(app: typer.Typer) -> None:
    for name, (module, text) in _MODULES.items():
        app.command(
            name,
            help=text,
            rich_help_panel="Platform",
            add_help_option=False,  # the child knows its options
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_make_command(module))


def _make_command(module: str):  # type: ignore[no-untyped-def]
    def command(context: typer.Context) -> None:
        raise typer.Exit(run_module(module, context.args))

    return command


def run_module(module: str, arguments: list[str]) -> int:
    """`python -m module arguments` from the application's root; its exit code, 128 + n for signal n."""
    root = settings.application_root()
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=root, env=settings.subprocess_environment(root)
    )
    with _forward_signals(child):
        code = child.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _forward_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand signals on; Ctrl-C in a terminal reaches the child by itself, and must not come twice."""

    def forward_signal(number: int, frame: FrameType | None) -> None:
        if not (number == signal.SIGINT and _in_terminal_foreground()):
            child.send_signal(number)

    before = {number: signal.signal(number, forward_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_terminal_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False

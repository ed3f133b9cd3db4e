"""Report the steps of long work on stderr, with the seconds that each took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class StepReporter:
    """Prints each step as it starts and ends, and records the seconds of each."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[ProgressStep]:
        """Run a step and report it; its note can be set while it runs."""
        step = ProgressStep()
        live = self.stream.isatty()
        if live:
            self._write(f"  … {name}\r")
        started = time.monotonic()
        try:
            yield step
        except BaseException:
            self._write(f"  ✗ {name}  {time.monotonic() - started:.1f} s\n")
            raise
        self.seconds[name] = round(time.monotonic() - started, 1)
        self._write(f"  ✓ {name}  {self.seconds[name]:.1f} s{'  ' + step.note if step.note else ''}\n")

    def report(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


@dataclass
class ProgressStep:
    note: str = ""

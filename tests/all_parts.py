"""`python -m tests.all_parts PART ...`: run every make target, whatever fails, and name all failures at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

FAILURES = ("FAILED ", "ERROR ")
"""Openings of the lines by which pytest's summary names a failed test."""


@dataclass(frozen=True)
class Part:
    """One make target as it ran: its exit code, its seconds, and the tests that it says failed."""

    name: str
    exit_code: int
    seconds: float
    failures: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        state = "passed" if self.exit_code == 0 else f"FAILED (exit code {self.exit_code})"
        yield f"{self.name:<10} {self.seconds:6.0f} s  {state}"
        for failure in self.failures:
            yield f"           {failure}"


def run_part(name: str) -> Part:
    """Run `make NAME`, its output passed through line by line."""
    started = time.monotonic()
    failures: dict[str, None] = {}
    with subprocess.Popen(
        ["make", "--no-print-directory", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if line.startswith(FAILURES):
                failures[line.strip()] = None
    return Part(name, process.returncode, time.monotonic() - started, tuple(failures))


def main(names: list[str]) -> int:
    parts = [run_part(name) for name in names]
    sys.stdout.write("\n" + "\n".join(line for part in parts for line in part.lines()) + "\n")
    failed = sum(part.exit_code != 0 for part in parts)
    sys.stdout.write(f"parts: {len(parts) - failed} passed, {failed} failed\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

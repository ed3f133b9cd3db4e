"""How every benchmark measures: ours and the peers interleaved in one run, CPU-seconds, medians."""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any


def interleaved(systems: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU-seconds of each system; the rounds go through all of them in turn, after a warm-up."""
    for run in systems.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(
    name: str, ours: Mapping[str, float], peers: Mapping[str, Any], ratios: Mapping[str, float],
    accuracy: Mapping[str, Any], as_json: bool,
) -> None:  # fmt: skip
    """Print one JSON object, or lines for people. A ratio above 1 means that ours is better."""
    result = {
        "name": name,
        "ours": dict(ours),
        "peers": dict(peers),
        "ratios": {key: round(value, 3) for key, value in ratios.items()},
        "accuracy": dict(accuracy),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for key in ("ours", "peers", "ratios", "accuracy"):
        sys.stdout.write(f"{key}: {json.dumps(result[key])}\n")


def arguments(
    description: str | None, only: Iterable[str] = (), needs: Iterable[str] = ()
) -> argparse.Namespace:
    """`--quick`, `--json`, and `--only` for the sets of a benchmark that has some.

    Ends here, before anything is measured, when a peer of `needs` (a module's name) is not installed.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    if choices := sorted(only):
        parser.add_argument(
            "--only", choices=choices, action="append", help="this set alone; may be repeated"
        )
    asked = parser.parse_args()
    if missing := [name for name in needs if not installed(name)]:
        parser.error(
            f"{', '.join(missing)} not installed, which this compares with: `make bench` installs the peers"
        )
    return asked


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None

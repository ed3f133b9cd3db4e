"""`python -m bench`: every benchmark in turn."""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = (
    "features",
    "ray_features",
    "many_series",
    "ingest",
    "bulk",
    "windows",
    "request",
    "tft",
    "calibration",
    "experiments",
    "drift",
    "live",
)
ON_DATA = ("accuracy", "coverage")

if __name__ == "__main__":
    names = (*NAMES, *(ON_DATA if os.environ.get("QUANTIS_BENCH_DATA") else ()))
    if len(names) == len(NAMES):
        sys.stdout.write(f"without {', '.join(ON_DATA)}: QUANTIS_BENCH_DATA names no folder\n")
    for name in names:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=True)

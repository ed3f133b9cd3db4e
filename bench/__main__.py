"""`python -m bench`: every benchmark in turn."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("features", "ray_features", "many_series", "ingest", "bulk", "windows", "request", "tft")

if __name__ == "__main__":
    for name in NAMES:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=True)

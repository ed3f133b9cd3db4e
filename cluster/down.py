"""`python -m cluster.down`: stop what `quantis up` started, and only that."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from cluster.local import processes
from cluster.settings import Settings
from quantis.progress import StepReporter


def down(settings: Settings) -> int:
    """Stop the platform of this data folder and return the number of its processes."""
    platform = processes.load(settings.data_layout)
    if platform is None:
        return 0
    count = processes.stop(platform.instance)
    temporary = Path(platform.ray_temp)
    if temporary.name.startswith("quantis-"):
        shutil.rmtree(temporary, ignore_errors=True)
    processes.forget(settings.data_layout)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis down", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    count = down(Settings())
    if arguments.json:
        sys.stdout.write(json.dumps({"stopped": count}) + "\n")
    else:
        StepReporter().report(f"stopped {count} processes" if count else "nothing was running")
    return 0


if __name__ == "__main__":
    sys.exit(main())

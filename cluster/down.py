"""`python -m cluster.down`: stop what `quantis up` started, and only that."""

from __future__ import annotations

import argparse
import json
import sys

from cluster.local import head, processes
from cluster.settings import Settings
from quantis.progress import StepReporter


def down(settings: Settings) -> int:
    """Stop the platform of this data folder and return the number of its processes."""
    platform = processes.load(settings.data_layout)
    count = processes.stop(platform.instance) if platform else 0
    count += sum(processes.stop(instance) for instance in processes.strays(settings.data_layout))
    if platform:
        head.forget(platform)
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

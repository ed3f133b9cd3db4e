"""Brings up scorers to be killed: imports everything once, then forks one per line of stdin.

It says `pid N` of each, and `end N` when it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from cluster.backend import Backend
from cluster.model_monitoring import scored_dataset, scorer
from cluster.repositories import vintages
from cluster.settings import Settings
from models.registry.mlflow_registry import Registry


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    vintages.MAX_BATCH, scored_dataset.BATCHES_AT_ONCE = 3, 2  # many commits
    scorer.LEASE_TIME = timedelta(0)  # of one that was killed
    settings = Settings(data_dir=Path(sys.argv[1]))
    registry = Registry(sys.argv[2], str(settings.data_layout.artifacts), "default")
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            backend = Backend.from_settings(settings)
            backend.registries["default"] = registry
            say(f"pid {os.getpid()}")
            scorer.Scorer(backend).score_team("default")
            say("done")
            signal.pause()  # wait to be killed
        os.waitpid(pid, 0)
        say(f"end {pid}")


if __name__ == "__main__":
    main()

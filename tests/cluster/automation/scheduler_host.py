"""Runs a scheduler whose clock jumps to the next planned time: `python -m ... DATABASE_URL DATA_DIR UNTIL`.

It prints a line once it ticks, and ends by itself when the time `UNTIL` is planned next.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from cluster.automation import scheduler as module
from cluster.automation.scheduler import Scheduler
from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.settings import Settings


def main(url: str, data_dir: str, until: str) -> None:
    module.LEASE_TIME = timedelta(0)  # whoever is killed leaves the lease to the next at once
    backend = Backend(Settings(data_dir=Path(data_dir)), Database(url))

    def planned() -> datetime:
        next_at = backend.schedules.get(DEFAULT_TEAM, "nightly").next_at
        assert next_at
        return next_at

    scheduler = Scheduler(backend, planned)
    print("ready", flush=True)
    while planned() < datetime.fromisoformat(until):
        scheduler.tick()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Brings up writers to be killed: imports everything once, then forks a writer per order.

Orders come on stdin as `DATASET FIRST_OPERATION SEED`; on stdout come `pid N`, then from the writer
`try K` and `ack K VERSION HASH` around each operation, and `end N` when it is gone.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.orphan_sweeper import OrphanSweeper
from quantis.types.datasets import DatasetVersion
from quantis.validation.panel_check import check_panel
from tests.crash.blocks import OPERATIONS, Operation, spec
from tests.crash.crash_ledger import TEAM


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write(folder: Path, dataset: str, first: int, seed: int) -> None:
    """Write operation after operation until killed; now and then it begins by sweeping."""
    data_layout = DataLayout(folder)
    database = Database(f"sqlite:///{data_layout.database}")
    if random.Random(seed).random() < 0.1:
        OrphanSweeper(database, data_layout, grace=timedelta(0)).sweep()
    catalogue = Catalogue(database, data_layout)
    for number in range(first, OPERATIONS):
        say(f"try {number}")
        version = written(catalogue, dataset, Operation(number))
        say(f"ack {number} {version.number} {version.content_hash}")


def written(catalogue: Catalogue, dataset: str, operation: Operation) -> DatasetVersion:
    table = operation.table()
    if not operation.live:
        return catalogue.ingest(TEAM, "ann", dataset, table, "blocks").version
    _, panel = check_panel(table, spec(dataset), file="blocks")
    assert panel is not None
    return catalogue.append(TEAM, "ann", dataset, panel).version


def main() -> None:
    folder = Path(sys.argv[1])
    for order in sys.stdin:
        dataset, first, seed = order.split()
        pid = os.fork()
        if pid == 0:
            say(f"pid {os.getpid()}")
            try:
                write(folder, dataset, int(first), int(seed))
            except BaseException as error:
                say(f"error {type(error).__name__}: {str(error)[:300]!r}")
            signal.pause()  # done: wait to be killed
        os.waitpid(pid, 0)
        say(f"end {pid}")


if __name__ == "__main__":
    main()

"""`python -m bench.bulk`: a folder of files, larger than the memory that reading and storing it take, as one job.

60 million rows (30 files of 2 million; `--quick`: 6 million) go through the ingest job on a Ray of its own:
each file checked in a process of its own, then all added as one version. Memory is the proportional share
(PSS) of every process, sampled: Ray's own, the readers, and the job itself.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import ray

from bench.harness import arguments, report
from bench.ingest import HOURS, write_panel
from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.jobs import Jobs
from cluster.settings import Settings
from jobs.ingest import work
from jobs.runtime import Context
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import IngestSpec

TEAM, FILES, QUICK, SERIES = "default", 30, 3, 500
BYTES = 7 + 4 + 8 + 8  # of a row once decoded: id and its offset, ds, y


class Memory(threading.Thread):
    """The most that the processes below this one held together, in MB, by what they do."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[str, float] = defaultdict(float)
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            now: dict[str, float] = defaultdict(float)
            for pid, role in _processes().items():
                now[role] += _pss(pid)
            now["job_and_readers"] = now["job"] + now["readers"]
            for role, megabytes in now.items():
                self.peaks[role] = max(self.peaks[role], megabytes)


def _processes() -> dict[int, str]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, grown = {os.getpid(): "job"}, True
    while grown:
        new = {pid: _role(pid) for pid, parent in parents.items() if parent in found and pid not in found}
        found |= new
        grown = bool(new)
    return found


def _role(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "ray"
    return "readers" if b"quantis.sandbox.host" in command else "ray"


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return int(next((line.split()[1] for line in lines if line.startswith("Pss:")), 0)) / 1024


def main() -> None:
    options = arguments(__doc__)
    files = QUICK if options.quick else FILES
    with tempfile.TemporaryDirectory(prefix="quantis-bench-") as place:
        os.environ["QUANTIS_DATA_DIR"] = place
        settings = Settings()
        settings.data_layout.prepare()
        database = Database(settings.sql_url)
        database.migrate()
        Catalogue(database, settings.data_layout).datasets.create(
            TEAM, "ann", DatasetSpec(name="bulk", freq="h")
        )
        inbox = settings.data_layout.inbox(TEAM) / "all"
        inbox.mkdir(parents=True)
        for number in range(files):
            write_panel(inbox / f"{number:03}.parquet", SERIES, first=number * SERIES)
        spec, jobs = IngestSpec(dataset="bulk", folder="all"), Jobs(database)
        context = Context(Backend(settings, database), TEAM, jobs.adopt(TEAM, "ann", spec, None).id, spec)
        ray.init(address="local", num_cpus=2, object_store_memory=256 * 2**20, include_dashboard=False)
        memory, started = Memory(), time.monotonic()
        memory.start()
        done = work(context)
        seconds = time.monotonic() - started
        memory.done.set()
        memory.join()
        ray.shutdown()
    rows = files * SERIES * HOURS
    assert done.rows == rows, done
    ours = {
        "rows": rows,
        "decoded_mb": round(rows * BYTES / 2**20),
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        **{f"{role}_peak_mb": round(peak) for role, peak in sorted(memory.peaks.items())},
    }
    report("bulk", ours, {}, {}, {}, options.json)


if __name__ == "__main__":
    main()

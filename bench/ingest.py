"""`python -m bench.ingest`: a large panel into the store and back, beside DuckDB on the same file.

20 million rows (5,000 series x 4,000 hours; `--quick`: 250 series) of a Parquet file are read, checked
and written as a version, with its content hash; one series and 1 % of the series are read as of a time.
Each system works in a process of its own, on one thread. DuckDB loads the rows with their two times
and answers with the same as-of rule; it neither checks the panel nor hashes it. Skipped when absent.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.harness import arguments, installed, report
from quantis.panel import DS, ID, Y, timestamps

HOURS = 4_000
SERIES, QUICK = 5_000, 250
LAG = timedelta(hours=1)
AS_OF = datetime(2020, 6, 1, tzinfo=UTC)
FIRST = np.datetime64("2020-01-01", "us")
SAMPLE = 100  # one series in a hundred
SINGLE_READS = 20  # series read one by one
_LATEST = (
    "SELECT * FROM panel WHERE {condition} AND known_at <= ? QUALIFY row_number() OVER "
    "(PARTITION BY unique_id, ds ORDER BY known_at DESC, recorded_at DESC) = 1 ORDER BY unique_id, ds"
)


def write_panel(path: Path, series: int, first: int = 0) -> None:
    """Write hourly series below each other; random numbers, since only the speed is measured."""
    rng = np.random.default_rng(0)
    names = pa.array([name(first + number) for number in range(series)])
    ds = FIRST + np.arange(HOURS) * np.timedelta64(1, "h")
    schema = pa.schema([(ID, pa.string()), (DS, pa.timestamp("us", tz="UTC")), (Y, pa.float64())])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for start in range(0, series, 50):
            numbers = np.arange(start, min(start + 50, series))
            ids = names.take(pa.array(np.repeat(numbers, HOURS)))
            y = rng.gamma(2.0, 10.0, len(numbers) * HOURS)
            file.write_table(
                pa.table([ids, timestamps(np.tile(ds, len(numbers))), pa.array(y)], schema.names)
            )


def name(number: int) -> str:
    return f"s{number:06}"


def ingest(file: Path, folder: Path) -> dict[str, float]:
    """Return the CPU-seconds of reading, checking, and writing with the content hash; one thread."""
    from features.store.content_hash import ContentSums
    from features.store.panel_store import PanelStore
    from quantis.reading import ReadLimits, read_table
    from quantis.types.datasets import DatasetSpec
    from quantis.validation.panel_check import check_panel

    started = time.process_time()
    limits = ReadLimits(memory=4 * 2**30, rows=100_000_000, cells=10**9, file_bytes=4 * 2**30)
    table = read_table(file, name=file.name, limits=limits)
    read = time.process_time()
    checked, panel = check_panel(table, DatasetSpec(name="bench", freq="h"), file=file.name)
    del table
    check = time.process_time()
    if panel is None:
        raise SystemExit(f"the panel was rejected: {checked.findings[:3]}")
    store = PanelStore(folder)
    written = store.write(panel, after=None, recorded_at=datetime.now(UTC), publication_lag=LAG)
    written.content_after(ContentSums.empty()).digest()
    (folder / "pins.json").write_text(json.dumps(written.pins.to_json()))
    write = time.process_time()
    return {"read": read - started, "check": check - read, "write": write - check}


def reads(file: Path, folder: Path) -> dict[str, float]:
    """Return wall-clock milliseconds of as-of reads; the first one also opens the tables."""
    from features.store.panel_store import PanelStore, VersionPins
    from features.store.record_filter import Bounds

    store = PanelStore(folder)
    pins = VersionPins.from_json(json.loads((folder / "pins.json").read_text()))
    count = pq.read_metadata(file).num_rows // HOURS

    def read(series: list[str]) -> int:
        return int(store.read(pins, as_of=AS_OF, bounds=Bounds(series=series)).target.num_rows)

    return _timed_reads(read, count)


def _timed_reads(read: Callable[[list[str]], int], count: int) -> dict[str, float]:
    def milliseconds(series: list[str]) -> float:
        started = time.perf_counter()
        rows = read(series)
        spent = 1000 * (time.perf_counter() - started)
        expected = len(series) * int(
            (AS_OF - LAG - datetime(2020, 1, 1, tzinfo=UTC)) / timedelta(hours=1) + 1
        )
        assert rows == expected, (rows, expected)
        return spent

    first = milliseconds([name(count // 2)])
    single = [milliseconds([name(number)]) for number in range(0, count, max(count // SINGLE_READS, 1))]
    sample = milliseconds([name(number) for number in range(0, count, SAMPLE)])
    return {
        "first_ms": first,
        "series_ms": statistics.median(single),
        "worst_ms": max(single),
        "sample_ms": sample,
    }


def duckdb_ingest(file: Path, folder: Path) -> dict[str, float]:
    connection = _duckdb(folder)
    started = time.process_time()
    connection.execute(
        "CREATE TABLE panel AS SELECT unique_id, make_timestamp(epoch_us(ds)) AS ds, y, "
        "make_timestamp(epoch_us(ds)) + INTERVAL 1 HOUR AS known_at, "
        "TIMESTAMP '2026-01-01' AS recorded_at, false AS given "
        f"FROM read_parquet('{file}') ORDER BY unique_id, ds"
    )
    connection.close()
    return {"write": time.process_time() - started}


def duckdb_reads(file: Path, folder: Path) -> dict[str, float]:
    connection = _duckdb(folder)
    count = pq.read_metadata(file).num_rows // HOURS

    def read(series: list[str]) -> int:
        condition = "unique_id = ?[1]" if len(series) == 1 else "list_contains(?, unique_id)"
        table = connection.execute(_LATEST.format(condition=condition), [series, AS_OF.replace(tzinfo=None)])
        return int(table.to_arrow_table().num_rows)

    return _timed_reads(read, count)


def _duckdb(folder: Path) -> Any:
    import duckdb

    return duckdb.connect(str(folder / "panel.duckdb"), config={"threads": 1})


STEPS = {"ingest": ingest, "reads": reads, "duckdb_ingest": duckdb_ingest, "duckdb_reads": duckdb_reads}


def run_in_process(step: str, file: Path, folder: Path) -> dict[str, float]:
    """Run a step in a fresh process on one thread; return its figures and its peak memory in MB."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TOKIO_WORKER_THREADS", "RAYON_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "bench.ingest", "--step", step, str(file), str(folder)]
    process = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **threads})
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


def run_step(step: str, file: Path, folder: Path) -> None:
    """Run a step and print its figures as JSON; for a process of its own."""
    pa.set_cpu_count(1)
    figures = STEPS[step](file, folder)
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(figures))


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        step, file_name, folder_name = sys.argv[2:5]
        run_step(step, Path(file_name), Path(folder_name))
        return
    options = arguments(__doc__)
    series = QUICK if options.quick else SERIES
    with tempfile.TemporaryDirectory(prefix="quantis-bench-") as temporary:
        file, folder = Path(temporary) / "panel.parquet", Path(temporary) / "store"
        folder.mkdir()
        write_panel(file, series)
        quantis = figures(
            run_in_process("ingest", file, folder), run_in_process("reads", file, folder), series * HOURS
        )
        peers: dict[str, dict[str, float]] = {}
        ratios: dict[str, float] = {}
        if installed("duckdb"):
            write, read = (
                run_in_process("duckdb_ingest", file, folder),
                run_in_process("duckdb_reads", file, folder),
            )
            peers["duckdb"] = figures(write, read, series * HOURS)
            ratios = compare(quantis, peers["duckdb"])
    report("ingest", quantis, peers, ratios, {}, options.json)


def figures(write: dict[str, float], read: dict[str, float], rows: int) -> dict[str, float]:
    stages = {stage: seconds for stage, seconds in write.items() if stage != "peak_mb"}
    return {
        "rows": rows,
        "rows_per_cpu_second": round(rows / sum(stages.values())),
        **{f"{stage}_cpu_s": round(seconds, 2) for stage, seconds in stages.items()},
        "ingest_peak_mb": round(write["peak_mb"]),
        **{key: round(value, 1) for key, value in read.items() if key != "peak_mb"},
        "reads_peak_mb": round(read["peak_mb"]),
    }


def compare(quantis: dict[str, float], peer: dict[str, float]) -> dict[str, float]:
    """Return how many times faster Quantis is."""
    return {
        "ingest": quantis["rows_per_cpu_second"] / peer["rows_per_cpu_second"],
        "series": peer["series_ms"] / quantis["series_ms"],
        "sample": peer["sample_ms"] / quantis["sample_ms"],
    }


if __name__ == "__main__":
    main()

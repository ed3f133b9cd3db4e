"""`python -m bench.ray_features`: the design frame over Ray Data against the bare kernel, file by file.

Both sides read the same Parquet files of whole series, a million rows each, design them and write
Parquet: Quantis as a Ray Data pipeline with one worker, the bare kernel in a loop in this process, which
has the same one thread. Rows per second of the clock, from the first file's start to the last one's
end; the seconds that Ray takes until its first file starts are reported separately. The sides alternate
by rounds.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from bench.features import panel, specification
from bench.harness import arguments, report
from features.design.design_frame import design
from features.rolling.dispatch import warm_up
from quantis.panel import DS, ID, Snapshot

FILE_ROWS = 1_000_000
ROUNDS = 3


def design_file(path: Path, folder: Path) -> int:
    """Design a Parquet file of whole, sorted histories into `folder`, and return the rows written."""
    task, spec = specification()
    history = pq.read_table(path, use_threads=False)
    future = history.select([ID, DS]).slice(0, 0)
    frame = design(Snapshot(history, future, history.select([ID]).slice(0, 0)), task, spec)
    pq.write_table(frame, folder / path.name, use_dictionary=[ID])
    return int(frame.num_rows)


class FileDesigner:
    """Worker that stays, so that machine code is loaded once and not within the first file's time."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        warm_up()

    def __call__(self, batch: pa.Table) -> pa.Table:
        (path,) = batch["path"].to_pylist()
        started = time.monotonic()
        rows = design_file(Path(path), self.folder)
        return pa.table({"rows": [rows], "started": [started], "ended": [time.monotonic()]})


def design_files(paths: Sequence[Path], folder: Path) -> pa.Table:
    """Design each file over Ray Data; a row per file: `rows`, and the monotonic `started` and `ended`.

    Only the files' names travel: no shuffle, no copy through the object store.
    """
    names = ray.data.from_items([{"path": str(path)} for path in paths], override_num_blocks=len(paths))
    files = names.map_batches(
        FileDesigner,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=1),
        fn_constructor_kwargs={"folder": str(folder)},
    )
    return pa.concat_tables(files.iter_batches(batch_size=None, batch_format="pyarrow"))


def time_bare_kernel(paths: Sequence[Path], folder: Path) -> float:
    """Return the seconds of the loop in this process."""
    started = time.monotonic()
    for path in paths:
        design_file(path, folder)
    return time.monotonic() - started


def time_ray(paths: Sequence[Path], folder: Path) -> tuple[float, float]:
    """Return the seconds from the first file's start to the last one's end, and those before the first."""
    called = time.monotonic()
    files = design_files(paths, folder)
    if sum(files["rows"].to_pylist()) != FILE_ROWS * len(paths):
        raise SystemExit("rows are missing from the files that Ray Data wrote; nothing is reported")
    first = min(files["started"].to_pylist())
    return max(files["ended"].to_pylist()) - first, first - called


def write_panel(count: int, folder: Path) -> list[Path]:
    """Write the panel as files: a panel of a million rows, as often as needed."""
    history = panel(FILE_ROWS).history
    paths = [folder / f"part-{number:04}.parquet" for number in range(count)]
    for path in paths:
        pq.write_table(history, path, use_dictionary=["unique_id"])
    return paths


def main() -> None:
    options = arguments(__doc__)
    rows = 2_000_000 if options.quick else 50_000_000
    pa.set_cpu_count(1)
    warm_up()
    started = time.monotonic()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    cluster = time.monotonic() - started
    seconds: dict[str, list[float]] = {"kernel": [], "ray": [], "startup": []}
    with tempfile.TemporaryDirectory() as name:
        input_dir, output_dir = Path(name) / "input", Path(name) / "output"
        input_dir.mkdir()
        paths = write_panel(rows // FILE_ROWS, input_dir)
        for _ in range(ROUNDS):
            for side in ("kernel", "ray"):
                shutil.rmtree(output_dir, ignore_errors=True)
                output_dir.mkdir()
                if side == "kernel":
                    seconds["kernel"].append(time_bare_kernel(paths, output_dir))
                    continue
                duration, startup = time_ray(paths, output_dir)
                seconds["ray"].append(duration)
                seconds["startup"].append(startup)
    ray.shutdown()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ray_rate, kernel_rate = rows / median["ray"], rows / median["kernel"]
    report(
        "ray_features",
        {
            "rows_per_second": round(ray_rate),
            "cluster_startup_s": round(cluster, 2),
            "pipeline_startup_s": round(median["startup"], 2),
        },
        {"bare_kernel": round(kernel_rate)},
        {"vs_bare_kernel": ray_rate / kernel_rate},
        {"rows": rows, "rounds": ROUNDS},
        options.json,
    )


if __name__ == "__main__":
    main()

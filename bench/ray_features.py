"""`python -m bench.ray_features`: the design frame over Ray Data against the bare kernel, file by file.

Both sides read the same Parquet files of whole series, a million rows each, design them and write
Parquet: ours as a Ray Data pipeline with one worker, the bare kernel in a loop in this process, which
has the same one thread. Rows per second of the clock, from the first file's start to the last one's
end; what Ray takes until its first file starts is reported apart. The sides alternate by rounds.
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

from bench.features import panel, specification
from bench.harness import arguments, report
from features.ray_data import design_file, design_files
from features.rolling.dispatch import warm_up

FILE_ROWS = 1_000_000
ROUNDS = 3


def bare(paths: Sequence[Path], folder: Path) -> float:
    """Seconds of the loop in this process."""
    task, spec = specification()
    started = time.monotonic()
    for path in paths:
        design_file(path, task, spec, folder)
    return time.monotonic() - started


def over_ray(paths: Sequence[Path], folder: Path) -> tuple[float, float]:
    """Seconds from the first file's start to the last one's end, and those before the first."""
    task, spec = specification()
    called = time.monotonic()
    done = design_files(paths, task, spec, folder, workers=1)
    first = min(done["started"].to_pylist())
    return max(done["ended"].to_pylist()) - first, first - called


def written(count: int, folder: Path) -> list[Path]:
    """The panel as files; one panel of a million rows, written as often as needed."""
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
    seconds: dict[str, list[float]] = {"bare": [], "ray": [], "startup": []}
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "given", Path(name) / "made"
        given.mkdir()
        paths = written(rows // FILE_ROWS, given)
        for _ in range(ROUNDS):
            for side in ("bare", "ray"):
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                if side == "bare":
                    seconds["bare"].append(bare(paths, made))
                    continue
                taken, before = over_ray(paths, made)
                seconds["ray"].append(taken)
                seconds["startup"].append(before)
    ray.shutdown()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ours, kernel = rows / median["ray"], rows / median["bare"]
    report(
        "ray_features",
        {
            "rows_per_second": round(ours),
            "cluster_startup_s": round(cluster, 2),
            "pipeline_startup_s": round(median["startup"], 2),
        },
        {"bare_kernel": round(kernel)},
        {"vs_bare_kernel": ours / kernel},
        {"rows": rows, "rounds": ROUNDS},
        options.json,
    )


if __name__ == "__main__":
    main()

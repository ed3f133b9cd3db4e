"""`python -m bench.windows`: windows per CPU-second that reach the transformer in training, and from its peer's loader.

What is timed is what `fit` does before each of its steps: it takes the next indices of the order and has
`TrainingShard.batch` make the network's input and targets from them. `quantis` makes the windows one by one with their
whole past, as pytorch-forecasting does; `quantis_default` is the default training, most of whose steps see a short
past, and in the others origins share an encoder. `oracle_loader` makes the peer's own tensors. One thread, all systems
in turn; the batches are compared with the peer's before anything is timed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from bench.harness import arguments, interleaved, report
from bench.oracle.batches import (
    Comparison,
    compare,
    decode_library_batch,
    decode_training_batch,
    longest_by_origin,
)
from bench.oracle.case import CLOCK, OracleCase
from bench.oracle.library import reference_dataset, reference_loader
from bench.oracle.loader import OracleLoader
from bench.oracle.panel import TimeSeriesLayout
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.shard import TrainingShard
from models.families.tft.shared_encoder import HistoryIndex
from models.families.tft.training import SHORT_SHARE, TrainingPhase, training_phases
from quantis.types.job_specs import TftParams

BATCH, TOLERANCE = 64, 1e-5
LAYOUT = TimeSeriesLayout(
    "t",
    "y",
    "id",
    168,
    84,
    24,
    24,
    ("id",),
    ("area",),
    ("hour", "weekday"),
    (CLOCK, "price"),
    unknown_reals=("y", "temp"),
)
DEFAULT = TftParams(encoder_length=LAYOUT.max_encoder_length, batch_size=BATCH)
WINDOW_BY_WINDOW = DEFAULT.model_copy(update={"short_start": False, "share_encoder": False})
REPEATS = 8  # ours visits so many times the windows, or the clock would be too coarse


def make_frame(series: int, length: int) -> pd.DataFrame:
    """Hourly series of random numbers, since only the speed is asked for."""
    noise, steps = np.random.default_rng(0), np.tile(np.arange(length), series)
    rows, names = series * length, np.array([f"s{i:05}" for i in range(series)])
    return pd.DataFrame(
        {
            "id": np.repeat(names, length),
            "t": steps,
            CLOCK: steps.astype(float),
            "y": noise.gamma(2.0, 10.0, rows),
            "area": np.repeat(noise.normal(size=series), length),
            "price": noise.normal(size=rows),
            "temp": noise.normal(size=rows),
            "hour": (steps % 24).astype(str),
            "weekday": (steps // 24 % 7).astype(str),
        }
    )


def make_phases(
    case: OracleCase, params: TftParams
) -> tuple[InputEncoding, SeriesScales, list[TrainingPhase]]:
    """Build what `fit` trains on: inputs, scales, and the phases with their shards and orders."""
    encoding = InputEncoding.from_snapshot(case.snapshot, case.task)
    scales = SeriesScales.from_snapshot(case.snapshot, encoding)
    histories = HistoryIndex.from_snapshot(case.snapshot)
    shard = TrainingShard.from_snapshot(
        case.snapshot, case.task, params, encoding=encoding, scales=scales, histories=histories, worker=(0, 1)
    )
    return encoding, scales, training_phases(shard, case.task.h, params, workers=1)


def compare_batches(params: TftParams, batches: int) -> Comparison:
    """Compare the first batches of each phase, on a panel small enough to list all windows of the peer."""
    case = OracleCase.from_frame(make_frame(3, 400), LAYOUT)
    library = (
        window
        for x, _ in reference_loader(case.frame, LAYOUT, BATCH)
        for window in decode_library_batch(case, x)
    )
    reference = longest_by_origin(library)
    encoding, scales, phases = make_phases(case, params)
    windows = []
    for phase in phases:
        for indices in islice(phase.order.batches(), batches):
            batch, target = phase.shard.batch(indices)
            windows += decode_training_batch(
                case, encoding, scales, batch, target, sharing=phase.shard.sharing
            )
    return compare(case, windows, reference)


def visit(phase: TrainingPhase, steps: int) -> float:
    """Make the batches of so many steps, as training does, and touch each."""
    return sum(float(phase.shard.batch(indices)[1][0, 0]) for indices in islice(phase.order.batches(), steps))


def windows_visited(phase: TrainingPhase, steps: int) -> int:
    """Count the windows with a target in the batches of so many steps."""
    targets = (phase.shard.batch(indices)[1] for indices in islice(phase.order.batches(), steps))
    return sum(int(target.isfinite().any(1).sum()) for target in targets)


def oracle_batches(loader: OracleLoader, windows: int) -> Iterator[torch.Tensor]:
    order = torch.cat([torch.randperm(len(loader)) for _ in range(-(-windows // len(loader)))])
    for start in range(0, windows, BATCH):
        yield loader.batch(order[start : start + BATCH])[1][0]


def library_batches(dataset: Any, windows: int) -> Iterator[torch.Tensor]:
    loader = dataset.to_dataloader(train=True, batch_size=BATCH, num_workers=0)
    for _, (y, _) in islice(loader, windows // BATCH):
        yield y


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    comparisons = [compare_batches(params, batches=20) for params in (WINDOW_BY_WINDOW, DEFAULT)]
    difference = max(comparison.largest for comparison in comparisons)
    if difference > TOLERANCE:
        raise SystemExit(
            f"batches differ from the library's by {difference}; nothing is timed: {comparisons}"
        )

    case = OracleCase.from_frame(make_frame(50, 1000), LAYOUT)
    started = time.process_time()
    *_, (whole,) = make_phases(case, WINDOW_BY_WINDOW)
    built = time.process_time()
    dataset = reference_dataset(case.frame, LAYOUT)
    library_built = time.process_time() - built
    *_, (short, shared) = make_phases(case, DEFAULT)
    oracle = OracleLoader.from_table(pa.Table.from_pandas(case.frame, preserve_index=False), LAYOUT)

    windows = BATCH * (40 if options.quick else 160)
    steps = REPEATS * windows // BATCH
    phases = {"whole": whole, "short": short, "shared": shared}
    systems: dict[str, Callable[[], float]] = {
        name: lambda phase=phase: visit(phase, steps)  # type: ignore[misc]
        for name, phase in phases.items()
    }
    systems["oracle"] = lambda: sum(float(y[0, 0]) for y in oracle_batches(oracle, REPEATS * windows))
    systems["library"] = lambda: sum(float(y[0, 0]) for y in library_batches(dataset, windows))
    seconds = interleaved(systems, rounds=5)

    rates = {name: windows_visited(phase, steps) / seconds[name] for name, phase in phases.items()}
    default = 1 / (SHORT_SHARE / rates["short"] + (1 - SHORT_SHARE) / rates["shared"])
    library = windows / seconds["library"]
    report(
        "windows",
        {
            "windows_per_cpu_second": round(rates["whole"]),
            "default": round(default),
            "default_short_past": round(rates["short"]),
            "default_shared_encoder": round(rates["shared"]),
            "oracle_loader": round(REPEATS * windows / seconds["oracle"]),
            "build_cpu_seconds": round(built - started, 3),
        },
        {
            "pytorch_forecasting": round(library),
            "pytorch_forecasting_build_cpu_seconds": round(library_built, 3),
        },
        {
            "vs_pytorch_forecasting": rates["whole"] / library,
            "default_vs_pytorch_forecasting": default / library,
        },
        {
            "largest_difference": difference,
            "windows_compared": sum(comparison.windows for comparison in comparisons),
            "windows": whole.shard.count,
        },
        options.json,
    )


if __name__ == "__main__":
    main()

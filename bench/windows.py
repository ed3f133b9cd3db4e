"""`python -m bench.windows`: batches per CPU-second from our window engine and pytorch-forecasting's loader.

One thread; both sides materialise every tensor of x and y. The batches are compared before anything is timed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from bench.harness import arguments, interleaved, report
from bench.oracle.library import reference_dataset
from bench.oracle.loader import OracleLoader
from bench.oracle.panel import TimeSeriesLayout

BATCH = 64
LAYOUT = TimeSeriesLayout(
    "t", "y", "id", 168, 84, 24, 24, ("id",), ("area",), ("hour", "weekday"), ("t", "price"),
    unknown_reals=("y", "temp"),
)  # fmt: skip


def frame(series: int, length: int) -> pd.DataFrame:
    """Hourly series of random numbers, since only the speed is asked for."""
    noise, time_idx = np.random.default_rng(0), np.tile(np.arange(length), series)
    rows, names = series * length, np.array([f"s{i:05}" for i in range(series)])
    return pd.DataFrame(
        {
            "id": np.repeat(names, length), "t": time_idx, "y": noise.gamma(2.0, 10.0, rows),
            "area": np.repeat(noise.normal(size=series), length), "price": noise.normal(size=rows),
            "temp": noise.normal(size=rows), "hour": (time_idx % 24).astype(str),
            "weekday": (time_idx // 24 % 7).astype(str),
        }
    )  # fmt: skip


def largest_difference(engine: OracleLoader, dataset: Any, batches: int) -> float:
    """Over every tensor of x and y of the first batches."""
    loader = dataset.to_dataloader(train=False, batch_size=BATCH, num_workers=0)
    worst = 0.0
    for (x, (y, _)), (x_ref, (y_ref, _)) in islice(zip(engine.batches(BATCH), loader, strict=True), batches):
        pairs = [(x[key], value) for key, value in x_ref.items()] + [(y, y_ref)]
        for ours, theirs in pairs:
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                return float("inf")
            gap = (ours.double() - theirs.double()).abs() / theirs.double().abs().clamp_min(1.0)
            worst = max(worst, float(gap.max()))
    return worst


def systems(engine: OracleLoader, dataset: Any, windows: int) -> dict[str, Callable[[], float]]:
    """Each run visits random windows and touches every batch."""
    passes = -(-REPEATS * windows // len(engine))
    order = torch.cat([torch.randperm(len(engine)) for _ in range(passes)])

    def ours() -> float:
        places = (order[start : start + BATCH] for start in range(0, REPEATS * windows, BATCH))
        return sum(float(engine.batch(places_)[1][0][0, 0]) for places_ in places)

    def stock() -> float:
        loader = dataset.to_dataloader(train=True, batch_size=BATCH, num_workers=0)
        return sum(float(y[0, 0]) for _, (y, _) in islice(loader, windows // BATCH))

    return {"quantis": ours, "pytorch_forecasting": stock}


REPEATS = 8  # ours visits so many times the windows, or the clock would be too coarse


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    panel = frame(50, 1000)
    started = time.process_time()
    engine = OracleLoader.from_table(pa.Table.from_pandas(panel, preserve_index=False), LAYOUT)
    built = time.process_time()
    dataset = reference_dataset(panel, LAYOUT)
    stock_built = time.process_time() - built
    difference = largest_difference(engine, dataset, 20 if options.quick else 200)
    if difference > 1e-6:
        raise SystemExit(f"batches differ from the reference's by {difference}; nothing is timed")
    windows = BATCH * (40 if options.quick else 160)
    seconds = interleaved(systems(engine, dataset, windows), rounds=5)
    ours, stock = REPEATS * windows / seconds["quantis"], windows / seconds["pytorch_forecasting"]
    report(
        "windows",
        {"windows_per_cpu_second": round(ours), "build_cpu_seconds": round(built - started, 3)},
        {"pytorch_forecasting": round(stock), "pytorch_forecasting_build_cpu_seconds": round(stock_built, 3)},
        {"vs_pytorch_forecasting": ours / stock},
        {"largest_difference": difference, "windows": len(engine), "same_windows": len(engine) == len(dataset)},
        options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()

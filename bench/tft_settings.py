"""`python -m bench.tft_settings`: how the transformer's defaults were chosen, on weeks before those that are held out.

Each line trains on 44 weeks of `bench.load`'s year and forecasts the eight that follow, with seeds that the
benchmark does not use. The first is the default; every other differs from it by what it is called.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from bench import load
from bench.tft import OURS, quantis_run

WINDOWS, SEEDS = 8_800, (10, 11, 12)
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"short_start": False},
    {"short_start": False, "share_encoder": False},
    {"learning_rate": 2e-3},
    {"learning_rate": 6e-3},
    {"batch_size": 16},
    {"batch_size": 64},
)


def main() -> None:
    folder = os.environ.get("QUANTIS_BENCH_DATA")
    if folder is None:
        raise SystemExit("set QUANTIS_BENCH_DATA to the folder of gefcom2012_load_z01_10.parquet")
    torch.set_num_threads(1)
    frame = load.load(Path(folder))
    y = load.actuals(frame, load.BEFORE)
    for changes in SETTINGS:
        seconds, risks = [], []
        for seed in SEEDS:
            params = OURS.model_copy(update={"seed": seed, **changes})
            spent, forecasts = quantis_run(frame, params, WINDOWS, weeks=load.BEFORE)
            seconds.append(spent)
            risks.append(round(load.q_risk(forecasts, y), 5))
        line = {
            "changes": changes,
            "cpu_seconds": round(statistics.median(seconds), 1),
            "q_risk": statistics.median(risks),
            "q_risk_by_seed": risks,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

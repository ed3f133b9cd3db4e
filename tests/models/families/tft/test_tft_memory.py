"""What training adds to the memory of a process that holds a panel."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAIN = """
import sys, threading, time
from datetime import UTC, datetime
import numpy as np, pyarrow as pa, torch
from models.families.tft.training import fit
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps
from quantis.types.datasets import Roles
from quantis.types.job_specs import TftParams

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

torch.set_num_threads(1)
series, steps = int(sys.argv[1]), int(sys.argv[2])
roles = Roles(futr_exog=("price",), hist_exog=("temp",), stat_exog=("shop",), categorical=("shop",))
task = Task(dataset="m", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=24, roles=roles,
            quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
noise, names = np.random.default_rng(0), [f"s{i:05}" for i in range(series)]
times = np.datetime64("2020-01-01", "us") + np.arange(steps + 24) * np.timedelta64(1, "h")
codes = pa.array(np.repeat(np.arange(series, dtype=np.int32), steps))
history = pa.table({ID: pa.DictionaryArray.from_arrays(codes, pa.array(names)),
                    DS: timestamps(np.tile(times[:steps], series)),
                    **{name: noise.gamma(2.0, 10.0, series * steps) for name in (Y, "temp", "price")}})
future = pa.table({ID: np.repeat(names, 24), DS: timestamps(np.tile(times[steps:], series)),
                   "price": noise.normal(size=24 * series)})
snapshot = Snapshot(history, future, pa.table({ID: names, "shop": names}))
peak = [held()]
def watch():
    while True:
        peak[0] = max(peak[0], held())
        time.sleep(0.005)
before = held()
threading.Thread(target=watch, daemon=True).start()
fit(snapshot, task, TftParams(hidden_size=16, encoder_length=168, batch_size=64, steps=3))
print(history.nbytes, peak[0] - before)
"""


@pytest.mark.parametrize(
    ("series", "steps"),
    [(100, 5000), pytest.param(1000, 10_000, marks=pytest.mark.soak)],
    ids=["0.5 M", "10 M"],
)
def test_when_a_large_panel_is_trained_on_then_no_more_than_the_panel_and_one_and_a_half_gigabytes_are_added(
    series, steps
):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(series), str(steps)], capture_output=True, text=True, check=True
    )
    panel, added = (int(text) for text in done.stdout.split())
    share = series * steps / 10_000_000
    assert added < panel + max(share, 0.25) * 1.5e9  # what torch takes on first use is there with any panel

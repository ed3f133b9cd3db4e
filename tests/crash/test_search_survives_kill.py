"""The driver of a search killed after three of eight trials, and the job submitted again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

SEARCH = """
import importlib.util, sys
from pathlib import Path
import pyarrow as pa, ray
from jobs.choose import Trial
from jobs.tune import Search
from quantis.types.jobs import TftParams

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
task = toy._task(h=6, season_lengths=(24,), quantiles=(0.1, 0.5, 0.9))
snapshot, actuals = toy._snapshot(task, {"a": 90, "b": 60})
snapshots = lambda cutoff: snapshot
from quantis.panel import DS, ID, Y
history = pa.concat_tables([snapshot.history.select([ID, DS, Y]), actuals.select([ID, DS, Y])]).sort_by(
    [(ID, "ascending"), (DS, "ascending")])
cutoff = snapshot.history["ds"].to_numpy()[-1].astype("datetime64[us]")
trial = Trial(task, snapshots, history, (cutoff,))
params = TftParams(attention_heads=2, encoder_length=12, batch_size=16, steps=40, seed=3)
for _ in range(5):  # a busy machine may not start a node within Ray's 30 s
    try:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                 logging_level="error", object_store_memory=100 * 1024 * 1024)
        break
    except Exception:
        ray.shutdown()
for outcome in Search(trial, params, Path(sys.argv[2]), 8).run(lambda done, outcome: print(done, flush=True)):
    print(outcome.state, outcome.config)
ray.shutdown()
"""


def _start(folder: Path) -> subprocess.Popen[bytes]:
    toy = Path(__file__).parents[1] / "models" / "conftest.py"
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-c", SEARCH, str(toy), str(folder)]
        return subprocess.Popen(command, stdout=log, stderr=log)


def _descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def _ledger(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in (folder / "trials").glob("*.json")}


def _ended(folder: Path) -> dict[str, dict]:
    return {name: one for name, one in _ledger(folder).items() if one["state"] != "running"}


@pytest.mark.timeout(900)
def test_when_the_driver_is_killed_after_three_of_eight_trials_then_the_next_one_runs_what_is_left(tmp_path):
    first = _start(tmp_path)
    deadline = time.monotonic() + 400
    while len(_ended(tmp_path)) < 3:
        assert first.poll() is None, (tmp_path / "log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = _descendants(first.pid)
    first.send_signal(signal.SIGKILL)  # and its private Ray with it, which a cluster's would outlive
    for process in family:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    first.wait()
    before = _ledger(tmp_path)
    ended = {name: path_time(tmp_path, name) for name in _ended(tmp_path)}
    assert 3 <= len(ended) < 8
    second = _start(tmp_path)
    assert second.wait(timeout=450) == 0, (tmp_path / "log").read_text()[-3000:]
    after = _ledger(tmp_path)
    assert len(after) == 8
    assert len({json.dumps(one["config"], sort_keys=True) for one in after.values()}) == 8
    assert all(one["state"] in ("finished", "stopped early") for one in after.values())
    assert before.keys() <= after.keys(), "none is lost"
    assert all(path_time(tmp_path, name) == at for name, at in ended.items()), "none that ended ran again"


def path_time(folder: Path, name: str) -> int:
    return (folder / "trials" / name).stat().st_mtime_ns

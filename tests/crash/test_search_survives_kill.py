"""The driver of a search killed after three of eight trials, and the job submitted again."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

HEAD = """
import ray, sys
for _ in range(5):  # a busy machine may not start a node within Ray's 30 s
    try:
        node = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                        logging_level="error", object_store_memory=100 * 1024 * 1024)
        break
    except Exception:
        ray.shutdown()
print(node.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""
SEARCH = """
import importlib.util, sys
from pathlib import Path
import pyarrow as pa, ray
from jobs.evaluation.candidates import EvaluationSetup
from jobs.tune import Search
from quantis.panel import DS, ID, Y
from quantis.types.job_specs import TftParams

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
task = toy._task(h=6, season_lengths=(24,), quantiles=(0.1, 0.5, 0.9))
snapshot, actuals = toy._snapshot(task, {"a": 90, "b": 60})
history = pa.concat_tables([snapshot.history.select([ID, DS, Y]), actuals.select([ID, DS, Y])]).sort_by(
    [(ID, "ascending"), (DS, "ascending")])
cutoff = snapshot.history["ds"].to_numpy()[-1].astype("datetime64[us]")
setup = EvaluationSetup(task, lambda cutoff: snapshot, history, (cutoff,))
params = TftParams(attention_heads=2, encoder_length=12, batch_size=16, steps=40, seed=3)
ray.init(address=sys.argv[3], log_to_driver=False, logging_level="error")
Search(setup, params, Path(sys.argv[2]), 8).run(lambda done, outcome: print(done, flush=True))
ray.shutdown()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A token of its own that the cluster and its drivers have in common, as on a platform."""
    token = tmp_path / "ray-token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@pytest.fixture
def head(environment: dict[str, str]) -> Iterator[str]:
    """The address of a Ray that outlives its drivers, as a platform's does."""
    with subprocess.Popen(
        [sys.executable, "-c", HEAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "Ray did not start"
        yield address
        process.communicate("")


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str], head: str) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts a driver of the search."""
    toy = Path(__file__).parents[1] / "models" / "conftest.py"

    def started() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            command = [sys.executable, "-c", SEARCH, str(toy), str(tmp_path), head]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    return started


def _trials() -> list[str]:
    """Processes that run a trial now; Tune's name for a function that it runs is ImplicitFunc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            text = path.read_text()
            if text.startswith("ray::") and "ImplicitFunc" in text:
                found.append(text)
    return found


def _ledger(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in (folder / "trials").glob("*.json")}


def _ended(folder: Path) -> dict[str, int]:
    """When each trial ended, by its name."""
    ledger = _ledger(folder)
    return {
        name: (folder / "trials" / name).stat().st_mtime_ns
        for name, one in ledger.items()
        if one["state"] != "running"
    }


def _wait(
    what: Callable[[], bool], folder: Path, process: subprocess.Popen[bytes] | None, seconds: int
) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        log = (folder / "log").read_text()[-3000:]
        assert process is None or process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


@pytest.mark.timeout(900)
@pytest.mark.soak
def test_when_the_driver_is_killed_after_three_of_eight_trials_then_the_next_one_runs_what_is_left(
    tmp_path, start
):
    first = start()
    _wait(lambda: len(_ended(tmp_path)) >= 3, tmp_path, first, 400)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before, ended = _ledger(tmp_path), _ended(tmp_path)
    assert 3 <= len(ended) < 8
    _wait(lambda: not _trials(), tmp_path, None, 60)  # the killed driver leaves no process
    second = start()
    _wait(lambda: second.poll() is not None, tmp_path, None, 400)
    assert second.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    after = _ledger(tmp_path)
    assert len(after) == 8
    assert len({json.dumps(one["config"], sort_keys=True) for one in after.values()}) == 8
    assert all(one["state"] in ("finished", "stopped early") for one in after.values())
    assert before.keys() <= after.keys(), "none is lost"
    assert ended.items() <= _ended(tmp_path).items(), "none that ended ran again"


@pytest.mark.timeout(900)
@pytest.mark.soak
def test_when_a_search_is_stopped_then_no_process_of_it_is_left(tmp_path, start):
    search = start()
    _wait(lambda: bool(_trials()), tmp_path, search, 400)
    search.send_signal(signal.SIGTERM)
    search.wait(timeout=60)
    _wait(lambda: not _trials(), tmp_path, None, 60)

"""Workers of Ray Train killed in the middle of an epoch, with a torn state as the newest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

TRIAL = """
import importlib.util, json, os, random, shutil, signal, sys
from pathlib import Path
import numpy as np, ray
from cluster.settings import Settings
from jobs.tft.ray_trainer import train_on_ray
from models.arrays import floats
from models.families.tft.checkpoint import CheckpointFolder, fingerprint
from quantis.types.job_specs import TftParams

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
root, trials = Path(sys.argv[2]), int(sys.argv[3])
task = toy._task(h=6, season_lengths=(24,), quantiles=(0.1, 0.5, 0.9))
snapshot, actuals = toy._snapshot(task, {"a": 150, "b": 120, "c": 160})
params = TftParams(hidden_size=8, attention_heads=2, encoder_length=48, batch_size=16, steps=40, workers=2)

class Killer:
    '''Hears how training goes on rank 0; once, it leaves a torn newest state and kills its process.'''
    def __init__(self, folder, at):
        self.folder, self.at = folder, at
    def __call__(self, step, loss):
        with open(self.folder / "steps", "a") as file:
            file.write(f"{step} {loss!r} {os.getpid()}\\n")
        if step == self.at and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            states = self.folder / "run" / fingerprint(snapshot, task, params) / "states"
            whole = sorted(states.glob("step-*"))[-1]
            torn = states / "step-000000999"
            shutil.copytree(whole, torn)
            data = torn / "state.safetensors"
            data.write_bytes(data.read_bytes()[: random.Random(self.at).randrange(data.stat().st_size)])
            os.kill(os.getpid(), signal.SIGKILL)

def run(name, at):
    folder = root / name
    folder.mkdir(parents=True)
    model = train_on_ray(snapshot, task, params, folder / "run", Killer(folder, at))
    table, y = model.predict(snapshot), floats(actuals["y"])
    loss = sum(float(np.maximum(q * (y - floats(table[f"q{q:g}"])), (q - 1) * (y - floats(table[f"q{q:g}"]))).mean())
               for q in task.quantiles)
    state = CheckpointFolder(folder / "run" / fingerprint(snapshot, task, params) / "states").latest()
    rows = [line.split() for line in (folder / "steps").read_text().splitlines()]
    return {"loss": loss, "visited": state.visited, "step": state.step, "killed": (folder / "killed").exists(),
            "steps": [int(row[0]) for row in rows], "processes": len({row[2] for row in rows}),
            "last": float(rows[-1][1])}

for _ in range(5):  # a busy machine may not start a node within Ray's 30 s
    try:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                 logging_level="error", object_store_memory=100 * 1024 * 1024)
        break
    except Exception:
        ray.shutdown()
print(json.dumps(run("undisturbed", -1)), flush=True)
for number in range(trials):
    print(json.dumps(run(f"trial-{number}", 2 * random.Random(number).randrange(2, 19))), flush=True)
ray.shutdown()
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("trials", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_when_a_worker_is_killed_in_mid_epoch_then_training_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path, trials
):
    toy = Path(__file__).parents[1] / "models" / "conftest.py"
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(toy), str(tmp_path), str(trials)],
        capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    undisturbed, *disturbed = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert len(disturbed) == trials
    for found in disturbed:
        assert found["killed"]
        assert found["processes"] == 2  # rank 0 was another process afterwards
        assert found["visited"] == undisturbed["visited"]
        assert found["step"] == undisturbed["step"] == 40
        repeated = [step for step in found["steps"] if found["steps"].count(step) > 1]
        assert len(repeated) <= 2, "it went on from the last good state, not from the beginning"
        assert found["loss"] == pytest.approx(undisturbed["loss"], abs=1e-6)
        assert found["last"] == pytest.approx(undisturbed["last"], abs=1e-6)

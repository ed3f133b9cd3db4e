from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from models.tft.training import fit
from quantis.types.jobs import TftParams

PARAMS = TftParams(hidden_size=8, dropout=0, encoder_length=12, batch_size=8, steps=4, seed=3)

WORKER = """
import importlib.util, sys
import torch
from safetensors.numpy import save_file
from models.tft.training import fit
from quantis.types.jobs import TftParams

class Gloo:
    rank, world_size = int(sys.argv[1]), 2
    def wrap(self, module):
        return torch.nn.parallel.DistributedDataParallel(module)

spec = importlib.util.spec_from_file_location("toy", sys.argv[4])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=Gloo.rank, world_size=2)
task = toy._task(h=6, season_lengths=(24,))
snapshot, _ = toy._snapshot(task, {"a": 80, "b": 80})
model = fit(snapshot, task, TftParams.model_validate_json(sys.argv[5]), Gloo())
save_file(model.parts().tensors, sys.argv[3])
torch.distributed.destroy_process_group()
"""


def test_when_two_workers_train_then_both_end_with_the_weights_of_one_with_twice_the_batch(
    make_task, make_snapshot, tmp_path
):
    toy = Path(__file__).with_name("conftest.py")
    results = [tmp_path / f"{rank}.safetensors" for rank in range(2)]
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WORKER,
                str(rank),
                str(tmp_path / "meet"),
                str(path),
                str(toy),
                PARAMS.model_dump_json(),
            ]
        )
        for rank, path in enumerate(results)
    ]
    task = make_task(h=6, season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 80, "b": 80})
    alone = fit(snapshot, task, PARAMS.model_copy(update={"batch_size": 16})).parts().tensors
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    first, second = (load_file(path) for path in results)
    assert first.keys() == alone.keys()
    for name, values in alone.items():
        assert np.array_equal(first[name], second[name]), name
        assert np.allclose(first[name], values, atol=2e-4), name

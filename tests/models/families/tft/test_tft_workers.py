from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.shard import TrainingShard
from models.families.tft.shared_encoder import HistoryIndex
from models.families.tft.training import fit
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, dropout=0, encoder_length=48, batch_size=8, steps=4, seed=3)

LENGTHS = {"a": 150, "b": 120, "c": 160}
WORKER = """
import importlib.util, sys
import torch
from safetensors.numpy import save_file
from models.families.tft.training import fit
from quantis.types.job_specs import TftParams

class Gloo:
    rank, world_size = int(sys.argv[1]), 2
    def wrap(self, module):
        return torch.nn.parallel.DistributedDataParallel(module)
    def total(self, values):
        torch.distributed.all_reduce(values)
        return values

spec = importlib.util.spec_from_file_location("toy", sys.argv[4])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=Gloo.rank, world_size=2)
LENGTHS = {"a": 150, "b": 120, "c": 160}
task = toy._task(h=6, season_lengths=(24,))
snapshot, _ = toy._snapshot(task, LENGTHS)
told = open(sys.argv[3] + ".losses", "w")
params = TftParams.model_validate_json(sys.argv[5])
model = fit(snapshot, task, params, Gloo(), progress=lambda _, loss: print(loss, file=told))
told.close()
save_file(model.parts().tensors, sys.argv[3])
torch.distributed.destroy_process_group()
"""


def test_when_two_workers_train_then_both_end_with_the_weights_of_one_with_twice_the_batch(
    make_task, make_snapshot, tmp_path
):
    toy = Path(__file__).parents[2] / "conftest.py"
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
    snapshot, _ = make_snapshot(task, LENGTHS)
    params, losses = PARAMS.model_copy(update={"batch_size": 2 * PARAMS.batch_size}), []
    alone = fit(snapshot, task, params, progress=lambda _, loss: losses.append(loss)).parts().tensors
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    first, second = (load_file(path) for path in results)
    assert first.keys() == alone.keys()
    for path in results:
        reported = [float(line) for line in Path(f"{path}.losses").read_text().split()]
        assert reported == pytest.approx(losses, abs=1e-5)
    for name, values in alone.items():
        assert np.array_equal(first[name], second[name]), name
        if name != "network.attention.key_value.bias":  # attention is blind to it: its gradient is noise
            assert np.allclose(first[name], values, atol=5e-3), (
                name
            )  # Adam makes steps of the least gradients


def test_when_series_are_dealt_to_workers_then_each_window_is_one_workers_and_one_only(
    make_task, make_snapshot
):
    task = make_task(h=6, season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 150, "b": 120, "c": 160, "d": 20, "e": 140})
    encoding = InputEncoding.from_snapshot(snapshot, task)
    scales, histories = SeriesScales.from_snapshot(snapshot, encoding), HistoryIndex.from_snapshot(snapshot)
    shards = [
        TrainingShard.from_snapshot(
            snapshot, task, PARAMS, encoding=encoding, scales=scales, histories=histories, worker=(rank, 3)
        )
        for rank in range(3)
    ]
    whole = TrainingShard.from_snapshot(
        snapshot, task, PARAMS, encoding=encoding, scales=scales, histories=histories, worker=(0, 1)
    )
    indices = torch.arange(whole.count)
    _, target = whole.batch(indices)
    parts = torch.cat([shard.batch(indices)[1] for shard in shards])
    assert whole.sharing.origins > 1
    assert sum(shard.loaded[1] - shard.loaded[0] for shard in shards) == 5
    assert torch.equal(parts, target) or torch.allclose(parts.nan_to_num(), target.nan_to_num(), atol=0)


def test_when_there_are_more_workers_than_series_then_an_idle_one_adds_nothing(make_task, make_snapshot):
    task = make_task(h=6, season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 150})
    encoding = InputEncoding.from_snapshot(snapshot, task)
    scales, histories = SeriesScales.from_snapshot(snapshot, encoding), HistoryIndex.from_snapshot(snapshot)
    shards = [
        TrainingShard.from_snapshot(
            snapshot, task, PARAMS, encoding=encoding, scales=scales, histories=histories, worker=(rank, 2)
        )
        for rank in range(2)
    ]
    targets = [shard.batch(torch.arange(shard.count))[1] for shard in shards]
    assert sorted(bool(torch.isfinite(target).any()) for target in targets) == [False, True]

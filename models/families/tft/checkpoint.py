"""The state of an unfinished training on disk: written whole or not at all, read only if it is as written."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import load, save
from torch import nn

from quantis.files import sync_folder, write_synced
from quantis.panel import Snapshot, Task
from quantis.types.job_specs import TftParams

_KEPT = 2
_STATE, _MANIFEST = "state.safetensors", "manifest.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class TrainingState:
    """Everything that training needs to go on: order, dropout and learning rate follow from `step` and the seed.

    `step` is how many are done, `loss` their sum since the last report, `visited` a hash over every window of
    every step; tensors are `network.*` and Adam's `adam.<parameter>.*`.
    """

    step: int
    loss: float
    visited: str
    tensors: dict[str, torch.Tensor]

    @classmethod
    def from_training(
        cls, step: int, loss: float, visited: str, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> TrainingState:
        network = _bare(module)
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            moments = optimizer.state[parameter]
            tensors |= {f"adam.{name}.{kind}": moments[kind] for kind in _MOMENTS if kind in moments}
        return cls(
            step, loss, visited, {name: value.detach().cpu().clone() for name, value in tensors.items()}
        )

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        network = _bare(module)
        network.load_state_dict({n[8:]: t for n, t in self.tensors.items() if n.startswith("network.")})
        for name, parameter in network.named_parameters():
            found = {kind: self.tensors.get(f"adam.{name}.{kind}") for kind in _MOMENTS}
            moments = {kind: value for kind, value in found.items() if value is not None}
            optimizer.state[parameter] = {
                kind: value.clone().to(
                    parameter.device if value.ndim or optimizer.defaults["fused"] else "cpu"
                )
                for kind, value in moments.items()
            }


class CheckpointFolder:
    """The checkpoints of one training in a folder of its own; one process writes, all may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: TrainingState) -> Path:
        """Commit a state: temporary folder, fsync, rename; older ones but one are removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        final = self._folder / f"step-{state.step:09}"
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self._folder))
        data = save(state.tensors)
        manifest = {
            "step": state.step, "loss": state.loss, "visited": state.visited,
            "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        for name, content in ((_STATE, data), (_MANIFEST, json.dumps(manifest).encode())):
            write_synced(temporary / name, content)
        sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)  # a torn one of the same step
        temporary.rename(final)
        sync_folder(self._folder)
        self._clear()
        return final

    def latest(self) -> TrainingState | None:
        """The newest that is whole, and None if there is none."""
        for folder in sorted(self._folder.glob("step-*"), reverse=True):
            state = _read(folder)
            if state is not None:
                return state
        return None

    def _clear(self) -> None:
        for folder in sorted(self._folder.glob("step-*"))[:-_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._folder.glob(".unfinished-*"):
            shutil.rmtree(folder, ignore_errors=True)


def fingerprint(snapshot: Snapshot, task: Task, params: TftParams, parent: str = "") -> str:
    """A name for this very training: same data, task, parameters and parent."""
    history = snapshot.history
    found = hashlib.sha256(json.dumps([task.model_dump_json(exclude={"as_of"}), parent]).encode())
    found.update(params.model_dump_json().encode())
    for name in history.column_names:
        for chunk in history[name].chunks:
            for buffer in pa.concat_arrays([chunk]).buffers():
                found.update(buffer or b"")
    return found.hexdigest()[:16]


def _read(folder: Path) -> TrainingState | None:
    """The state, unless a file is missing, cut or changed."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
        data = (folder / _STATE).read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            return None
        return TrainingState(manifest["step"], manifest["loss"], manifest["visited"], load(data))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bare(module: nn.Module) -> nn.Module:
    """The network inside of a DistributedDataParallel."""
    inner = getattr(module, "module", module)
    assert isinstance(inner, nn.Module)
    return inner

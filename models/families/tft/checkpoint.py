"""Checkpoints of an unfinished training: written whole or not at all, read only if their hash still agrees."""

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

_CHECKPOINTS = 2  # that stay
_STATE, _MANIFEST = "state.safetensors", "manifest.json"
_ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class TrainingState:
    """State from which training goes on: order, dropout and learning rate follow from `step` and the seed.

    `step` is the number of steps done, `loss` their sum since the last report, `visited` a hash over the samples of
    all of them; tensors are `network.*` and Adam's `adam.<parameter>.*`.
    """

    step: int
    loss: float
    visited: str
    tensors: dict[str, torch.Tensor]

    @classmethod
    def from_training(
        cls, step: int, loss: float, visited: str, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> TrainingState:
        network = _unwrap(module)
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            state = optimizer.state[parameter]
            tensors |= {f"adam.{name}.{kind}": state[kind] for kind in _ADAM_STATE if kind in state}
        return cls(
            step, loss, visited, {name: value.detach().cpu().clone() for name, value in tensors.items()}
        )

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        network = _unwrap(module)
        network.load_state_dict({n[8:]: t for n, t in self.tensors.items() if n.startswith("network.")})
        for name, parameter in network.named_parameters():
            values = {kind: self.tensors.get(f"adam.{name}.{kind}") for kind in _ADAM_STATE}
            state = {kind: value for kind, value in values.items() if value is not None}
            fused = optimizer.defaults["fused"]  # only then is the step count, a scalar, on the device, too
            optimizer.state[parameter] = {
                kind: value.clone().to(parameter.device if value.ndim or fused else "cpu")
                for kind, value in state.items()
            }


class CheckpointFolder:
    """Folder with the checkpoints of one training; one process writes, all may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint (temporary folder, fsync, rename) and remove all but the last two."""
        self._folder.mkdir(parents=True, exist_ok=True)
        final = self._folder / f"step-{state.step:09}"
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self._folder))
        data = save(state.tensors)
        manifest = {
            "step": state.step,
            "loss": state.loss,
            "visited": state.visited,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, content in ((_STATE, data), (_MANIFEST, json.dumps(manifest).encode())):
            write_synced(temporary / name, content)
        sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)  # a torn one of the same step
        temporary.rename(final)
        sync_folder(self._folder)
        self._clear()
        return final

    def latest(self) -> TrainingState | None:
        """Return the newest state whose files are intact, None without one."""
        for folder in sorted(self._folder.glob("step-*"), reverse=True):
            state = _read(folder)
            if state is not None:
                return state
        return None

    def _clear(self) -> None:
        for folder in sorted(self._folder.glob("step-*"))[:-_CHECKPOINTS]:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._folder.glob(".unfinished-*"):
            shutil.rmtree(folder, ignore_errors=True)


def fingerprint(snapshot: Snapshot, task: Task, params: TftParams, parent: str = "") -> str:
    """Return a hash that is equal for equal data, task (but for `as_of`), parameters and parent."""
    history = snapshot.history
    digest = hashlib.sha256(json.dumps([task.model_dump_json(exclude={"as_of"}), parent]).encode())
    digest.update(params.model_dump_json().encode())
    for name in history.column_names:
        for chunk in history[name].chunks:
            for buffer in pa.concat_arrays([chunk]).buffers():
                digest.update(buffer or b"")
    return digest.hexdigest()[:16]


def _read(folder: Path) -> TrainingState | None:
    """Read a state; None if a file is missing, cut or changed."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
        data = (folder / _STATE).read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            return None
        return TrainingState(manifest["step"], manifest["loss"], manifest["visited"], load(data))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unwrap(module: nn.Module) -> nn.Module:
    """Return the network inside a DistributedDataParallel."""
    inner = getattr(module, "module", module)
    assert isinstance(inner, nn.Module)
    return inner

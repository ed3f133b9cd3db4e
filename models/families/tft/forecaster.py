"""A trained Temporal Fusion Transformer as a forecaster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import ClassVar, Self, TypeVar

import numpy as np
import pyarrow as pa
import torch

from models.arrays import predictions, truncate_history
from models.families.tft.explanation import explanation_table
from models.families.tft.fast_predict import FastPredictor
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import Batch, QuantileNetwork
from models.families.tft.pytorch_forecasting.reference import convert_state
from models.families.tft.time_grid import encode_snapshot
from models.families.tft.windows import WindowTensors
from models.forecaster import Parts
from quantis.panel import Snapshot, Task, Y
from quantis.types.arrays import Floats
from quantis.types.base import Frozen, Timestamp
from quantis.types.job_specs import TftParams

_BATCH = 256
Output = TypeVar("Output")


class TrainingLineage(Frozen):
    """Last `ds` of a model's training, and the version of the model whose weights it went on from."""

    trained_until: Timestamp | None = None
    parent: str = ""


class TftForecaster:
    """The transformer with its inputs and scales; the mean is the area under the network's quantile function."""

    family: ClassVar[str] = "tft"

    def __init__(
        self,
        task: Task,
        params: TftParams,
        encoding: InputEncoding,
        scales: SeriesScales,
        network: QuantileNetwork,
        *,
        lineage: TrainingLineage | None = None,
    ) -> None:
        self.task = task
        self.params = params
        self.encoding = encoding
        self.scales = scales
        self.network = network
        self.lineage = lineage or TrainingLineage()

    @property
    def min_history(self) -> int:
        """Steps that a forecast needs: half an encoder, as in training, or the seasonal lags of the horizon."""
        return max(self.params.encoder_length // 2, *self.encoding.lags, 1)

    @property
    def context_length(self) -> int:
        """The encoder, and the seasonal lags of its first step."""
        return self.params.encoder_length + max(self.encoding.lags, default=0)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        tail = truncate_history(snapshot, self.context_length)
        encoded = encode_snapshot(tail, self.task, self.encoding, self.scales)
        windows = WindowTensors.from_encoded([encoded], self.params.encoder_length, self.task.h)
        scaled = np.concatenate([output.numpy() for output in self._run(windows, self._quantiles)])
        fan = np.sort(scaled * encoded.scale[:, None, 1:] + encoded.scale[:, None, :1], axis=2)
        positive = encoded.lowest >= 0
        fan[positive] = np.maximum(fan[positive], 0.0)
        flat = fan.reshape(-1, len(self.task.quantiles))
        return predictions(
            snapshot.future, mean_of(flat, self.task.quantiles), sorted(self.task.quantiles), flat
        )

    def explain(self, snapshot: Snapshot) -> pa.Table:
        """Return importances of the variables, and attention by lag, for every series and horizon step.

        Columns as `explanation.SCHEMA`; the weights of one kind sum to 1 in each step.
        """
        tail = truncate_history(snapshot, self.context_length)
        encoded = encode_snapshot(tail, self.task, self.encoding, self.scales)
        windows = WindowTensors.from_encoded([encoded], self.params.encoder_length, self.task.h)
        return explanation_table(
            tail, self.encoding, windows, list(self._run(windows, self.network.forward_with_weights))
        )

    def column_shares(self, snapshot: Snapshot) -> dict[str, float]:
        """Return the mean weight of each variable that is a column of the dataset, over series, steps and kinds."""
        weights = self.explain(snapshot)
        means = weights.group_by("variable").aggregate([("weight", "mean")])
        columns = {Y, *self.task.roles.futr_exog, *self.task.roles.hist_exog, *self.task.roles.stat_exog}
        return {
            row["variable"]: float(row["weight_mean"])
            for row in means.to_pylist()
            if row["variable"] in columns
        }

    def _run(self, windows: WindowTensors, network: Callable[[Batch], Output]) -> Iterator[Output]:
        """Yield the network's output for all series, a batch at a time."""
        prediction_windows = windows.prediction_windows()
        with torch.inference_mode():
            for first in range(0, len(prediction_windows), _BATCH):
                batch, _ = windows.batch(prediction_windows[first : first + _BATCH])
                yield network(batch)

    def _quantiles(self, batch: Batch) -> torch.Tensor:
        if len(batch["encoder_lengths"]) == 1 and self._fast_predictor.fits(batch):
            return self._fast_predictor(batch)
        return self.network(batch)

    @cached_property
    def _fast_predictor(self) -> FastPredictor:
        return FastPredictor(self.network, self.params.encoder_length, self.task.h)

    def parts(self) -> Parts:
        config = {
            "params": self.params.model_dump(mode="json"),
            "encoding": self.encoding.model_dump(mode="json"),
            "ids": list(self.scales.ids),
            "lineage": self.lineage.model_dump(mode="json"),
        }
        tensors = {f"network.{n}": t.detach().cpu().numpy() for n, t in self.network.state_dict().items()}
        tensors |= {f"scales.{n}": getattr(self.scales, n) for n in ("series", "overall", "static")}
        return Parts(config, tensors)

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        params = TftParams.model_validate(parts.config["params"])
        encoding = InputEncoding.model_validate(parts.config["encoding"])
        arrays = parts.tensors
        with torch.random.fork_rng():  # the weights drawn here are replaced at once
            network = QuantileNetwork(params, encoding, task.quantiles).eval()
        state = {n[8:]: torch.from_numpy(a.copy()) for n, a in arrays.items() if n.startswith("network.")}
        network.load_state_dict(_current_state(state, network))
        series, overall, static = (
            arrays[f"scales.{n}"].astype(np.float64) for n in ("series", "overall", "static")
        )
        scales = SeriesScales(tuple(parts.config["ids"]), series, overall, static)
        lineage = TrainingLineage.model_validate(parts.config.get("lineage", {}))
        return cls(task, params, encoding, scales, network, lineage=lineage)


def _current_state(state: dict[str, torch.Tensor], network: QuantileNetwork) -> dict[str, torch.Tensor]:
    """Return the network's state; older bundles hold pytorch-forecasting's names under `transformer.`."""
    older = {name[12:]: value for name, value in state.items() if name.startswith("transformer.")}
    return convert_state(older, network.sizes) if older else state


def mean_of(fan: Floats, quantiles: tuple[float, ...]) -> Floats:
    """Return the area under the quantile function, linear between the quantiles and flat beyond them.

    `fan` [rows, quantiles] is sorted. Shape [rows].
    """
    levels = np.array([0.0, *sorted(quantiles), 1.0])
    padded = np.column_stack([fan[:, :1], fan, fan[:, -1:]])
    return np.trapezoid(padded, levels, axis=1)

"""A transformer that pytorch-forecasting trained, as a forecaster: its weights, and its scalers as numbers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from models.arrays import floats, predictions
from models.families.tft.forecaster import mean_of
from models.families.tft.network import Batch, NetworkSizes, TftNetwork
from models.forecaster import Parts
from quantis.frequency import to_datetime64
from quantis.panel import DS, ID, Snapshot, Task, Y, series_slices, times_of
from quantis.types.arrays import Floats
from quantis.types.base import Frozen, Timestamp

Kind = Literal["column", "target", "center", "spread", "time", "relative_time", "encoder_length"]
Transformation = Literal["none", "softplus", "relu"]
_BATCH = 256


class NumericInput(Frozen):
    """A numeric input: its source, and the mean and spread that scale it."""

    name: str
    kind: Kind
    mean: float = 0.0
    spread: float = 1.0


class CategoricalInput(Frozen):
    """A categorical input; `values` by code, the unknown one included where training had one."""

    name: str
    values: tuple[str, ...]


class ConversionRecipe(Frozen):
    """Rules that make the network's input from a snapshot. Inputs by role: static, known, observed."""

    encoder_length: int
    min_encoder_length: int
    numbers: tuple[tuple[NumericInput, ...], tuple[NumericInput, ...], tuple[NumericInput, ...]]
    categories: tuple[
        tuple[CategoricalInput, ...], tuple[CategoricalInput, ...], tuple[CategoricalInput, ...]
    ]
    scales: dict[str, tuple[float, float]]
    otherwise: tuple[float, float]
    transformation: Transformation = "none"
    time_zero: Timestamp | None = None
    hidden: int
    continuous: int
    heads: int
    embeddings: tuple[tuple[int, int], ...]

    def sizes(self, quantiles: int) -> NetworkSizes:
        static_numbers, known_numbers, observed_numbers = self.numbers
        reals = len(static_numbers), len(known_numbers), len(observed_numbers)
        static_codes, known_codes, observed_codes = self.categories
        codes = len(static_codes), len(known_codes), len(observed_codes)
        return NetworkSizes(
            self.hidden, self.continuous, self.heads, 0.0, quantiles, reals, codes, self.embeddings
        )


class ConvertedTft:
    """A converted transformer as a forecaster, with its network and the recipe of its inputs."""

    family: ClassVar[str] = "tft_converted"

    def __init__(self, task: Task, recipe: ConversionRecipe, network: TftNetwork) -> None:
        self.task = task
        self.recipe = recipe
        self.network = network.eval()

    @property
    def min_history(self) -> int:
        return max(1, self.recipe.min_encoder_length)

    @property
    def context_length(self) -> int:
        return self.recipe.encoder_length

    def predict(self, snapshot: Snapshot) -> pa.Table:
        rows = dict(series_slices(snapshot.history[ID]))
        names = [name for name, _ in series_slices(snapshot.future[ID])]
        inputs = _Inputs(self.recipe, self.task, snapshot)
        blocks = []
        with torch.inference_mode():
            for first in range(0, len(names), _BATCH):
                series = [(name, rows.get(name, slice(0, 0))) for name in names[first : first + _BATCH]]
                batch, scale = inputs.batch(first, series)
                scaled = self.network(batch).numpy().astype(np.float64)  # [batch, h, quantiles]
                values = scaled * scale[:, None, 1:] + scale[:, None, :1]
                blocks.append(_transform_back(values, self.recipe.transformation))
        fan = np.sort(np.concatenate(blocks), axis=2).reshape(-1, len(self.task.quantiles))
        ordered = tuple(sorted(self.task.quantiles))
        return predictions(snapshot.future, mean_of(fan, ordered), ordered, fan)

    def parts(self) -> Parts:
        tensors = {name: tensor.detach().numpy() for name, tensor in self.network.state_dict().items()}
        return Parts({"recipe": self.recipe.model_dump(mode="json")}, tensors)

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        recipe = ConversionRecipe.model_validate(parts.config["recipe"])
        with torch.random.fork_rng():
            network = TftNetwork(recipe.sizes(len(task.quantiles)))
        network.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in parts.tensors.items()})
        return cls(task, recipe, network)


class _Inputs:
    """Columns of a snapshot, and batches of series made from them."""

    def __init__(self, recipe: ConversionRecipe, task: Task, snapshot: Snapshot) -> None:
        self.recipe, self.task, self.snapshot = recipe, task, snapshot
        self.y = _fill_forward(floats(snapshot.history[Y]))
        self.times = times_of(snapshot.history[DS]), times_of(snapshot.future[DS])

    def batch(self, first: int, series: list[tuple[str, slice]]) -> tuple[Batch, Floats]:
        """Return the input of the series from number `first` on, given their rows, and their scales [series, 2]."""
        recipe, h = self.recipe, self.task.h
        lengths = np.array([max(1, min(r.stop - r.start, recipe.encoder_length)) for _, r in series])
        longest = int(lengths.max())
        numbers = np.zeros((len(series), longest + h, sum(map(len, recipe.numbers))), np.float32)
        codes = np.zeros((len(series), longest + h, sum(map(len, recipe.categories))), np.int64)
        scale = np.array([recipe.scales.get(name, recipe.otherwise) for name, _ in series])
        for index, (name, rows) in enumerate(series):
            history = slice(max(rows.start, rows.stop - recipe.encoder_length), rows.stop)
            horizon = slice((first + index) * h, (first + index + 1) * h)
            begin = longest - (
                history.stop - history.start
            )  # histories end at the same step, padding in front
            for column, number in enumerate(n for role in recipe.numbers for n in role):
                values = self._number(
                    number, name, history, horizon, scale=scale[index], length=int(lengths[index])
                )
                numbers[index, begin : begin + len(values), column] = (values - number.mean) / number.spread
            for column, category in enumerate(c for role in recipe.categories for c in role):
                category_codes = self._codes(category, name, history, horizon)
                codes[index, begin : begin + len(category_codes), column] = category_codes
        return self._by_role(numbers, codes, longest, lengths), scale

    def _by_role(
        self,
        numbers: npt.NDArray[np.float32],
        codes: npt.NDArray[np.int64],
        longest: int,
        lengths: npt.NDArray[np.int64],
    ) -> Batch:
        """Cut numbers and codes [batch, longest + h, inputs] into the tensors that the network reads."""
        batch = {"encoder_lengths": torch.from_numpy(lengths)}
        for kind, values, static in (
            ("cont", numbers, len(self.recipe.numbers[0])),
            ("cat", codes, len(self.recipe.categories[0])),
        ):
            tensor = torch.from_numpy(values)
            batch[f"static_{kind}"] = tensor[:, longest, :static]
            batch[f"encoder_{kind}"] = tensor[:, :longest, static:]
            batch[f"decoder_{kind}"] = tensor[:, longest:, static:]
        return batch

    def _number(
        self, number: NumericInput, name: str, history: slice, horizon: slice, *, scale: Floats, length: int
    ) -> Floats:
        """Return a number's unscaled values in history and horizon; shorter where the horizon is unknown."""
        h, steps = self.task.h, history.stop - history.start
        match number.kind:
            case "target":
                return (_transform(self.y[history], self.recipe.transformation) - scale[0]) / scale[1]
            case "center" | "spread":
                return np.full(steps + h, scale[int(number.kind == "spread")])
            case "encoder_length":
                full = self.recipe.encoder_length
                return np.full(steps + h, (length - 0.5 * full) / full * 2.0)
            case "relative_time":
                return np.arange(-steps, h) / self.recipe.encoder_length
            case "time":
                zero = to_datetime64(self.recipe.time_zero)  # type: ignore[arg-type]
                times = np.concatenate([self.times[0][history], self.times[1][horizon]])
                return self.task.frequency.steps_between(zero, times).astype(np.float64)
        snapshot = self.snapshot
        if number.name in snapshot.static.column_names:
            value = _static_value(snapshot.static, name, number.name)
            return np.full(steps + h, np.nan_to_num(float(value) if value is not None else np.nan))
        values = [floats(snapshot.history[number.name].slice(history.start, steps))]
        if number.name in snapshot.future.column_names:
            values.append(floats(snapshot.future[number.name].slice(horizon.start, h)))
        return _fill_forward(np.concatenate(values))

    def _codes(
        self, category: CategoricalInput, name: str, history: slice, horizon: slice
    ) -> npt.NDArray[np.int64]:
        snapshot, h, steps = self.snapshot, self.task.h, history.stop - history.start
        categories = pa.array(category.values, pa.string())
        if category.name in snapshot.static.column_names:
            value = _static_value(snapshot.static, name, category.name)
            code = category.values.index(str(value)) if str(value) in category.values else 0
            return np.full(steps + h, code)
        columns = [snapshot.history[category.name].slice(history.start, steps)]
        if category.name in snapshot.future.column_names:
            columns.append(snapshot.future[category.name].slice(horizon.start, h))
        codes = [pc.index_in(c.cast(pa.string()), categories).fill_null(0).to_numpy() for c in columns]
        return np.concatenate(codes).astype(np.int64)


def _static_value(static: pa.Table, name: str, column: str) -> Any:
    """Return a series' static value, None without a row."""
    row = pc.index(static[ID].cast(pa.string()), pa.scalar(name)).as_py()
    return None if row < 0 else static[column][row].as_py()


def _fill_forward(values: Floats) -> Floats:
    """Fill each gap with the value before it, 0 without one. Shape [steps]."""
    last_valid = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return np.nan_to_num(values[last_valid]) if len(values) else values


def _transform(y: Floats, transformation: Transformation) -> Floats:
    """Transform a target as the library does before it is scaled."""
    if transformation != "softplus":
        return y
    small = np.minimum(y, 20.0) + np.finfo(np.float64).eps
    return np.where(y > 20.0, y, y + np.log(-np.expm1(-small)))


def _transform_back(y: Floats, transformation: Transformation) -> Floats:
    match transformation:
        case "softplus":
            return np.logaddexp(0.0, y)
        case "relu":
            return np.maximum(y, 0.0)
    return y

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
    """A numeric input: where it comes from, and the mean and spread that scale it."""

    name: str
    kind: Kind
    mean: float = 0.0
    spread: float = 1.0


class CategoricalInput(Frozen):
    """A categorical input; `values` by code, the unknown one included where training had one."""

    name: str
    values: tuple[str, ...]


class ConversionRecipe(Frozen):
    """How a snapshot becomes the network's input. Inputs by role: static, known, observed."""

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
        static, known, observed = self.numbers
        reals = len(static), len(known), len(observed)
        static_codes, known_codes, observed_codes = self.categories
        codes = len(static_codes), len(known_codes), len(observed_codes)
        return NetworkSizes(
            self.hidden, self.continuous, self.heads, 0.0, quantiles, reals, codes, self.embeddings
        )


class ConvertedTft:
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
        found = []
        with torch.inference_mode():
            for first in range(0, len(names), _BATCH):
                some = [(name, rows.get(name, slice(0, 0))) for name in names[first : first + _BATCH]]
                batch, scale = inputs.batch(first, some)
                scaled = self.network(batch).numpy().astype(np.float64)
                found.append(
                    _back(scaled * scale[:, None, 1:] + scale[:, None, :1], self.recipe.transformation)
                )
        fan = np.sort(np.concatenate(found), axis=2).reshape(-1, len(self.task.quantiles))
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
    """The columns of a snapshot, and batches of series made from them."""

    def __init__(self, recipe: ConversionRecipe, task: Task, snapshot: Snapshot) -> None:
        self.recipe, self.task, self.snapshot = recipe, task, snapshot
        self.y = _filled(floats(snapshot.history[Y]))
        self.times = times_of(snapshot.history[DS]), times_of(snapshot.future[DS])

    def batch(self, first: int, series: list[tuple[str, slice]]) -> tuple[Batch, Floats]:
        """Of the series from number `first` on, with their rows of history: the input, and [series, 2] scales."""
        recipe, h = self.recipe, self.task.h
        lengths = np.array([max(1, min(r.stop - r.start, recipe.encoder_length)) for _, r in series])
        past = int(lengths.max())
        numbers = np.zeros((len(series), past + h, sum(map(len, recipe.numbers))), np.float32)
        codes = np.zeros((len(series), past + h, sum(map(len, recipe.categories))), np.int64)
        scale = np.array([recipe.scales.get(name, recipe.otherwise) for name, _ in series])
        for place, (name, rows) in enumerate(series):
            there = slice(max(rows.start, rows.stop - recipe.encoder_length), rows.stop)
            ahead = slice((first + place) * h, (first + place + 1) * h)
            begin = past - (there.stop - there.start)
            for column, number in enumerate(n for role in recipe.numbers for n in role):
                values = self._number(number, name, there, ahead, scale[place], int(lengths[place]))
                numbers[place, begin : begin + len(values), column] = (values - number.mean) / number.spread
            for column, category in enumerate(c for role in recipe.categories for c in role):
                found = self._codes(category, name, there, ahead)
                codes[place, begin : begin + len(found), column] = found
        return self._by_role(numbers, codes, past, lengths), scale

    def _by_role(
        self,
        numbers: npt.NDArray[np.float32],
        codes: npt.NDArray[np.int64],
        past: int,
        lengths: npt.NDArray[np.int64],
    ) -> Batch:
        found = {"encoder_lengths": torch.from_numpy(lengths)}
        for kind, values, static in (
            ("cont", numbers, len(self.recipe.numbers[0])),
            ("cat", codes, len(self.recipe.categories[0])),
        ):
            tensor = torch.from_numpy(values)
            found[f"static_{kind}"] = tensor[:, past, :static]
            found[f"encoder_{kind}"] = tensor[:, :past, static:]
            found[f"decoder_{kind}"] = tensor[:, past:, static:]
        return found

    def _number(
        self, number: NumericInput, name: str, past: slice, ahead: slice, scale: Floats, length: int
    ) -> Floats:
        """A number's unscaled values in this history and horizon; shorter where the horizon is not known."""
        h, steps = self.task.h, past.stop - past.start
        match number.kind:
            case "target":
                return (_forth(self.y[past], self.recipe.transformation) - scale[0]) / scale[1]
            case "center" | "spread":
                return np.full(steps + h, scale[int(number.kind == "spread")])
            case "encoder_length":
                longest = self.recipe.encoder_length
                return np.full(steps + h, (length - 0.5 * longest) / longest * 2.0)
            case "relative_time":
                return np.arange(-steps, h) / self.recipe.encoder_length
            case "time":
                zero = to_datetime64(self.recipe.time_zero)  # type: ignore[arg-type]
                times = np.concatenate([self.times[0][past], self.times[1][ahead]])
                return self.task.frequency.steps_between(zero, times).astype(np.float64)
        snapshot = self.snapshot
        if number.name in snapshot.static.column_names:
            value = _of_series(snapshot.static, name, number.name)
            return np.full(steps + h, np.nan_to_num(float(value) if value is not None else np.nan))
        values = [floats(snapshot.history[number.name].slice(past.start, steps))]
        if number.name in snapshot.future.column_names:
            values.append(floats(snapshot.future[number.name].slice(ahead.start, h)))
        return _filled(np.concatenate(values))

    def _codes(
        self, category: CategoricalInput, name: str, past: slice, ahead: slice
    ) -> npt.NDArray[np.int64]:
        snapshot, h, steps = self.snapshot, self.task.h, past.stop - past.start
        known = pa.array(category.values, pa.string())
        if category.name in snapshot.static.column_names:
            value = _of_series(snapshot.static, name, category.name)
            code = category.values.index(str(value)) if str(value) in category.values else 0
            return np.full(steps + h, code)
        columns = [snapshot.history[category.name].slice(past.start, steps)]
        if category.name in snapshot.future.column_names:
            columns.append(snapshot.future[category.name].slice(ahead.start, h))
        found = [pc.index_in(c.cast(pa.string()), known).fill_null(0).to_numpy() for c in columns]
        return np.concatenate(found).astype(np.int64)


def _of_series(static: pa.Table, name: str, column: str) -> Any:
    place = pc.index(static[ID].cast(pa.string()), pa.scalar(name)).as_py()
    return None if place < 0 else static[column][place].as_py()


def _filled(values: Floats) -> Floats:
    """Each gap takes the value before it, and 0 where there is none."""
    seen = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return np.nan_to_num(values[seen]) if len(values) else values


def _forth(y: Floats, transformation: Transformation) -> Floats:
    """As the library transforms a target before it is scaled."""
    if transformation != "softplus":
        return y
    small = np.minimum(y, 20.0) + np.finfo(np.float64).eps
    return np.where(y > 20.0, y, y + np.log(-np.expm1(-small)))


def _back(y: Floats, transformation: Transformation) -> Floats:
    match transformation:
        case "softplus":
            return np.logaddexp(0.0, y)
        case "relu":
            return np.maximum(y, 0.0)
    return y

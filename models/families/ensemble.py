"""Several forecasters as one: the weighted mean of their quantiles, weights and intervals from the backtest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.arrays import each_series, floats, keep_series, predictions
from models.evaluation.evaluated import Rows
from models.forecaster import Forecaster, Parts, quantile_column
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task
from quantis.types.arrays import Floats

_ROUNDS = 25
_BAGS = 10
_SEED = 7
_LEAST = 0.03  # a member that counts for less is left out: it would cost more than it gives


def weigh(members: Mapping[str, Rows], reference: Rows) -> dict[str, float]:
    """Weights of at least 0.03 that sum to 1, by what each member's medians did on the same rows.

    Greedy selection with replacement over bags of (series, window) pairs (Caruana et al., 2004, 2006). The
    loss is the sum of scaled and of absolute error, each over that of `reference`, so neither large
    series nor jumpy ones decide alone.
    """
    names = sorted(members)
    medians = np.stack([members[name].median for name in names])
    weight = _row_weights(reference)
    pairs, pair = np.unique(reference.group, return_inverse=True)
    draw = np.random.default_rng(_SEED)
    total = np.zeros(len(names))
    for _ in range(_BAGS):
        drawn = np.bincount(draw.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        total += _greedy(medians, reference.y, weight * drawn[pair])
    total /= total.sum()
    total = np.where(total < _LEAST, 0.0, total)
    total /= total.sum()
    return {name: float(share) for name, share in zip(names, total, strict=True) if share > 0}


def _greedy(medians: Floats, y: Floats, weight: Floats) -> Floats:
    """How often each member was taken. Shape [members]."""
    taken, held = np.zeros(len(medians)), np.zeros(len(y))
    for round_ in range(1, _ROUNDS + 1):
        losses = np.abs(y - (held + medians) / round_) @ weight
        best = int(np.argmin(losses))
        taken[best] += 1
        held += medians[best]
    return taken


def _row_weights(reference: Rows) -> Floats:
    scale = np.where(reference.absolute_scale > 0, reference.absolute_scale, np.inf)
    scaled = 1 / np.nan_to_num(scale, nan=np.inf)
    error = np.abs(reference.y - reference.median)
    parts = [(scaled, float(scaled @ error)), (np.ones(len(error)), float(error.sum()))]
    return sum((each / size for each, size in parts if size > 0), np.full(len(error), 1e-12))


def blend(tables: Sequence[tuple[float, pa.Table]]) -> pa.Table:
    """The weighted mean of every number of tables with the same keys in the same order."""
    total = sum(weight for weight, _ in tables)
    first = tables[0][1]
    mixed = first
    for name in first.column_names:
        if name == "mean" or name.startswith("q"):
            values = sum(weight * floats(table[name]) for weight, table in tables) / total
            mixed = mixed.set_column(mixed.column_names.index(name), name, pa.array(values))
    return mixed


class Ensemble:
    """Fitted members and their weights; a series too short for some is answered by the others."""

    family: ClassVar[str] = "ensemble"

    def __init__(self, task: Task, members: Sequence[tuple[float, Forecaster]]) -> None:
        if not members or min(weight for weight, _ in members) <= 0:
            raise InvalidInput("an ensemble needs members, each with a weight above 0")
        self.task = task
        self.members = list(members)

    @property
    def min_history(self) -> int:
        """That of the least demanding member: a short series is answered by the members that can."""
        return min(member.min_history for _, member in self.members)

    @property
    def context_length(self) -> int:
        return max(member.context_length for _, member in self.members)

    def predict(self, snapshot: Snapshot) -> pa.Table:
        lengths = np.array([len(series.y) for series in each_series(snapshot)])
        names = [series.unique_id for series in each_series(snapshot)]
        columns = ["mean", *(quantile_column(q) for q in sorted(self.task.quantiles))]
        total = np.zeros((len(names), self.task.h, len(columns)))
        weights = np.zeros(len(names))
        for weight, member in self.members:
            able = lengths >= member.min_history
            if not able.any():
                continue
            some = (
                snapshot
                if able.all()
                else keep_series(snapshot, [n for n, a in zip(names, able, strict=True) if a])
            )
            table = member.predict(some)
            numbers = np.stack([floats(table[name]) for name in columns], axis=1)
            total[able] += weight * numbers.reshape(-1, self.task.h, len(columns))
            weights[able] += weight
        if not weights.all():
            shortest = int(lengths[weights == 0].min())
            raise InvalidInput(
                f"{shortest} steps of history; the least demanding member needs {self.min_history}"
            )
        values = (total / weights[:, None, None]).reshape(-1, len(columns))
        return predictions(snapshot.future, values[:, 0], sorted(self.task.quantiles), values[:, 1:])

    def parts(self) -> Parts:
        """The members' parts, each under its number."""
        config: dict[str, Any] = {"members": []}
        tensors: dict[str, npt.NDArray[np.generic]] = {}
        texts: dict[str, str] = {}
        for number, (weight, member) in enumerate(self.members):
            own = member.parts()
            config["members"].append({"family": member.family, "weight": weight, "config": own.config})
            tensors |= {f"{number}.{name}": values for name, values in own.tensors.items()}
            texts |= {f"{number}.{name}": text for name, text in own.texts.items()}
        return Parts(config, tensors, texts)

    @staticmethod
    def members_of(parts: Parts) -> Iterator[tuple[float, str, Parts]]:
        """Each member's weight, family and parts; `models.registry.bundle.restored` makes forecasters of them."""
        for number, one in enumerate(parts.config["members"]):
            prefix = f"{number}."
            tensors = {n.removeprefix(prefix): v for n, v in parts.tensors.items() if n.startswith(prefix)}
            texts = {n.removeprefix(prefix): v for n, v in parts.texts.items() if n.startswith(prefix)}
            yield float(one["weight"]), one["family"], Parts(one["config"], tensors, texts)

    @classmethod
    def from_parts(cls, task: Task, parts: Parts) -> Self:
        """With members of the platform's own families."""
        from models.registry.bundle import FAMILIES, restored

        return cls(task, [(w, restored(name, task, own, FAMILIES)) for w, name, own in cls.members_of(parts)])

"""Several forecasters as one: the weighted mean of their quantiles, weights and intervals from the backtest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.arrays import floats, keep_series, predictions
from models.forecaster import Forecaster, Parts, column_shares, is_univariate, quantile_column
from quantis.errors import InvalidInput
from quantis.panel import Snapshot, Task, Y

RestoreMember = Callable[[str, Task, Parts], Forecaster]
"""Makes a forecaster of a member's family, the task and the member's parts."""


def _refuse_member(family: str, task: Task, parts: Parts) -> Forecaster:
    raise InvalidInput(f"no way to restore the member {family!r}; use models.families.catalogue.restore")


class Ensemble:
    """Fitted members and their weights; a series too short for some is forecast by the others."""

    family: ClassVar[str] = "ensemble"

    def __init__(self, task: Task, members: Sequence[tuple[float, Forecaster]]) -> None:
        if not members or min(weight for weight, _ in members) <= 0:
            raise InvalidInput("an ensemble needs members, each with a weight above 0")
        self.task = task
        self.members = list(members)

    @property
    def min_history(self) -> int:
        """Least of the members': a short series is forecast by the members that can."""
        return min(member.min_history for _, member in self.members)

    @property
    def context_length(self) -> int:
        return max(member.context_length for _, member in self.members)

    @property
    def univariate(self) -> bool:
        return all(is_univariate(member) for _, member in self.members)

    def column_shares(self, snapshot: Snapshot) -> dict[str, float]:
        """Return the members' shares by their weights; one that does not know gives it all to the target."""
        shares: dict[str, float] = {}
        for weight, member in self.members:
            of_member = column_shares(member, snapshot) or {Y: 1.0}
            for column, share in of_member.items():
                shares[column] = shares.get(column, 0.0) + weight * share
        return shares

    def predict(self, snapshot: Snapshot) -> pa.Table:
        names = list(snapshot.future_index.rows)
        lengths = np.array([snapshot.history_index.length(name) for name in names])
        columns = ["mean", *(quantile_column(q) for q in sorted(self.task.quantiles))]
        total = np.zeros((len(names), self.task.h, len(columns)))  # [series, h, mean and quantiles]
        weights = np.zeros(len(names))
        for weight, member in self.members:
            long_enough = lengths >= member.min_history
            if not long_enough.any():
                continue
            ids = [names[index] for index in np.flatnonzero(long_enough)]
            table = member.predict(keep_series(snapshot, ids))
            values = np.stack([floats(table[name]) for name in columns], axis=1)
            total[long_enough] += weight * values.reshape(-1, self.task.h, len(columns))
            weights[long_enough] += weight
        if not weights.all():
            steps = int(lengths[weights == 0].min())
            raise InvalidInput(
                f"{steps} steps of history; the least demanding member needs {self.min_history}"
            )
        values = (total / weights[:, None, None]).reshape(-1, len(columns))
        return predictions(snapshot.future, values[:, 0], sorted(self.task.quantiles), values[:, 1:])

    def parts(self) -> Parts:
        """Return the members' parts, each under its number."""
        config: dict[str, Any] = {"members": []}
        tensors: dict[str, npt.NDArray[np.generic]] = {}
        texts: dict[str, str] = {}
        for number, (weight, member) in enumerate(self.members):
            member_parts = member.parts()
            config["members"].append(
                {"family": member.family, "weight": weight, "config": member_parts.config}
            )
            tensors |= {f"{number}.{name}": values for name, values in member_parts.tensors.items()}
            texts |= {f"{number}.{name}": text for name, text in member_parts.texts.items()}
        return Parts(config, tensors, texts)

    @staticmethod
    def split_members(parts: Parts) -> Iterator[tuple[float, str, Parts]]:
        """Yield each member's weight, family and parts."""
        for number, member in enumerate(parts.config["members"]):
            prefix = f"{number}."
            tensors = {n.removeprefix(prefix): v for n, v in parts.tensors.items() if n.startswith(prefix)}
            texts = {n.removeprefix(prefix): v for n, v in parts.texts.items() if n.startswith(prefix)}
            yield float(member["weight"]), member["family"], Parts(member["config"], tensors, texts)

    @classmethod
    def from_parts(cls, task: Task, parts: Parts, restore: RestoreMember = _refuse_member) -> Self:
        """Return the ensemble; `restore` makes a forecaster of each member's family, task and parts."""
        members = [
            (weight, restore(family, task, member_parts))
            for weight, family, member_parts in cls.split_members(parts)
        ]
        return cls(task, members)

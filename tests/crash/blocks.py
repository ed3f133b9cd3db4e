"""What the killed writers write: small blocks of rows that can be told whole from torn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa

from quantis.types.datasets import DatasetSpec, Roles

SERIES = ("a", "b")
DAYS = 4
OPERATIONS = 20
"""How many operations a dataset gets."""
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", "UTC")

Row = tuple[str, datetime, float, float]


class Fault(NamedTuple):
    """`kind`: lost, torn, doubled or orphan."""

    kind: str
    what: str


def spec(name: str) -> DatasetSpec:
    return DatasetSpec(
        name=name, freq="D", roles=Roles(futr_exog=("price",), stat_exog=("region",), categorical=("region",))
    )


@dataclass(frozen=True)
class Operation:
    """The n-th write to a dataset: an upload or a live append of the next block, or a correction of the one before."""

    number: int

    @property
    def corrects(self) -> bool:
        return self.number % 5 == 4

    @property
    def live(self) -> bool:
        """Whether it is appended as observations, not uploaded as a file."""
        return self.number % 5 in (1, 3)

    @property
    def block(self) -> int:
        return self.number - 1 if self.corrects else self.number

    def rows(self) -> list[Row]:
        shift = 1000.0 if self.corrects else 0.0
        days = range(self.block * DAYS, (self.block + 1) * DAYS)
        return [
            (series, _FIRST + timedelta(days=day), float(day + 10_000 * place) + shift, day / 8 + shift)
            for place, series in enumerate(SERIES)
            for day in days
        ]

    def table(self) -> pa.Table:
        ids, times, values, prices = (list(column) for column in zip(*self.rows(), strict=True))
        return pa.table(
            {
                "unique_id": pa.array(ids, pa.string()),
                "ds": pa.array(times, _TIME),
                "y": pa.array(values, pa.float64()),
                "price": pa.array(prices, pa.float64()),
                "region": pa.array([f"region {series}" for series in ids], pa.string()),
            }
        )


@dataclass
class History:
    """What was tried on one dataset, and what of it was acknowledged, as version number and hash."""

    tried: list[int] = field(default_factory=list)
    acknowledged: dict[int, tuple[int, str]] = field(default_factory=dict)

    def faults(self, number: int, found: Iterable[Row]) -> list[Fault]:
        """What is wrong with the rows of the version that acknowledged operation `number`."""
        rows = sorted(found)
        blocks: dict[int, list[Row]] = {}
        for row in rows:
            blocks.setdefault((row[1] - _FIRST).days // DAYS, []).append(row)
        allowed = self._allowed(number)
        faults = [Fault("torn", f"block {block} was never sent") for block in blocks.keys() - allowed.keys()]
        for block, states in allowed.items():
            if blocks.get(block, []) not in states:
                kind = "torn" if blocks.get(block) else "lost"
                faults.append(Fault(kind, f"block {block} in version {self.acknowledged[number][0]}"))
        return faults

    def _allowed(self, number: int) -> dict[int, list[list[Row]]]:
        """Per block the states that it may be in: an acknowledged write counts, another one may."""
        states: dict[int, list[list[Row]]] = {}
        for one in sorted(set(self.tried)):
            if one > number:
                break
            operation = Operation(one)
            before = [] if one in self.acknowledged else states.get(operation.block, [[]])
            states[operation.block] = [*before, sorted(operation.rows())]
        return states

"""Scored points for tests of experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from quantis.panel import TIMESTAMP

START = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = (0.1, 0.5, 0.9)
SCHEMA = pa.schema(
    [
        ("unique_id", pa.string()), ("cutoff", TIMESTAMP), ("ds", TIMESTAMP), ("known_at", TIMESTAMP),
        ("y", pa.float64()), ("mean", pa.float64()), ("scale", pa.float64()), ("levels", pa.list_(pa.float64())),
        ("values", pa.list_(pa.float64())),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One scored step: `day` of the cutoff, and the forecast's quantiles at LEVELS."""

    series: str = "a"
    day: int = 0
    step: int = 1
    y: float = 10.0
    quantiles: tuple[float, ...] = (8.0, 10.0, 12.0)
    levels: tuple[float, ...] = LEVELS
    scale: float = 1.0
    known_after: timedelta = field(default=timedelta(hours=6))

    def row(self) -> dict[str, Any]:
        cutoff = START + timedelta(days=self.day)
        ds = cutoff + timedelta(days=self.step)
        return {
            "unique_id": self.series, "cutoff": cutoff, "ds": ds, "known_at": ds + self.known_after, "y": self.y,
            "mean": self.quantiles[len(self.quantiles) // 2], "scale": self.scale, "levels": list(self.levels),
            "values": list(self.quantiles),
        }  # fmt: skip


def score_table(points: Iterable[Point]) -> pa.Table:
    return pa.Table.from_pylist([point.row() for point in points], schema=SCHEMA)


def grid(series: int, days: int, h: int) -> Iterator[tuple[str, int, int]]:
    for name in range(series):
        for day in range(days):
            for step in range(1, h + 1):
                yield f"s{name}", day, step

"""Adaptive calibration: widths of intervals that follow scored actuals, on top of a bundle's own calibration.

Conformal PID control (Angelopoulos, Candes and Tibshirani, 2023) of the logarithm of the factor that scales
quantiles about their median. The proportional part tracks a quantile of the scores (Gibbs and Candes, 2021): a step up
for scores beyond the factor, a smaller one down for the others. The integral part adds what the issued intervals missed
of late. Differences to the paper: logarithms, so that steps need no scale; segments of the horizon that move each
other, since a change rarely meets one alone; scores are compared with the factor of now, not with that of their
issue, so that the delay of h steps does not make it swing; points that become known together make one step, since
they share their accidents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from models.arrays import floats, quantile_columns
from models.postprocessing.calibration import (
    MAX_FACTOR,
    Calibration,
    central_interval,
    nominal_coverage,
    nonconformity_scores,
)
from quantis.panel import DS, ID, Y, single_chunk, times_of
from quantis.types.arrays import Floats, Integers, Mask
from quantis.types.base import Frozen

MAX_SEGMENTS = 4
_STEP, _MAX_STEP = 0.08, 0.7  # of the logarithm, per point and for all points of one time
_COUPLING = 0.5  # share of a step that the other segments take with it
_INTEGRAL = 1.5  # of the logarithm, per share of points missed of late beyond the nominal
_MEMORY, _MAX_MEMORY_SHARE = (
    250.0,
    0.15,
)  # points that the integral part remembers; the most that one time weighs
_FEW_POINTS = 100.0  # points of a segment at which half of a step is taken
_POINTS_OF_SERIES = 4  # the most points of one series and time that count
_SERIES_SHARE = 5.0  # a series weighs at most a fifth of an update where others are usually there
_BREADTH_DECAY = 0.99  # per update
_LIMIT = float(np.log(MAX_FACTOR))


@dataclass(frozen=True)
class ScoredPoints:
    """Actuals against the forecasts issued for them, in the order in which they became known; all [points].

    `arrival` numbers the times in that order: points of one number became known together. `score` is the distance of
    the actual from the median, in widths of the interval before adaptive calibration. `missed` is true beyond the
    issued interval, `miscoverage` the share that should be.
    """

    arrival: Integers
    series: Integers
    step: Integers
    score: Floats
    missed: Mask
    miscoverage: Floats

    @classmethod
    def from_table(cls, scores: pa.Table, issued_factors: Floats) -> Self:
        """Return the points of a table of scores that have an interval of some width.

        Parameters
        ----------
        scores
            `unique_id, ds, step, y, known_at, mean, levels, values`; a row per forecast step.
        issued_factors
            The factor of the adaptive calibration under which each row was issued. Shape [rows].
        """
        score, missed, miscoverage = _interval_scores(scores)
        series = single_chunk(scores[ID]).dictionary_encode().indices.to_numpy()
        usable = np.isfinite(score) & np.isfinite(miscoverage)
        known_at, ds = times_of(scores["known_at"]), times_of(scores[DS])
        order = np.lexsort((ds, known_at))  # of what became known at once, the earlier time comes first
        order = order[usable[order]]
        starts = (np.diff(known_at[order]) != np.timedelta64(0)) | (np.diff(ds[order]) != np.timedelta64(0))
        return cls(
            arrival=np.concatenate([[0], np.cumsum(starts)])[: len(order)].astype(np.int64),
            series=series.astype(np.int64)[order],
            step=scores["step"].to_numpy()[order].astype(np.int64),
            score=(score * issued_factors)[order],
            missed=missed[order],
            miscoverage=miscoverage[order],
        )

    def arrivals(self) -> Iterator[slice]:
        """Yield the points of each time at which some became known_at, in order."""
        edges = np.flatnonzero(np.diff(self.arrival)) + 1
        bounds = [0, *edges.tolist(), len(self.arrival)]
        for start, end in pairwise(bounds):
            if end > start:
                yield slice(start, end)


class AdaptiveCalibration(Frozen):
    """The state: a factor for each segment of the horizon, shared by all series. Begins without any change."""

    format: Literal[1] = 1
    ends: tuple[int, ...] = Field(min_length=1, description="The last step of each segment.")
    tracked: tuple[float, ...] = Field(description="Logarithm of the tracked quantile of the scores.")
    excess: tuple[float, ...] = Field(description="Share of points missed of late beyond the nominal.")
    points: tuple[float, ...] = Field(description="Points seen.")
    breadth: float = Field(0.0, description="Series of an update of late.")

    @classmethod
    def initial(cls, h: int) -> Self:
        """Return the state that changes nothing, for a horizon of `h` steps."""
        segments = min(MAX_SEGMENTS, h)
        ends = np.ceil(h * np.arange(1, segments + 1) / segments).astype(int)
        zeros = (0.0,) * segments
        return cls(ends=tuple(ends.tolist()), tracked=zeros, excess=zeros, points=zeros)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.model_validate_json(text)

    def to_json(self) -> str:
        return self.model_dump_json()

    @property
    def factors(self) -> tuple[float, ...]:
        """Return the factor on widths of each segment: 1 until there are points, within a sixth and six times."""
        tracked, excess = np.array(self.tracked), np.array(self.excess)
        logarithm = tracked + _INTEGRAL * _trust(np.array(self.points)) * excess
        return tuple(np.exp(np.clip(logarithm, -_LIMIT, _LIMIT)).tolist())

    def calibration(self, quantiles: list[str]) -> Calibration:
        """Return the calibration that scales these quantile columns about the median.

        A quantile that stopped at zero stays: it says nothing of a width, and just above it all zeros would be missed.
        """
        columns = [name for name in quantiles if name != "q0.5"]
        return Calibration(
            ends=self.ends, factors=dict.fromkeys(columns, self.factors), signed=True, keeps_zero=True
        )

    def apply(self, forecasts: pa.Table) -> pa.Table:
        """Return the forecasts with scaled quantiles, which do not cross."""
        return self.calibration(quantile_columns(forecasts)).apply(forecasts)

    def segment_of(self, steps: Integers) -> Integers:
        """Return the segment of each step; steps beyond the last belong to the last. Shape [steps]."""
        return np.searchsorted(self.ends, np.minimum(steps, self.ends[-1])).astype(np.int64)


def update(state: AdaptiveCalibration, points: ScoredPoints) -> AdaptiveCalibration:
    """Return the state after these points, which it has not seen before."""
    if not len(points.arrival):
        return state
    counts = np.bincount(points.series)
    breadth = max(float(np.count_nonzero(counts)), _BREADTH_DECAY * state.breadth)
    cap = len(points.series) / min(breadth, _SERIES_SHARE)
    weight = np.minimum(1.0, cap / np.maximum(counts, 1))[points.series]  # [points]
    moving = _Moving(*(np.array(values) for values in (state.tracked, state.excess, state.points)))
    segment = state.segment_of(points.step)
    with np.errstate(divide="ignore"):
        logarithm = np.log(points.score)
    for rows in points.arrivals():
        for number in np.unique(segment[rows]):
            of_segment = segment[rows] == number
            moving.step(
                int(number),
                _Arrival(
                    points.series[rows][of_segment],
                    weight[rows][of_segment],
                    logarithm[rows][of_segment],
                    points.missed[rows][of_segment],
                    points.miscoverage[rows][of_segment],
                ),
            )
    return state.model_copy(
        update={
            "tracked": tuple(moving.tracked.tolist()),
            "excess": tuple(moving.excess.tolist()),
            "points": tuple(moving.points.tolist()),
            "breadth": breadth,
        }
    )


@dataclass(frozen=True)
class _Arrival:
    """Points of one segment that became known together; all [points], `logarithm` that of the score."""

    series: Integers
    weight: Floats
    logarithm: Floats
    missed: Mask
    miscoverage: Floats


@dataclass
class _Moving:
    """The parts of the state that move, all [segments]."""

    tracked: Floats
    excess: Floats
    points: Floats

    def step(self, segment: int, arrival: _Arrival) -> None:
        """Take one step: each series of an arrival counts the same, however many points it has in it.

        Points at their median, or between it and a lower end that stopped at zero, are inside whatever the width.
        Where they alone are as many as are to be inside, as in hours in which nothing happens, no width can be
        right, and no step is taken.
        """
        _, member, counts = np.unique(arrival.series, return_inverse=True, return_counts=True)
        weight = arrival.weight * np.minimum(1.0, _POINTS_OF_SERIES / counts[member])  # [points]
        effective = float(weight.sum())
        weight = weight / effective
        if weight @ np.isneginf(arrival.logarithm) >= 1 - weight @ arrival.miscoverage:
            return
        self.points[segment] += effective
        gain = min(_STEP * effective, _MAX_STEP) * float(_trust(self.points[segment]))
        moves = np.full(len(self.tracked), gain * _COUPLING)  # [segments]
        moves[segment] = gain
        excess = weight @ ((arrival.logarithm > self.tracked[segment]) - arrival.miscoverage)
        self.tracked = np.clip(self.tracked + moves * excess, -_LIMIT, _LIMIT)
        share = min(1 - np.exp(-effective / _MEMORY), _MAX_MEMORY_SHARE)
        missed = weight @ (arrival.missed - arrival.miscoverage)
        self.excess[segment] += share * (missed - self.excess[segment])


def _trust(points: npt.ArrayLike) -> Floats:
    """Return the share of a step that is taken after so many points: hardly any while they are few."""
    squared = np.square(np.asarray(points, np.float64))
    return np.asarray(squared / (squared + _FEW_POINTS**2))


def _interval_scores(scores: pa.Table) -> tuple[Floats, Mask, Floats]:
    """Return score, miss and nominal miscoverage of each row, NaN where its levels make no interval. Shapes [rows].

    Requests ask for different levels, so rows of the same ones are scored together.
    """
    y, mean = floats(scores[Y]), floats(scores["mean"])
    score, miscoverage = np.full((2, scores.num_rows), np.nan)
    missed = np.zeros(scores.num_rows, bool)
    lists = single_chunk(scores["levels"])
    text = pc.binary_join(pc.cast(lists, pa.list_(pa.string())), " ").dictionary_encode()
    codes = text.indices.to_numpy(zero_copy_only=False)
    values = single_chunk(scores["values"])
    for code in np.unique(codes[np.isfinite(codes)]):
        rows = np.flatnonzero(codes == code)
        levels = lists[int(rows[0])].as_py()
        low, high = central_interval(levels)
        if low == high:
            continue
        columns = floats(pc.list_flatten(values.take(pa.array(rows)))).reshape(len(rows), len(levels))
        by_level = dict(zip(levels, columns.T, strict=True))
        median = by_level.get(0.5, mean[rows])
        sides = (by_level.get(low), by_level.get(high))
        score[rows] = _scores_of_issued(y[rows], median, *sides)
        miscoverage[rows] = 1 - nominal_coverage(low, high)
        if sides[0] is not None:
            miscoverage[rows[sides[0] == 0]] = 1 - high  # nothing is missed below an end that stopped at zero
        for side, sign in zip(sides, (-1.0, 1.0), strict=True):
            if side is not None:
                missed[rows] |= sign * (y[rows] - side) > 0
    return score, missed, miscoverage


def _scores_of_issued(y: Floats, median: Floats, low: Floats | None, high: Floats | None) -> Floats:
    """Return the nonconformity scores under the issued interval. Shape [rows].

    A lower end that stopped at zero says nothing about its width: what is not below it counts as inside.
    """
    score = nonconformity_scores(y, median, low, high)
    if low is not None:
        score[(low == 0) & (y >= 0) & (y < median)] = 0.0
    return np.where(np.isfinite(y), score, np.nan)

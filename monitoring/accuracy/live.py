"""Live accuracy: figures of scored points, as a whole and by day, series, step, version, segment or method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.metrics import METRICS, Partition
from monitoring.accuracy.vintage_rows import CUTOFF
from quantis.panel import DS, ID, Y, floats
from quantis.types.arrays import Floats, Integers
from quantis.types.operations.live import LiveDimension, LiveFigures, NaiveFigures

_MEDIAN = 0.5
_WHOLE = "all"


def latest_scores(scores: pa.Table) -> pa.Table:
    """Return of each forecast's step the score by the latest actual."""
    if not scores.num_rows:
        return scores
    order = np.argsort(scores["dataset_version"].to_numpy(), kind="stable")
    ordered = scores.take(pa.array(order))
    key = pc.binary_join_element_wise(
        ordered["forecast_id"], ordered[ID], ordered[DS].cast(pa.int64()).cast(pa.string()), "\x1f"
    )
    codes = key.combine_chunks().dictionary_encode().indices.to_numpy()
    last = np.full(codes.max() + 1, -1)
    last[codes] = np.arange(len(codes))  # of equal codes the last one stays
    return ordered.take(pa.array(last))


def is_live() -> pc.Expression:
    """Return the condition for a score that counts: foreseen, not learned, not a what-if, and with an actual."""
    return ~pc.field("hindsight") & ~pc.field("learned") & ~pc.field("scenario") & pc.is_valid(pc.field(Y))


@dataclass(frozen=True)
class LiveScores:
    """Scored points that count, one per forecast and step."""

    rows: pa.Table

    @classmethod
    def from_scores(cls, scores: pa.Table) -> LiveScores:
        return cls(latest_scores(scores).filter(is_live()))

    def overall(self) -> LiveFigures:
        return self._figures(Partition(np.zeros(self.rows.num_rows, np.int64), 1), [_WHOLE])[0]

    def by(
        self, dimension: LiveDimension, segments: Mapping[str, Mapping[str, str]] | None = None
    ) -> list[LiveFigures]:
        """Return the figures of each part, in the order of days, steps and versions, else of labels.

        `segments` has the labels of each series, by the column that they are of.
        """
        if dimension == LiveDimension.segment:
            return [
                figures
                for column, labels in (segments or {}).items()
                for figures in self._by_labels(self._segment_labels(column, labels))
            ]
        return self._by_labels(self._labels(dimension))

    def _by_labels(self, labels: pa.Array) -> list[LiveFigures]:
        if not len(labels):
            return []
        encoded = labels.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        names = [str(name) for name in encoded.dictionary.take(pa.array(order)).to_pylist()]
        return self._figures(Partition(rank[codes], len(order)), names)

    def _labels(self, dimension: LiveDimension) -> pa.Array:
        columns = {
            LiveDimension.series: ID,
            LiveDimension.step: "step",
            LiveDimension.version: "version",
            LiveDimension.method: "method",
        }
        if dimension == LiveDimension.day:
            return pc.strftime(self.rows[DS].combine_chunks(), "%Y-%m-%d")
        return self.rows[columns[dimension]].combine_chunks()

    def _segment_labels(self, column: str, labels: Mapping[str, str]) -> pa.Array:
        names = pa.array(list(labels), pa.string())
        texts = pa.array([f"{column} = {label}" for label in labels.values()], pa.string())
        positions = pc.index_in(self.rows[ID].combine_chunks(), names)
        return pc.fill_null(texts.take(positions), f"{column} unknown")

    def _figures(self, parts: Partition, labels: list[str]) -> list[LiveFigures]:
        accuracy = {name: METRICS[name](self._evaluated, parts) for name in ("wape", "mase", "bias")}
        has_naive = np.isfinite(self._naive)
        naive_rows = self._naive_rows.select(has_naive)
        naive_parts = Partition(parts.codes[has_naive], parts.count)
        naive = {name: METRICS[name](naive_rows, naive_parts) for name in ("wape", "mase", "bias")}
        losses = _ratio(parts.total(self._quantile_loss), parts.total(np.abs(self._evaluated.y)))
        coverage = self._coverage(parts)
        forecasts = self._forecast_counts(parts)
        sizes, naive_sizes = parts.sizes(), naive_parts.sizes()
        return [
            LiveFigures(
                label=label,
                n=int(sizes[part]),
                forecasts=int(forecasts[part]),
                wape=_figure(accuracy["wape"][part]),
                mase=_figure(accuracy["mase"][part]),
                bias=_figure(accuracy["bias"][part]),
                wql=_figure(losses[part]),
                coverage={
                    level: float(shares[part])
                    for level, shares in coverage.items()
                    if np.isfinite(shares[part])
                },
                seasonal_naive=NaiveFigures(
                    n=int(naive_sizes[part]),
                    wape=_figure(naive["wape"][part]),
                    mase=_figure(naive["mase"][part]),
                    bias=_figure(naive["bias"][part]),
                ),
            )
            for part, label in enumerate(labels)
        ]

    @cached_property
    def _evaluated(self) -> EvaluatedRows:
        """The rows for the metrics of models.evaluation, without their quantiles, which differ from row to row."""
        median = self._quantile(_MEDIAN)
        mean = floats(self.rows["mean"])
        return self._as_evaluated(mean, np.where(np.isfinite(median), median, mean))

    @cached_property
    def _naive(self) -> Floats:
        return floats(self.rows["naive"])

    @property
    def _naive_rows(self) -> EvaluatedRows:
        return self._as_evaluated(self._naive, self._naive)

    def _as_evaluated(self, mean: Floats, median: Floats) -> EvaluatedRows:
        pair = pc.binary_join_element_wise(
            self.rows["forecast_id"],
            self.rows[ID],
            self.rows[CUTOFF].cast(pa.int64()).cast(pa.string()),
            "\x1f",
        )
        scale = floats(self.rows["scale"])
        count = self.rows.num_rows
        return EvaluatedRows(
            y=floats(self.rows[Y]),
            mean=mean,
            median=median,
            quantiles={},
            group=_codes(pair),
            absolute_scale=scale,
            squared_scale=np.full(count, np.nan),
            step=self.rows["step"].to_numpy(),
            table_row=np.arange(count),
        )

    @cached_property
    def _flat_quantiles(self) -> tuple[Integers, Floats, Floats]:
        """Row, level and value of each quantile. Shapes [quantiles of all rows]."""
        levels, values = self.rows["levels"].combine_chunks(), self.rows["values"].combine_chunks()
        rows = pc.list_parent_indices(levels).to_numpy().astype(np.int64)
        return rows, floats(pc.list_flatten(levels)), floats(pc.list_flatten(values))

    def _quantile(self, level: float) -> Floats:
        """Return the quantile of a level, NaN where a row has none. Shape [rows]."""
        rows, levels, values = self._flat_quantiles
        is_level = np.abs(levels - level) < 1e-9
        quantile = np.full(self.rows.num_rows, np.nan)
        quantile[rows[is_level]] = values[is_level]
        return quantile

    @cached_property
    def _quantile_loss(self) -> Floats:
        """Twice the pinball loss averaged over a row's quantiles; 0 for a row without. Shape [rows]."""
        rows, levels, values = self._flat_quantiles
        errors = self._evaluated.y[rows] - values
        losses = 2 * np.maximum(levels * errors, (levels - 1) * errors)
        counts = np.bincount(rows, minlength=self.rows.num_rows)
        return np.bincount(rows, losses, self.rows.num_rows) / np.maximum(counts, 1)

    def _coverage(self, parts: Partition) -> dict[str, Floats]:
        """Return the share of actuals in each central interval that was forecast, by its level. Shapes [parts]."""
        distinct = np.unique(np.round(self._flat_quantiles[1], 9))
        coverage = {}
        for lower in sorted((level for level in distinct if level < _MEDIAN), reverse=True):
            low, high = self._quantile(lower), self._quantile(1 - lower)
            has_interval = np.isfinite(low + high)
            if not has_interval.any():
                continue
            y = self._evaluated.y
            is_inside = has_interval & (low <= y) & (y <= high)
            shares = _ratio(
                parts.total(is_inside.astype(np.float64)), parts.total(has_interval.astype(np.float64))
            )
            coverage[f"{100 * (1 - 2 * lower):.6g}"] = shares
        return coverage

    def _forecast_counts(self, parts: Partition) -> Integers:
        """Return the number of forecasts that have points in each part. Shape [parts]."""
        forecast = _codes(self.rows["forecast_id"])
        distinct = np.unique(np.stack([parts.codes, forecast]), axis=1)
        return np.bincount(distinct[0], minlength=parts.count)


def _codes(column: pa.ChunkedArray) -> Integers:
    indices = column.combine_chunks().dictionary_encode().indices
    codes: Integers = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )
    return ratio


def _figure(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""Collectors of a node's metrics: those that Quantis declares, and of these what is known now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector


class DeclaredMetrics(MultiProcessCollector):
    """The metrics of a node's folder whose names begin with a prefix: other libraries write there too."""

    def __init__(self, folder: Path, prefix: str) -> None:
        super().__init__(None, str(folder))  # type: ignore[no-untyped-call]
        self._prefix = prefix

    def collect(self) -> Iterable[Metric]:
        merged: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return [metric for metric in merged if metric.name.startswith(self._prefix)]


class ShownMetrics(Collector):
    """The metrics of a collector without the values that a process has taken back by setting them to NaN."""

    def __init__(self, source: Collector | CollectorRegistry) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            metric.samples = [sample for sample in metric.samples if not math.isnan(sample.value)]
            yield metric

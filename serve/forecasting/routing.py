"""Routing of a request to a model version: by number, by alias, or by the version's share of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.registry.mlflow_registry import Registry
from quantis.types.registry import CHAMPION, ModelVersion, Traffic
from serve.forecasting.stale_cache import StaleCache
from serve.forecasting.traffic_split import version_for

ALIAS_SECONDS = 2.0
"""Age at which an alias or a division of traffic is looked up again."""


@dataclass(frozen=True)
class RoutedSeries:
    """The version that answers, the alias by which it was reached, if any, and the positions of its series."""

    version: ModelVersion
    alias: str | None
    positions: list[int]


class ModelRouter:
    def __init__(self, registry: Callable[[str], Registry], outage_seconds: float) -> None:
        """`registry` opens the registry of a team; what it said last holds for `outage_seconds` without it."""
        self._registry = registry
        self._versions: StaleCache[ModelVersion] = StaleCache(outage_seconds, ALIAS_SECONDS)
        self._traffic: StaleCache[Traffic] = StaleCache(outage_seconds, ALIAS_SECONDS)

    def divide(self, team: str, reference: str, series_ids: Sequence[str]) -> list[RoutedSeries]:
        """Resolve `name`, `name@alias` or `name:7`; a name alone is divided by the id of each series.

        The parts come in the order of their first series, so that a series has its version whoever it is sent with.
        """
        positions: dict[str, list[int]] = {}
        is_divided = "@" not in reference and ":" not in reference
        for position, series_id in enumerate(series_ids):
            target = self._share(team, reference, series_id) if is_divided else reference
            positions.setdefault(target, []).append(position)
        return [
            RoutedSeries(self._resolve(team, target), _alias(target), indices)
            for target, indices in positions.items()
        ]

    def version(self, team: str, model: str, number: int) -> ModelVersion:
        """Return one version of a model."""
        return self._resolve(team, f"{model}:{number}")

    def _resolve(self, team: str, reference: str) -> ModelVersion:
        return self._versions.get((team, reference), lambda: self._registry(team).resolve(reference))

    def _share(self, team: str, name: str, series_id: str) -> str:
        traffic = self._traffic.get((team, name), lambda: self._registry(team).traffic(name))
        version = version_for(traffic, f"{team}/{name}/{series_id}")
        return f"{name}:{version}" if version else name


def _alias(reference: str) -> str | None:
    """Return the alias of a reference; a name alone means its champion, a number has none."""
    name, _, alias = reference.partition("@")
    return alias or (None if ":" in name else CHAMPION)

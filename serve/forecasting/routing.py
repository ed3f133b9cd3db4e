"""Routing of a request to a model version: by number, by alias, or by the version's share of the traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.registry.mlflow_registry import CHAMPION, Registry
from quantis.types.registry import ModelVersion, Traffic
from serve.forecasting.stale_cache import StaleCache
from serve.forecasting.traffic_split import version_for

ALIAS_SECONDS = 2.0
"""Age at which an alias or a division of traffic is looked up again."""


@dataclass(frozen=True)
class Route:
    """The version that answers, and the alias by which it was reached, if any."""

    version: ModelVersion
    alias: str | None


class ModelRouter:
    def __init__(self, registry: Callable[[str], Registry], outage_seconds: float) -> None:
        """`registry` opens the registry of a team; what it said last holds for `outage_seconds` without it."""
        self._registry = registry
        self._versions: StaleCache[ModelVersion] = StaleCache(outage_seconds, ALIAS_SECONDS)
        self._traffic: StaleCache[Traffic] = StaleCache(outage_seconds, ALIAS_SECONDS)

    def route(self, team: str, reference: str, series_id: str) -> Route:
        """Resolve `name`, `name@alias` or `name:7`; a name alone is divided by the id of the first series."""
        if "@" not in reference and ":" not in reference:
            reference = self._share(team, reference, series_id)
        version = self._versions.get((team, reference), lambda: self._registry(team).resolve(reference))
        return Route(version, _alias(reference))

    def _share(self, team: str, name: str, series_id: str) -> str:
        traffic = self._traffic.get((team, name), lambda: self._registry(team).traffic(name))
        version = version_for(traffic, f"{team}/{name}/{series_id}")
        return f"{name}:{version}" if version else name


def _alias(reference: str) -> str | None:
    """Return the alias of a reference; a name alone means its champion, a number has none."""
    name, _, alias = reference.partition("@")
    return alias or (None if ":" in name else CHAMPION)

"""A team's model registry, opened as the settings say."""

from __future__ import annotations

from cluster.settings import Settings
from models.registry.mlflow_registry import Registry


def open_registry(settings: Settings, team: str) -> Registry:
    data_layout = settings.data_layout
    return Registry(settings.tracking_uri, str(data_layout.artifacts), team, cache=data_layout.root / "cache")

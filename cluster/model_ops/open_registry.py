"""A team's model registry, opened as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.settings import Settings

if TYPE_CHECKING:
    from models.registry.mlflow_registry import Registry


def open_registry(settings: Settings, team: str) -> Registry:
    """Open the registry of `team`; imports MLflow, which takes seconds, only now."""
    from models.registry.mlflow_registry import Registry

    data_layout = settings.data_layout
    return Registry(settings.tracking_uri, str(data_layout.artifacts), team, cache=data_layout.root / "cache")

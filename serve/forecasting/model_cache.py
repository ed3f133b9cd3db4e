"""Loaded models of one replica: the most recently used stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster.datasets.catalogue import Catalogue
from models.forecaster import Forecaster
from models.registry.bundle import read_bundle
from models.registry.mlflow_registry import Registry
from monitoring import instruments
from quantis.errors import NotFound
from quantis.panel import ID, Task
from quantis.types.registry import ModelVersion

MAX_MODELS = 8


@dataclass(frozen=True)
class LoadedModel:
    """A forecaster and the ids of the series that it was trained on.

    `calibration` is the number of the adaptive calibration that moves its intervals, None where none does.
    """

    forecaster: Forecaster
    training_ids: frozenset[str]
    calibration: int | None = None

    @property
    def task(self) -> Task:
        return self.forecaster.task


class ModelCache:
    """Least-recently-used cache of models by team, name and version; thread-safe."""

    def __init__(
        self,
        registry: Callable[[str], Registry],
        catalogue: Catalogue,
        families: Mapping[str, str],
        max_models: int = MAX_MODELS,
    ) -> None:
        """`registry` opens the registry of a team; only `families` are loaded; `max_models` stay in memory."""
        self._registry = registry
        self._catalogue = catalogue
        self._families = families
        self._max_models = max_models
        self._models: OrderedDict[tuple[str, str, int], LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, team: str, version: ModelVersion) -> LoadedModel:
        """Return a model, from its bundle when it is not in memory; an error of the bundle goes through."""
        key = (team, version.model, version.version)
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
                return self._models[key]
        instruments.declare_model(version.model)
        # Outside of the lock: a bundle takes seconds, and other models answer meanwhile.
        try:
            forecaster = read_bundle(self._registry(team).download(version), self._families)
        except Exception:
            instruments.count_model_load(version.model, "failed")
            raise
        instruments.count_model_load(version.model, "ok")
        model = LoadedModel(forecaster, self._training_ids(team, forecaster.task))
        with self._lock:
            self._models[key] = model
            while len(self._models) > self._max_models:
                self._models.popitem(last=False)
        return model

    def _training_ids(self, team: str, task: Task) -> frozenset[str]:
        try:
            dataset = self._catalogue.open(team, task.dataset, task.version)
        except NotFound:
            return frozenset()
        return frozenset(dataset.store.series(dataset.pins)[ID].to_pylist())

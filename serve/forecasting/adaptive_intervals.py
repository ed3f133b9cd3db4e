"""Intervals as scored actuals have moved them: the calibration in effect of each version that serves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from cluster.repositories.operations.calibrations import Calibrations, StoredCalibration
from models.forecaster import quantile_column
from models.postprocessing.calibration import with_calibration
from quantis.errors import NotFound, Unavailable
from quantis.types.registry import ModelVersion
from serve.forecasting.model_cache import LoadedModel
from serve.forecasting.routing import ALIAS_SECONDS
from serve.forecasting.stale_cache import StaleCache


@dataclass(frozen=True)
class _Current:
    """The state in effect; None where intervals stay as the bundle has them."""

    stored: StoredCalibration | None


class AdaptiveIntervals:
    """Moves the intervals of loaded models, after their bundles' own calibration."""

    def __init__(self, calibrations: Calibrations | None, outage_seconds: float) -> None:
        """`calibrations` is None where intervals stay as the bundles have them."""
        self._calibrations = calibrations
        self._current: StaleCache[_Current] = StaleCache(outage_seconds, ALIAS_SECONDS)

    def move(self, team: str, version: ModelVersion, model: LoadedModel) -> LoadedModel:
        """Return the model under the state in effect, which is looked up as often as aliases are.

        Without the database the last one holds; the bundle's intervals where none was looked up before.
        """
        calibrations = self._calibrations
        if calibrations is None:
            return model

        def load() -> _Current:
            stored = calibrations.latest(team, version.model, version.version)
            return _Current(stored if stored and stored.applied else None)

        try:
            current = self._current.get((team, version.model, version.version), load)
        except Unavailable:
            return model
        return _moved(model, current.stored)

    def move_as(
        self, team: str, version: ModelVersion, model: LoadedModel, number: int | None
    ) -> LoadedModel:
        """Return the model under a state of then; NotFound where that is gone."""
        if number is None:
            return model
        if self._calibrations is None:
            raise NotFound("there are no states of adaptive calibration here")
        return _moved(model, self._calibrations.get(team, version.model, version.version, number))

    def move_at(self, team: str, version: ModelVersion, model: LoadedModel, time: datetime) -> LoadedModel:
        """Return the model under the state that was in effect at a time."""
        if self._calibrations is None:
            return model
        states = self._calibrations.since(team, version.model, version.version, time)
        then = [state for state in states[:1] if state.created_at <= time and state.applied]
        return _moved(model, then[0] if then else None)


def _moved(model: LoadedModel, stored: StoredCalibration | None) -> LoadedModel:
    if stored is None:
        return model
    columns = [quantile_column(quantile) for quantile in model.task.quantiles]
    forecaster = with_calibration(model.forecaster, stored.state.calibration(columns))
    return replace(model, forecaster=forecaster, calibration=stored.number)

"""Adaptive calibration learns from new scores: a listener of the scorer."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.backend import Backend
from cluster.repositories.operations.calibrations import StoredCalibration
from models.postprocessing.adaptive_calibration import AdaptiveCalibration, ScoredPoints, update
from monitoring import instruments
from quantis.errors import NotFound
from quantis.frequency import to_datetime64
from quantis.panel import times_of
from quantis.types.arrays import Floats, Mask
from quantis.types.forecasts import ForecastMethod

_LEFT_OUT = ("scenario", "learned", "hindsight", "correction")
"""Marks of scores that say nothing about the intervals that were issued, or were learned from before."""


class CalibrationUpdates:
    """Moves the calibration of each model version by the scores of its forecasts."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def update_calibration(self, team: str, dataset: str, scores: pa.Table) -> None:
        """Learn from new scores of online forecasts; those that were learned from before change nothing.

        Parameters
        ----------
        team
            The team of the forecasts.
        dataset
            The dataset of the actuals; not used, since a model has one.
        scores
            Rows of the table of scores (`monitoring.accuracy.scoring`), all of what was scored at its `scored_at`.
        """
        usable = pc.and_(
            pc.equal(scores["kind"], "online"), pc.equal(scores["method"], ForecastMethod.model.value)
        )
        for mark in _LEFT_OUT:
            if mark in scores.column_names:
                usable = pc.and_not(usable, pc.fill_null(scores[mark], False))
        scores = scores.filter(usable)
        for issuer in scores.group_by(["model", "version"]).aggregate([]).to_pylist():
            model, version = issuer["model"], issuer["version"]
            of_issuer = (pc.field("model") == model) & (pc.field("version") == version)
            self._update_version(team, model, version, scores.filter(of_issuer))

    def _update_version(self, team: str, model: str, version: int, scores: pa.Table) -> None:
        calibrations = self._backend.calibrations
        latest = calibrations.latest(team, model, version)
        if latest and latest.scored_to:
            scores = scores.filter(pc.field("scored_at") > latest.scored_to)
        try:
            h = self._backend.registry(team).get(model, version).h
        except NotFound:  # deleted meanwhile
            return
        if not scores.num_rows:
            return
        first: datetime = pc.min(scores["issued_at"]).as_py()
        factors, learnable = issued_factors(scores, calibrations.since(team, model, version, first))
        points = ScoredPoints.from_table(scores, factors)
        instruments.count_interval_points(
            model, len(points.missed), int(points.missed.sum()), float(points.miscoverage.sum())
        )
        points = ScoredPoints.from_table(scores.filter(pa.array(learnable)), factors[learnable])
        scored_to: datetime = pc.max(scores["scored_at"]).as_py()

        def learn(stored: StoredCalibration | None) -> AdaptiveCalibration | None:
            if stored and stored.scored_to and stored.scored_to >= scored_to:
                return None
            state = stored.state if stored else AdaptiveCalibration.initial(h)
            return update(state, points)

        if len(points.arrival):
            calibrations.append(team, model, version, learn, scored_to)


def issued_factors(scores: pa.Table, states: list[StoredCalibration]) -> tuple[Floats, Mask]:
    """Return the factor under which each row was issued, and the rows that can be learned from. Shapes [rows].

    Rows from before the first state were issued under none, which is a factor of 1. Those that were issued while the
    calibration was switched off are not learned from.
    """
    factors, learnable = np.ones(scores.num_rows), np.ones(scores.num_rows, bool)
    if not states:
        return factors, learnable
    starts = np.array([to_datetime64(state.created_at) for state in states])
    position = np.searchsorted(starts, times_of(scores["issued_at"]), side="right") - 1
    steps = scores["step"].to_numpy().astype(np.int64)
    for index in np.unique(position[position >= 0]):
        stored, rows = states[index], position == index
        if stored.applied:
            segment = stored.state.segment_of(steps[rows])
            factors[rows] = np.array(stored.state.factors)[segment]
        else:
            learnable[rows] = False
    return factors, learnable

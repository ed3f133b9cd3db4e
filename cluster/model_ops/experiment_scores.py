"""The scored points of a challenger and its incumbent, from the team's table of scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from cluster.model_monitoring.tables import MonitoringTables, batch_counter, version_counter
from features.store.record_filter import timestamp_scalar
from monitoring.accuracy.live import is_live, latest_scores
from monitoring.accuracy.vintage_rows import CUTOFF
from quantis.panel import DS, ID, KNOWN_AT, Y
from quantis.types.operations.online_experiments import OnlineExperiment

_COLUMNS = [
    *("version", "forecast_id", "dataset_version", ID, CUTOFF, DS),
    *(Y, KNOWN_AT, "mean", "levels", "values", "scale"),
]


@dataclass(frozen=True)
class ExperimentScores:
    """Scores of both versions, on all occasions: answers, shadows and replays of the same points are compared."""

    challenger: pa.Table
    incumbent: pa.Table

    @classmethod
    def read(cls, tables: MonitoringTables, experiment: OnlineExperiment) -> ExperimentScores:
        """Read the scores of forecasts since the start, or the replayed days before it.

        What counts is what counts for live accuracy: shadows and replays have the times of the forecast they are of.
        """
        since = experiment.started_at - timedelta(days=experiment.replay_days)
        condition = (
            is_live()
            & (pc.field("model") == experiment.model)
            & pc.field("version").isin([experiment.challenger, experiment.incumbent])
            & (pc.field("issued_at") >= timestamp_scalar(since))
        )
        scores = latest_scores(tables.scores.read(condition, _COLUMNS))
        return cls(
            *(
                scores.filter(pc.field("version") == version)
                for version in (experiment.challenger, experiment.incumbent)
            )
        )


def scored_to(tables: MonitoringTables, dataset: str) -> tuple[int | None, int | None]:
    """Return how far the forecasts of a dataset are scored; it grows with each score, and is cheap to ask for."""
    return tables.scores.progress(version_counter(dataset)), tables.scores.progress(batch_counter(dataset))

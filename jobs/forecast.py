"""`python -m jobs.forecast`: forecasts of every series, kept as vintages and, on request, scored."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from cluster.ray.session import RayExecutor
from features.store.snapshots import cutoffs, snapshot_at
from jobs import batch_forecast
from jobs.runtime import Context, run
from models.arrays import keep_series
from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import join_actuals
from models.families.naive import ColumnForecast, SeasonalNaive
from models.forecaster import Forecaster
from models.postprocessing.reconciliation import Hierarchy
from models.prediction import fallback
from models.prediction.fallback import ForecastEntry
from models.prediction.response import forecast_table, resolve_horizon, to_series_forecast
from models.registry.bundle import read_bundle
from quantis.errors import InvalidInput
from quantis.frequency import to_datetime
from quantis.panel import Panel, Task
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef, SeriesRequest
from quantis.types.job_results import ForecastResult
from quantis.types.job_specs import ForecastSpec
from quantis.types.registry import ModelVersion

FIGURES = ("wape", "mase", "wql", "coverage_80")
SERIES_PER_VINTAGE = 1000

Issued = tuple[np.datetime64, pa.Table]


def work(context: Context[ForecastSpec]) -> ForecastResult:
    """Forecast from each origin with what was known then; compare with the actuals that followed."""
    spec = context.spec
    with context.step("read the panel and the model", 0.2):
        version = context.registry.resolve(f"{spec.model}@{spec.alias}")
        forecaster = read_bundle(context.registry.download(version), context.families)
        task = forecaster.task
        if spec.dataset != task.dataset:
            raise InvalidInput(
                f"model {spec.model!r} was trained on {task.dataset!r}, not on {spec.dataset!r}"
            )
        h = resolve_horizon(spec.h, task)
        last = context.last_cutoff(task)
        origins = np.array([last])
        if spec.score:
            origins = cutoffs(last, task.model_copy(update={"h": h}), spec.origins, h)
        rivals = _rivals(spec, task) if spec.score else {}
    forecasts: dict[str, list[Issued]] = {spec.model: [], **{name: [] for name in rivals}}
    methods: dict[str, int] = {}
    with context.step(f"forecast from {len(origins)} origins, {h} steps each", 0.95):
        for number, origin in enumerate(origins, start=1):
            as_of = _known_at(context, origin)
            panel = context.dataset.panel(as_of)
            snapshot = snapshot_at(panel, origin, task)
            levels = _levels(spec, panel)
            snapshot = levels.add_nodes(snapshot) if levels else snapshot
            entries = batch_forecast.forecast(forecaster, snapshot, task, RayExecutor(cpus=1), steps=h)
            if levels:
                table = forecast_table(entries, task.quantiles)
                entries = fallback.with_forecasts(entries, levels.reconcile(table, snapshot, task))
            _keep(context, version, task, h, entries, as_of)
            for entry in entries:
                methods[entry.method] = methods.get(entry.method, 0) + 1
            forecasts[spec.model].append((origin, forecast_table(entries, task.quantiles)))
            served = keep_series(
                snapshot, [entry.unique_id for entry in entries if entry.status != "refused"]
            )
            for name, rival in rivals.items():
                answer = rival.predict(served)
                first = np.arange(answer.num_rows) % task.h < h
                forecasts[name].append((origin, answer.filter(pa.array(first))))
            context.tell(f"origin {number} of {len(origins)}", 0.2 + 0.75 * number / len(origins))
    return ForecastResult(
        model=version,
        h=h,
        origins=[_known_at(context, origin) for origin in origins],
        methods=methods,
        reconciliation=spec.reconciliation if spec.hierarchy else None,
        scores=_scores(context, task, last, forecasts) if spec.score else {},
    )


def _levels(spec: ForecastSpec, panel: Panel) -> Hierarchy | None:
    """The nodes above the series of the panel, when the forecasts are to add up."""
    return (
        Hierarchy.from_static(panel.static, spec.hierarchy, spec.reconciliation) if spec.hierarchy else None
    )


def _rivals(spec: ForecastSpec, task: Task) -> dict[str, Forecaster]:
    """The naive forecasts that stand beside the model's, by name."""
    naive: dict[str, Forecaster] = {
        f"seasonal_naive_{m}": SeasonalNaive(task, m) for m in task.season_lengths
    }
    return naive | {column: ColumnForecast(task, column) for column in spec.baselines}


def _known_at(context: Context[ForecastSpec], origin: np.datetime64) -> datetime:
    """The first moment at which the value at an origin is known."""
    return to_datetime(origin) + context.dataset.spec.publication_lag


def _scores(
    context: Context[ForecastSpec], task: Task, last: np.datetime64, forecasts: dict[str, list[Issued]]
) -> dict[str, dict[str, float | None]]:
    panel = context.dataset.panel(context.as_of)
    snapshot = snapshot_at(panel, last, task)
    levels = _levels(context.spec, panel)
    history = (levels.add_nodes(snapshot) if levels else snapshot).history
    scores = {}
    for name, issued in forecasts.items():
        judged = pa.concat_tables(join_actuals(table, history, origin) for origin, table in issued)
        metrics = evaluate(judged, history, task.season_lengths[0]).metrics
        scores[name] = {figure: metrics.get(figure) for figure in FIGURES}
        context.jobs.add_event(context.team, context.job_id, "metric", name, data=dict(scores[name]))
    return scores


def _keep(
    context: Context[ForecastSpec],
    version: ModelVersion,
    task: Task,
    h: int,
    entries: Sequence[ForecastEntry],
    as_of: datetime,
) -> None:
    for first in range(0, len(entries), SERIES_PER_VINTAGE):
        part = entries[first : first + SERIES_PER_VINTAGE]
        request = ForecastRequest(
            series=[SeriesRequest(unique_id=entry.unique_id) for entry in part], h=h, as_of=as_of
        )
        response = ForecastResponse(
            forecast_id=str(uuid.uuid4()),
            model=ModelRef(
                name=version.model, version=version.version, alias=context.spec.alias, family=version.family
            ),
            dataset=context.dataset.ref,
            freq=task.freq,
            as_of=as_of,
            issued_at=datetime.now(UTC),
            forecasts=[to_series_forecast(entry, task.quantiles, h) for entry in part],
        )
        context.vintages.append(context.team, request, response)


if __name__ == "__main__":
    sys.exit(run(ForecastSpec, work))

"""`python -m jobs.forecast`: forecasts of every series, stored as vintages and, on request, scored."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from operator import not_

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.ray.session import RayExecutor
from features.store.snapshots import cutoffs, snapshot_at, snapshot_of_latest
from jobs import batch_forecast
from jobs.runtime import Context, run
from models.arrays import keep_series
from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import join_actuals, require_windows
from models.families.naive import ColumnForecast, SeasonalNaive
from models.forecaster import Forecaster
from models.postprocessing.reconciliation import Hierarchy
from models.prediction import fallback
from models.prediction.fallback import ForecastEntry
from models.prediction.response import (
    forecast_table,
    issued_schema,
    issued_table,
    resolve_horizon,
    to_series_forecast,
)
from models.registry.bundle import read_bundle
from quantis.errors import InvalidInput
from quantis.frequency import to_datetime
from quantis.panel import Panel, Snapshot, Task, longest_history
from quantis.types.arrays import Times
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef, SeriesRequest
from quantis.types.job_results import ForecastResult
from quantis.types.job_specs import ForecastSpec
from quantis.types.operations.live import VintageKind
from quantis.types.registry import ModelVersion

METRICS = ("wape", "mase", "wql", "coverage_80")
SERIES_PER_VINTAGE = 1000


@dataclass(frozen=True)
class ForecastPlan:
    """The model to forecast with, the steps to forecast, and the origins to forecast from."""

    version: ModelVersion
    forecaster: Forecaster
    h: int
    last: np.datetime64
    origins: Times

    @property
    def task(self) -> Task:
        return self.forecaster.task


@dataclass(frozen=True)
class IssuedForecast:
    """Forecasts of every series from one origin: columns unique_id, ds, mean and one per quantile."""

    origin: np.datetime64
    table: pa.Table


def work(context: Context[ForecastSpec]) -> ForecastResult:
    """Forecast from each origin with what was known then; compare with the actuals that followed."""
    spec, reporter = context.spec, context.reporter
    with reporter.step("read the panel and the model", 0.2):
        plan = _plan(context)
        baselines = _baselines(spec, plan.task) if spec.score else {}
    lag = context.dataset.dataset.spec.publication_lag
    known_at = [to_datetime(origin) + lag for origin in plan.origins]
    forecasts: dict[str, list[IssuedForecast]] = {name: [] for name in (spec.model, *baselines)}
    methods: dict[str, int] = {}
    schema = issued_schema(f"{quantile:g}" for quantile in plan.task.quantiles)
    with (
        reporter.step(f"forecast from {len(plan.origins)} origins, {plan.h} steps each", 0.95),
        context.backend.batch_forecasts.writer(context.team, context.job_id, schema) as file,
    ):
        for count, (origin, as_of) in enumerate(zip(plan.origins, known_at, strict=True), start=1):
            snapshot, entries = _forecast(context, plan, origin, as_of)
            _store_vintages(context, plan, entries, as_of, file)
            for entry in entries:
                methods[entry.method] = methods.get(entry.method, 0) + 1
            table = forecast_table(entries, plan.task.quantiles)
            forecasts[spec.model].append(IssuedForecast(origin, table))
            served = [entry.unique_id for entry in entries if entry.status != "refused"]
            for name, baseline in baselines.items():
                table = baseline.predict(keep_series(snapshot, served))
                # a baseline forecasts task.h rows per series, of which the first h count
                step_index = np.arange(table.num_rows) % plan.task.h
                forecasts[name].append(IssuedForecast(origin, table.filter(pa.array(step_index < plan.h))))
            reporter.event(f"origin {count} of {len(plan.origins)}", 0.2 + 0.75 * count / len(plan.origins))
    learned = [as_of < plan.task.as_of for as_of in known_at]
    if spec.score and any(learned):
        reporter.event(
            f"{sum(learned)} of {len(learned)} origins are not scored: {spec.model}:{plan.version.version} learned "
            "from the days that followed them"
        )
    return ForecastResult(
        model=plan.version,
        h=plan.h,
        origins=known_at,
        methods=methods,
        reconciliation=spec.reconciliation if spec.hierarchy else None,
        scores=_scores(context, plan, forecasts, learned) if spec.score and not all(learned) else {},
        learned_origins=sum(learned) if spec.score else None,
    )


def _plan(context: Context[ForecastSpec]) -> ForecastPlan:
    spec = context.spec
    version = context.registry.resolve(f"{spec.model}@{spec.alias}")
    forecaster = read_bundle(context.registry.download(version), context.backend.families)
    task = forecaster.task
    if spec.dataset != task.dataset:
        raise InvalidInput(f"model {spec.model!r} was trained on {task.dataset!r}, not on {spec.dataset!r}")
    h = resolve_horizon(spec.h, task)
    dataset, last = context.dataset.dataset, context.dataset.last_cutoff(task)
    origins = np.array([last])
    if spec.score:
        require_windows(longest_history(dataset.version, spec.as_of), h, spec.origins, name="origins")
        origins = cutoffs(last, task.model_copy(update={"h": h}), spec.origins, h)
    return ForecastPlan(version, forecaster, h, last, origins)


def _forecast(
    context: Context[ForecastSpec], plan: ForecastPlan, origin: np.datetime64, as_of: datetime
) -> tuple[Snapshot, list[ForecastEntry]]:
    """Forecast every series of the snapshot at an origin, reconciled if the job names a hierarchy."""
    panel = context.dataset.dataset.panel(as_of)
    hierarchy = _hierarchy(context.spec, panel)
    # Nodes add up, and scores compare, at common times only; else each series goes on from its own last value.
    shares_origin = context.spec.score or hierarchy is not None
    to_snapshot = snapshot_at if shares_origin else snapshot_of_latest
    snapshot = to_snapshot(panel, origin, plan.task)
    if hierarchy:
        snapshot = hierarchy.add_nodes(snapshot)
    entries = batch_forecast.forecast(plan.forecaster, snapshot, plan.task, RayExecutor(cpus=1), steps=plan.h)
    if hierarchy:
        table = forecast_table(entries, plan.task.quantiles)
        entries = fallback.with_forecasts(entries, hierarchy.reconcile(table, snapshot, plan.task))
    return snapshot, entries


def _hierarchy(spec: ForecastSpec, panel: Panel) -> Hierarchy | None:
    if not spec.hierarchy:
        return None
    return Hierarchy.from_static(panel.static, spec.hierarchy, spec.reconciliation)


def _baselines(spec: ForecastSpec, task: Task) -> dict[str, Forecaster]:
    """Return seasonal naive of each season, and the columns that are scored as forecasts, by name."""
    naive: dict[str, Forecaster] = {
        f"seasonal_naive_{m}": SeasonalNaive(task, m) for m in task.season_lengths
    }
    return naive | {column: ColumnForecast(task, column) for column in spec.baselines}


def _scores(
    context: Context[ForecastSpec],
    plan: ForecastPlan,
    forecasts: Mapping[str, Sequence[IssuedForecast]],
    learned: Sequence[bool],
) -> dict[str, dict[str, float | None]]:
    """Score the forecasts from the origins at or after the version's own as-of: of the others it knew what followed."""
    panel = context.dataset.panel()
    snapshot = snapshot_at(panel, plan.last, plan.task)
    hierarchy = _hierarchy(context.spec, panel)
    history = (hierarchy.add_nodes(snapshot) if hierarchy else snapshot).history
    scores: dict[str, dict[str, float | None]] = {}
    for name, issued in forecasts.items():
        unseen = compress(issued, map(not_, learned))
        tables = [join_actuals(forecast.table, history, forecast.origin) for forecast in unseen]
        metrics = evaluate(pa.concat_tables(tables), history, plan.task.season_lengths[0]).metrics
        scores[name] = {metric: metrics.get(metric) for metric in METRICS}
        context.reporter.metric(name, scores[name])
    return scores


def _store_vintages(
    context: Context[ForecastSpec],
    plan: ForecastPlan,
    entries: Sequence[ForecastEntry],
    as_of: datetime,
    file: pq.ParquetWriter,
) -> None:
    """Store the forecasts of an origin as vintages of at most `SERIES_PER_VINTAGE` series, and in the job's file."""
    version, quantiles = plan.version, plan.task.quantiles
    model = ModelRef(
        name=version.model, version=version.version, alias=context.spec.alias, family=version.family
    )
    for start in range(0, len(entries), SERIES_PER_VINTAGE):
        batch = entries[start : start + SERIES_PER_VINTAGE]
        series = [SeriesRequest(unique_id=entry.unique_id) for entry in batch]
        response = ForecastResponse(
            forecast_id=str(uuid.uuid4()),
            model=model,
            dataset=context.dataset.dataset.ref,
            freq=plan.task.freq,
            as_of=as_of,
            issued_at=datetime.now(UTC),
            forecasts=[to_series_forecast(entry, quantiles, plan.h) for entry in batch],
        )
        request = ForecastRequest(series=series, h=plan.h, as_of=as_of)
        context.backend.vintages.append(context.team, request, response, VintageKind.batch)
        file.write_table(issued_table(response, file.schema))


if __name__ == "__main__":
    sys.exit(run(ForecastSpec, work))

"""`python -m jobs.backtest`: rolling-origin forecasts of several families and their metrics by dimension."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from cluster.repositories.backtests import FORECASTS, Backtests
from jobs.evaluation.candidates import EvaluationSetup
from jobs.evaluation.runner import EvaluationReport, Evaluator
from jobs.evaluation.setup import build_setup
from jobs.evaluation.time_budget import TimeBudget
from jobs.runtime import Context, run
from jobs.tft.ray_trainer import TftTrainer
from models.evaluation.breakdown import DIMENSIONS, by_dimension, overall, segment_labels
from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.promotion_gate import leaderboard
from models.postprocessing.reconciliation import Hierarchy
from models.registry.bundle import read_bundle
from quantis.errors import InvalidInput
from quantis.frequency import to_datetime
from quantis.panel import Task
from quantis.types.job_results import BacktestResult
from quantis.types.job_specs import BacktestSpec, Family, TftParams
from quantis.types.registry import Backtest, Fallback, Figures

MOST_FALLBACKS = 100


def work(context: Context[BacktestSpec]) -> BacktestResult:
    """Evaluate every family on the windows; store the metrics of every dimension and return the summary."""
    reporter = context.reporter
    budget = TimeBudget.from_spec(context.spec, context.backend.settings.job_seconds)
    with reporter.step("read the panel", 0.05):
        spec, task = _resolve(context)
        panel = context.dataset.panel()
        segments = segment_labels(panel, task, spec.segments)
        hierarchy = None
        if spec.hierarchy:
            hierarchy = Hierarchy.from_static(panel.static, spec.hierarchy, spec.reconciliation)
        setup, _ = build_setup(context.dataset, spec, task, context.backend.families, hierarchy)
    trainer = TftTrainer(spec.tft, context.folder, reporter)
    report = Evaluator(setup, spec, trainer, budget, reporter).evaluate()
    with reporter.step("keep the figures", 0.99):
        tables = _tables(report, setup, segments)
        overall_metrics = tables.pop("overall")
        Backtests(context.backend.data_layout).save(context.team, context.job_id, tables)
    reporter.event(_summary_line(report))
    backtest = Backtest(
        id=context.job_id,
        dataset=task.dataset,
        dataset_version=task.version,
        mode=spec.backtest_mode,
        cutoffs=[to_datetime(cutoff) for cutoff in setup.cutoffs],
        h=task.h,
        refit=spec.refit,
        rows=leaderboard(report.scores),
        overall=_figures(overall_metrics),
        dimensions=[dimension for dimension in DIMENSIONS if tables[dimension].num_rows],
        fallbacks=_fallbacks(report)[:MOST_FALLBACKS],
        reconciliation=spec.reconciliation if spec.hierarchy else None,
    )
    return BacktestResult(backtest=backtest)


def _resolve(context: Context[BacktestSpec]) -> tuple[BacktestSpec, Task]:
    """Return the specification and the task, with those of the model that the job names, if it does."""
    spec = context.spec
    if spec.model is None:
        return spec, context.dataset.task(spec.h, spec.quantiles)
    version = context.registry.resolve(spec.model)
    if version.dataset != spec.dataset:
        raise InvalidInput(
            f"model {spec.model!r} was trained on {version.dataset!r}, not on {spec.dataset!r}"
        )
    forecaster = read_bundle(context.registry.download(version), context.backend.families)
    changed: dict[str, Any] = {"families": (version.family,)}
    if version.family == Family.ensemble:
        members = forecaster.parts().config["members"]
        changed["families"] = (*dict.fromkeys(member["family"] for member in members), Family.ensemble)
    if version.family == Family.tft:
        changed["tft"] = TftParams.model_validate(forecaster.parts().config["params"])
    task = context.dataset.task(forecaster.task.h, forecaster.task.quantiles)
    return spec.model_copy(update=changed), task


def _tables(
    report: EvaluationReport, setup: EvaluationSetup, segments: list[pa.Table]
) -> dict[str, pa.Table]:
    """Return the metrics by dimension, the overall ones, and all forecasts."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in ("overall", FORECASTS, *DIMENSIONS)}
    for name, result in report.results:
        predictions = result.predictions
        rows = EvaluatedRows.from_tables(predictions, setup.history, setup.task.season_lengths[0])
        parts["overall"].append(overall(name, rows))
        for dimension, table in by_dimension(name, predictions, rows, segments).items():
            parts[dimension].append(table)
        names = pa.array([name] * predictions.num_rows, pa.string())
        parts[FORECASTS].append(predictions.add_column(0, "model", names))
    return {name: pa.concat_tables(tables, promote_options="default") for name, tables in parts.items()}


def _figures(table: pa.Table) -> list[Figures]:
    return [
        Figures(model=row.pop("model"), label=row.pop("label"), rows=row.pop("rows"), metrics=row)
        for row in table.to_pylist()
    ]


def _fallbacks(report: EvaluationReport) -> list[Fallback]:
    fallbacks: list[Fallback] = []
    for name, result in report.results:
        fallbacks += [
            Fallback(
                model=name,
                unique_id=used.unique_id,
                cutoff=to_datetime(used.cutoff),
                method=used.method,
                reason=used.reason,
            )
            for used in result.fallbacks
        ]
    return fallbacks


def _summary_line(report: EvaluationReport) -> str:
    failed = sum(score.failed is not None for score in report.scores)
    return f"{len(report.scores)} models evaluated" + (f", {failed} of them failed" if failed else "")


if __name__ == "__main__":
    sys.exit(run(BacktestSpec, work))

"""`python -m jobs.backtest`: rolling-origin forecasts of several families, and what they were worth where."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from cluster.repositories.backtests import FORECASTS, Backtests
from jobs.evaluation.candidates import EvaluationResult, EvaluationSetup
from jobs.evaluation.runner import EvaluationReport, build_setup, evaluate_candidates
from jobs.evaluation.time_budget import TimeBudget
from jobs.runtime import Context, run
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
from quantis.types.registry import Backtest, Dimension, Fallback, Figures

MOST_FALLBACKS = 100


def work(context: Context[BacktestSpec]) -> BacktestResult:
    """Judge every family on the windows; keep the figures by every dimension and give the summary."""
    budget = TimeBudget.from_spec(context.spec)
    with context.step("read the panel", 0.05):
        task = _task(context)
        panel = context.dataset.panel(context.as_of)
        segments = segment_labels(panel, task, context.spec.segments)
        levels = None
        if context.spec.hierarchy:
            levels = Hierarchy.from_static(panel.static, context.spec.hierarchy, context.spec.reconciliation)
        setup, _ = build_setup(context, task, levels)
    compared = evaluate_candidates(context, setup, budget)
    with context.step("keep the figures", 0.99):
        tables = _tables(compared, setup, segments)
        whole = tables.pop("overall")
        Backtests(context.settings.data_layout).save(context.team, context.job_id, tables)
    context.tell(_said(compared))
    dimensions = [dimension for dimension in DIMENSIONS if tables[dimension].num_rows]
    return BacktestResult(backtest=_summary(context, setup, compared, whole, dimensions))


def _task(context: Context[BacktestSpec]) -> Task:
    """The experiment: as the job says, or that of the model which it names."""
    spec = context.spec
    if spec.model is None:
        return context.dataset.task(context.as_of, spec.h, spec.quantiles)
    version = context.registry.resolve(spec.model)
    if version.dataset != spec.dataset:
        raise InvalidInput(
            f"model {spec.model!r} was trained on {version.dataset!r}, not on {spec.dataset!r}"
        )
    known = read_bundle(context.registry.download(version), context.families)
    changed: dict[str, Any] = {"families": (version.family,)}
    if version.family == Family.ensemble:
        parts = known.parts().config["members"]
        changed["families"] = (*dict.fromkeys(part["family"] for part in parts), Family.ensemble)
    if version.family == Family.tft:
        changed["tft"] = TftParams.model_validate(known.parts().config["params"])
    context.spec = spec.model_copy(update=changed)
    return context.dataset.task(context.as_of, known.task.h, known.task.quantiles)


def _tables(
    compared: EvaluationReport, setup: EvaluationSetup, segments: list[pa.Table]
) -> dict[str, pa.Table]:
    """Every figure by dimension, the overall ones, and all forecasts."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in ("overall", FORECASTS, *DIMENSIONS)}
    for member, outcome in zip(compared.candidates, compared.outcomes, strict=True):
        if isinstance(outcome, Exception):
            continue
        predictions = outcome.predictions
        rows = EvaluatedRows.from_tables(predictions, setup.history, setup.task.season_lengths[0])
        parts["overall"].append(overall(member.name, rows))
        for dimension, table in by_dimension(member.name, predictions, rows, segments).items():
            parts[dimension].append(table)
        names = pa.array([member.name] * predictions.num_rows, pa.string())
        parts[FORECASTS].append(predictions.add_column(0, "model", names))
    return {name: pa.concat_tables(found, promote_options="default") for name, found in parts.items()}


def _summary(
    context: Context[BacktestSpec],
    setup: EvaluationSetup,
    compared: EvaluationReport,
    whole: pa.Table,
    cut: list[Dimension],
) -> Backtest:
    spec = context.spec
    return Backtest(
        id=context.job_id,
        dataset=setup.task.dataset,
        dataset_version=setup.task.version,
        mode=spec.backtest_mode,
        cutoffs=[to_datetime(cutoff) for cutoff in setup.cutoffs],
        h=setup.task.h,
        refit=spec.refit,
        rows=leaderboard(compared.scores),
        overall=[
            Figures(model=row.pop("model"), label=row.pop("label"), rows=row.pop("rows"), metrics=row)
            for row in whole.to_pylist()
        ],
        dimensions=cut,
        fallbacks=_fallbacks(compared)[:MOST_FALLBACKS],
        reconciliation=spec.reconciliation if spec.hierarchy else None,
    )


def _fallbacks(compared: EvaluationReport) -> list[Fallback]:
    return [
        Fallback(
            model=member.name,
            unique_id=one.unique_id,
            cutoff=to_datetime(one.cutoff),
            method=one.method,
            reason=one.reason,
        )
        for member, outcome in zip(compared.candidates, compared.outcomes, strict=True)
        if isinstance(outcome, EvaluationResult)
        for one in outcome.fallbacks
    ]


def _said(compared: EvaluationReport) -> str:
    failed = sum(score.failed is not None for score in compared.scores)
    return f"{len(compared.scores)} models judged" + (f", {failed} of them failed" if failed else "")


if __name__ == "__main__":
    sys.exit(run(BacktestSpec, work))

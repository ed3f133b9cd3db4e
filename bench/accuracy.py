"""Accuracy on six public sets: what a training job of default settings publishes, beside peers.

`python -m bench.accuracy [--quick] [--json] [--only SET]`, with QUANTIS_BENCH_DATA naming the data's folder. Ours
is the job's own way without Ray: the members of `preset=balanced` judged on rolling origins before the test,
blended and calibrated, the gate's choice fitted anew and asked at each test origin. One thread for everybody.
`--quick` takes the two that are done first. A ratio is the best peer's WAPE over ours: above 1 ours is better.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from bench.accuracy_optional import OPTIONAL
from bench.accuracy_peers import ALWAYS
from bench.accuracy_sets import SETS, Trial
from bench.harness import arguments, report
from jobs.evaluation import candidates
from jobs.evaluation.candidates import Candidate, CandidateBlock, EvaluationResult
from models.evaluation.metrics import evaluate
from models.evaluation.promotion_gate import decide_promotion
from models.evaluation.rolling_origin import backtest
from models.families.ensemble import Ensemble
from models.families.naive import SeasonalNaive
from models.forecaster import Forecaster
from models.postprocessing.calibration import with_calibration
from models.postprocessing.ensembling import ENSEMBLE
from models.prediction import fallback
from models.prediction.response import forecast_table
from quantis.panel import Snapshot
from quantis.types.job_specs import EvaluationSpec, Family

PEERS = ALWAYS | OPTIONAL
QUICK = ("epf", "tourism")
BEFORE = {
    "rossmann_a": 0.0903, "m4_hourly": 0.0445, "gefcom": 0.0631, "stallion": 0.1588, "epf": 0.1650,
    "tourism": 0.1693,
}  # fmt: skip
"""The best single peer that was measured before on these splits, LightGBM, AutoGluon and TFT among them."""
SHOWN = ("wape", "mase", "wql", "coverage_80")


def evaluate_quantis(trial: Trial, log: Any) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Return the metrics of the published model on the test, and the facts of its selection."""
    started = time.monotonic()
    spec = EvaluationSpec(dataset=trial.name, h=trial.task.h)
    now = trial.snapshot(trial.tests[0])
    setup = trial.before_test(now)
    lineup = candidates.build_candidates(spec, trial.task)
    outcomes: dict[str, EvaluationResult | Exception] = {}
    for member in lineup:
        try:
            outcomes[member.name] = candidates.evaluate_block(setup, CandidateBlock(member), None)
        except Exception as error:
            outcomes[member.name] = error
        log(f"{trial.name}: {member.name} evaluated, {time.monotonic() - started:.0f} s")
    published = candidates.calibrate_and_blend(lineup, outcomes, setup, Family.ensemble in spec.families)
    for name, candidate in published.items():
        outcomes[name] = EvaluationResult(candidate.predictions, 0.0)
    if ENSEMBLE in published:
        lineup = [*lineup, Candidate(ENSEMBLE, Family.ensemble)]
    scores = [candidates.score_candidate(member, outcomes[member.name], setup) for member in lineup]
    decision = decide_promotion(scores)
    weights = published[decision.chosen].weights
    by_name = {member.name: member for member in lineup}
    fitted = [
        (weight, candidates.fit_candidate(by_name[name], now, trial.task)) for name, weight in weights.items()
    ]
    model = Ensemble(trial.task, fitted) if decision.chosen == ENSEMBLE else fitted[0][1]
    model = with_calibration(model, published[decision.chosen].calibration)
    metrics = _figures(trial, lambda snapshot: model, with_fallback=True)
    selection = {
        "chosen": decision.chosen,
        "weights": {name: round(weight, 2) for name, weight in weights.items()},
        "windows": len(setup.cutoffs),
        "backtest_mase": {s.model: round(s.metrics["mase"] or math.nan, 3) for s in scores if s.metrics},
        "failed": {s.model: s.failed for s in scores if s.failed},
        "seconds": round(time.monotonic() - started, 1),
    }
    return metrics, selection


def _figures(trial: Trial, fit: Any, with_fallback: bool = False) -> dict[str, float | None]:
    def predict(model: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
        if not with_fallback:
            return model.predict(snapshot)
        return forecast_table(fallback.forecast(model, snapshot, trial.task), trial.task.quantiles)

    table = backtest(fit, trial.snapshot, trial.actuals, trial.tests, predict=predict)
    return _rounded(evaluate(table, trial.actuals, trial.task.season_lengths[0]).metrics)


def _rounded(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if metrics[name] is None else round(float(metrics[name] or 0), 4) for name in SHOWN}


def naive(trial: Trial) -> dict[str, float | None]:
    """Return the best seasonal naive of the task's seasons, or twice the first, by its error on the test."""
    seasons = sorted({*trial.task.season_lengths, 2 * trial.task.season_lengths[0]})
    results = [_figures(trial, lambda s, m=m: SeasonalNaive.fit(s, trial.task, m)) for m in seasons]
    return min(results, key=lambda metrics: metrics["wape"] or math.inf)


def peer(trial: Trial, predict: Any) -> dict[str, float | None]:
    table = predict(trial)
    return _rounded(evaluate(table, trial.actuals, trial.task.season_lengths[0]).metrics)


def run(names: list[str], log: Any) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        trial = SETS[name]()
        row: dict[str, Any] = {"best_naive": naive(trial)}
        row["quantis"], row["how"] = evaluate_quantis(trial, log)
        log(f"{name}: quantis {row['quantis']} {row['how']}")
        for label, predict in PEERS.items():
            started = time.monotonic()
            row[label] = peer(trial, predict)
            log(f"{name}: {label} {row[label]}, {time.monotonic() - started:.0f} s")
        rows[name] = row
    return rows


def ratios(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the best peer's WAPE over Quantis', per set and as geometric means: this run's peers, and earlier ones."""
    best = {n: min(row[label]["wape"] for label in PEERS) / row["quantis"]["wape"] for n, row in rows.items()}
    before = {n: BEFORE[n] / row["quantis"]["wape"] for n, row in rows.items()}
    over_naive = {n: row["best_naive"]["wape"] / row["quantis"]["wape"] for n, row in rows.items()}
    return {
        "vs_best_peer": _mean(best), "vs_best_peer_before": _mean(before), "vs_best_naive": _mean(over_naive),
        **{f"vs_best_peer_{name}": value for name, value in best.items()},
    }  # fmt: skip


def _mean(values: Mapping[str, float]) -> float:
    return math.exp(sum(math.log(value) for value in values.values()) / len(values))


def main() -> None:
    options = arguments(__doc__, SETS, needs=["mlforecast"])
    names = options.only or (list(QUICK) if options.quick else list(SETS))
    rows = run(names, lambda text: print(text, file=sys.stderr, flush=True))
    wapes = {name: row["quantis"]["wape"] for name, row in rows.items()}
    peers = {label: {n: row[label]["wape"] for n, row in rows.items()} for label in (*PEERS, "best_naive")}
    report("accuracy", wapes, peers, ratios(rows), rows, options.json)


if __name__ == "__main__":
    main()

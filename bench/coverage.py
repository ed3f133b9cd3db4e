"""Coverage of 80 % intervals: on each set's test span, and on the spans before it.

`python -m bench.coverage [--quick] [--json] [--only SET]`, with QUANTIS_BENCH_DATA naming the data's folder. One span
says little: its values share their accidents, as a week of high prices. So the family that a set's accuracy was
best with is evaluated, fitted and calibrated anew before each of five spans, as a training job would, and asked at each
of the span's origins. Beside it stand its intervals as they were fitted, without the calibration; the ratio is their
WQL over ours: above 1 the calibration is worth having. `--quick` takes two sets.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

from bench.accuracy_sets import MORE, SETS, Trial
from bench.harness import arguments, report
from jobs.evaluation import candidates
from jobs.evaluation.candidates import Candidate, CandidateBlock
from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import backtest
from models.forecaster import Forecaster
from models.postprocessing.calibration import with_calibration
from quantis.types.job_specs import Family

SPANS = 5
QUICK = ("epf", "stallion")
ALL = SETS | MORE
STATISTICAL = ("tourism", "retail")


def span(trial: Trial) -> dict[str, Any]:
    """Return coverage and WQL on the trial's test, as published and as fitted."""
    task, now = trial.task, trial.snapshot(trial.tests[0])
    family = Family.statistical if trial.name in STATISTICAL else Family.boosting
    season = task.season_lengths[0]
    member, naive = Candidate(family, family), Candidate("naive", Family.seasonal_naive, season=season)
    setup = trial.before_test(now)
    outcomes = {
        candidate.name: candidates.evaluate_block(setup, CandidateBlock(candidate), None)
        for candidate in (member, naive)
    }
    candidate = candidates.calibrate_and_blend([member, naive], outcomes, setup, blend=False)[member.name]
    fitted = candidates.fit_candidate(member, now, task)
    published = with_calibration(fitted, candidate.calibration)
    return {
        "windows": len(setup.cutoffs),
        "published": _figures(trial, published),
        "fitted": _figures(trial, fitted),
    }


def _figures(trial: Trial, model: Forecaster) -> dict[str, float]:
    table = backtest(lambda _: model, trial.snapshot, trial.actuals, trial.tests)
    metrics = evaluate(table, trial.actuals, trial.task.season_lengths[0]).metrics
    return {name: round(float(metrics[name] or 0.0), 4) for name in ("coverage_80", "wql")}


def run(names: list[str], log: Callable[[str], Any]) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        whole = ALL[name]()
        for back in range(SPANS):
            results.setdefault(name, []).append(span(whole.before(back)))
            log(f"{name}, {back} spans before the test: {results[name][-1]}")
    return results


def main() -> None:
    options = arguments(__doc__, ALL)
    names = options.only or list(QUICK if options.quick else ALL)
    results = run(names, lambda text: print(text, file=sys.stderr, flush=True))

    def mean(stage: str) -> dict[str, float]:
        return {
            name: round(statistics.fmean(result[stage]["coverage_80"] for result in spans), 3)
            for name, spans in results.items()
        }

    gains = [
        result["fitted"]["wql"] / result["published"]["wql"] for spans in results.values() for result in spans
    ]
    ratios = {"wql_vs_as_fitted": statistics.geometric_mean(gains)}
    report("coverage", mean("published"), {"as_fitted": mean("fitted")}, ratios, results, options.json)


if __name__ == "__main__":
    main()

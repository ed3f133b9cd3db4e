"""`python -m jobs.preflight DATASET`: the training windows that a dataset gives, and which rule takes the others."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from cluster.backend import Backend
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.settings import Settings
from jobs.runtime import Context
from models.families.tft.preflight import RULES, PreflightReport, preflight
from quantis.errors import QuantisError
from quantis.panel import max_windows
from quantis.types.job_specs import TftParams, TrainSpec

_SHOWN = 10
_RULES = {
    "too_little_history": "begin before half an encoder has passed",
    "horizon_past_the_end": "have a horizon that the history does not hold",
    "no_observed_target": "have no observed target in their horizon",
}


def examine(settings: Settings, team: str, spec: TrainSpec) -> PreflightReport:
    """Count the training windows of the latest snapshot; of the transformer, which other families do not need."""
    dataset = Context(Backend.from_settings(settings), team, "", spec).dataset
    task = dataset.task(spec.h, spec.quantiles)
    return preflight(dataset.latest_snapshot(task), task, spec.tft)


def evaluation_fits(report: PreflightReport) -> dict[str, int]:
    """Return the longest h, and the backtest windows of the requested one, that the longest history holds."""
    steps = int(report.by_series["steps"].to_numpy().max(initial=0))
    return {"longest_h": max(0, steps - 1), "backtest_windows": max_windows(steps, report.requested.h)}


def as_json(report: PreflightReport) -> dict[str, Any]:
    return {
        "windows": report.totals,
        **evaluation_fits(report),
        "proposal": {"encoder_length": report.proposal.encoder_length, "h": report.proposal.h},
        "series": report.by_series.to_pylist(),
    }


def as_text(report: PreflightReport) -> str:
    """Format the totals by rule, the series that lose most, and a proposal."""
    totals = report.totals
    lines = [f"{totals['kept']:>12,} windows to train on"]
    lines += [f"{totals[rule]:>12,} removed: they {_RULES[rule]}" for rule in RULES]
    removed = sum(report.by_series[rule].to_numpy() for rule in RULES)
    share = removed / np.maximum(1, removed + report.by_series["kept"].to_numpy())
    worst = [int(row) for row in np.argsort(-share, kind="stable")[:_SHOWN]]
    fits = evaluation_fits(report)
    lines += [
        f"{fits['backtest_windows']:>12,} windows of h={report.requested.h} fit a backtest; the longest h is "
        f"{fits['longest_h']:,}"
    ]
    lines += ["", "most removed:"]
    for row in worst:
        series = report.by_series.slice(row, 1).to_pylist()[0]
        removals = [f"{rule.replace('_', ' ')} {series[rule]}" for rule in RULES if series[rule]]
        reasons = ", ".join(removals) or "nothing removed"
        lines.append(f"  {series['unique_id']}: {series['kept']} of {series['steps']} kept ({reasons})")
    if report.proposal != report.requested:
        lines += ["", f"try encoder_length={report.proposal.encoder_length} and h={report.proposal.h}"]
    elif report.without_windows:
        lines += [
            "",
            f"{len(report.without_windows)} series have no window; the model forecasts them all the same",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis windows", description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--h", type=int, default=24, help="steps to forecast")
    parser.add_argument(
        "--encoder-length", type=int, default=TftParams().encoder_length, help="steps of history"
    )
    parser.add_argument("--team", default=DEFAULT_TEAM)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    settings = Settings()
    try:
        spec = TrainSpec(
            dataset=arguments.dataset,
            model="preflight",
            h=arguments.h,
            tft=TftParams(encoder_length=arguments.encoder_length),
        )
        report = examine(settings, arguments.team, spec)
    except QuantisError as error:
        sys.stderr.write(f"quantis: {error.message}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(as_json(report)) + "\n" if arguments.json else as_text(report))
    return 0 if report.totals["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())

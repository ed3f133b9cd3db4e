"""Intervals under change: coverage of the 80 % interval on streams of scored actuals, by method of calibration.

`python -m bench.calibration [--quick] [--json] [--only NAME]`, with QUANTIS_BENCH_DATA for panels. Each stream issues
forecasts with the factors of then, and each method learns from a point only once its actual is known. `inside`: the
share of all windows of 500 scored points, after 200, in which 75 to 85 % are covered. `inside_long`: the same of
windows that span 30 times, too, since points of one time share their accidents. `width`: mean width against
static. `hindsight` is the best fixed factor of each segment, chosen when all is known. `--quick` takes one cadence
and no panels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from bench.calibration_methods import METHODS, Fixed, Method
from bench.calibration_streams import LAWS, REPLAYS, Stream, streams
from bench.harness import arguments, report
from models.postprocessing.adaptive_calibration import AdaptiveCalibration
from quantis.types.arrays import Floats, Integers, Mask

BURN_IN, WINDOW, TIMES = 200, 500, 30
LOW, HIGH, FLOOR = 0.75, 0.85, 0.95


@dataclass(frozen=True)
class Arrival:
    """Points that became known at a time: origins [pairs], steps [pairs] from 1, scores [pairs, series]."""

    time: int
    origins: Integers
    steps: Integers
    scores: Floats


@dataclass(frozen=True)
class Outcome:
    """Points in the order in which they became known, all [points]."""

    covered: Mask
    width: Floats
    time: Integers


def arrivals(stream: Stream) -> Iterator[Arrival]:
    """Yield the points of each time: origin `o` is issued at `o * every`, step `s` of it is known `s` later."""
    origins, _, h = stream.scores.shape
    for time in range((origins - 1) * stream.every + h + 1):
        first = max(0, -(-(time - h) // stream.every))
        index = np.arange(first, min(origins - 1, (time - 1) // stream.every) + 1)
        steps = time - index * stream.every
        yield Arrival(time, index, steps, stream.scores[index, :, steps - 1])


def replay(stream: Stream, method: Method) -> Outcome:
    """Issue and learn through the stream."""
    origins, series, h = stream.scores.shape
    segments = AdaptiveCalibration.initial(h)
    issued = np.ones((origins, len(segments.ends)))
    covered, widths, times = [], [], []
    names = np.arange(series)
    for arrival in arrivals(stream):
        if len(arrival.origins):
            width = issued[arrival.origins, segments.segment_of(arrival.steps)]  # [pairs]
            finite = np.isfinite(arrival.scores)
            score = arrival.scores[finite]
            factors = np.broadcast_to(width[:, None], finite.shape)[finite]
            if len(score):
                ids = np.broadcast_to(names, finite.shape)[finite]
                step = np.broadcast_to(arrival.steps[:, None], finite.shape)[finite]
                method.learn(ids, step, score, factors)
                covered.append(score <= factors)
                widths.append(factors)
                times.append(np.full(len(score), arrival.time))
        origin, rest = divmod(arrival.time, stream.every)
        if rest == 0 and origin < origins:
            issued[origin] = method.factors()
    return Outcome(np.concatenate(covered), np.concatenate(widths), np.concatenate(times))


def figures(outcome: Outcome) -> dict[str, float]:
    covered, times = outcome.covered[BURN_IN:], outcome.time[BURN_IN:]
    sums = np.concatenate([[0], np.cumsum(covered)])
    starts = np.arange(len(covered))
    ends = {"inside": starts + WINDOW}
    distinct = np.unique(times, return_inverse=True)[1]
    ends["inside_long"] = np.maximum(ends["inside"], np.searchsorted(distinct, distinct + TIMES))
    result = {"coverage": float(covered.mean()), "width": float(outcome.width[BURN_IN:].mean())}
    for name, end in ends.items():
        whole = end <= len(covered)
        if name == "inside_long":
            whole &= distinct + TIMES <= distinct[-1]
        share = (sums[end[whole]] - sums[starts[whole]]) / (end - starts)[whole]
        result[name] = (
            float(((share >= LOW - 1e-9) & (share <= HIGH + 1e-9)).mean()) if whole.any() else np.nan
        )
    return {name: round(value, 3) for name, value in result.items()}


def main() -> None:
    names = {*LAWS, *(replay.panel for replay in REPLAYS)}
    options = arguments(__doc__, names)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for stream in streams(options.only or names, options.quick):
        methods: dict[str, Method] = {name: make(stream.scores.shape[2]) for name, make in METHODS.items()}
        methods["hindsight"] = Fixed.in_hindsight(stream)
        results[stream.name] = {name: figures(replay(stream, method)) for name, method in methods.items()}
        print(f"{stream.name} ({np.isfinite(stream.scores).sum()} points)", file=sys.stderr)
        for name, values in results[stream.name].items():
            print(f"    {name:15}{values}", file=sys.stderr, flush=True)
    summaries = {name: summary(name, results) for name in [*METHODS, "hindsight"]}
    ours = summaries.pop("ours")
    ratios = {f"inside_vs_{name}": ours["inside"] / values["inside"] for name, values in summaries.items()}
    report("calibration", ours, summaries, ratios, results, options.json)


def summary(method: str, results: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the means over all streams, and the share of streams that hold the floor."""
    of_method = {stream: result[method] for stream, result in results.items()}
    stationary = [values["width"] for name, values in of_method.items() if name.startswith("stationary")]
    return {
        "inside": round(fmean(values["inside"] for values in of_method.values()), 3),
        "streams_inside_95": round(fmean(values["inside"] >= FLOOR for values in of_method.values()), 3),
        "width_where_stationary": round(fmean(stationary), 3) if stationary else float("nan"),
    }


if __name__ == "__main__":
    main()

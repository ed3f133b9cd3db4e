"""The verdict on a challenger, simulated: how often equal models are called different, and how soon others are.

`python -m bench.experiments [--quick] [--json]`. Daily cutoffs, `h` days ahead, and a look every day at all that is
scored by then. Errors accumulate over the horizon (AR(1) shocks of the series, part of them common to all), and each
version has errors of its own, which persist over its cutoffs and of which the two share a part, as a retrained version
does. Beside ours, the same looks by ville's asymptotic confidence sequence, which takes observations as independent:
pairs of series and cutoff, cutoffs, and target days. `--quick` makes a tenth of the runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.harness import arguments, report
from monitoring.experiments.sequential_test import RatioTest
from monitoring.experiments.verdict import ALPHA
from quantis.types.arrays import Floats

RUNS, EFFECT_RUNS = 200, 100
PERSISTENCE, LEVEL_SHARE = 0.5, 0.5


@dataclass(frozen=True)
class Scenario:
    """A simulated experiment. `own` is the variance of a version's own errors as a share of the irreducible one."""

    series: int
    h: int
    days: int
    excess: float = 0.0
    common: float = 0.1
    shared: float = 0.8
    own: float = 0.3
    level_persistence: float = 0.7
    heavy: bool = False


@dataclass(frozen=True)
class SimulatedLosses:
    """Absolute errors of both versions, [cutoffs, h, series]; step k of cutoff t is of day t + k."""

    challenger: Floats
    incumbent: Floats

    def by_day(self) -> tuple[Floats, Floats]:
        """Return the sums of each target day that the last cutoff's first step reaches. Shapes [cutoffs, series]."""
        return _by_day(self.challenger), _by_day(self.incumbent)


def simulate(scenario: Scenario, rng: np.random.Generator) -> SimulatedLosses:
    days, h, series = scenario.days, scenario.h, scenario.series

    def draw(*shape: int) -> Floats:
        return rng.standard_t(4, shape) / np.sqrt(2) if scenario.heavy else rng.normal(size=shape)

    def shocks(rows: int) -> Floats:
        common = np.sqrt(scenario.common) * draw(rows, 1)
        return common + np.sqrt(1 - scenario.common) * draw(rows, series)

    def own_errors() -> Floats:
        level, innovations = np.empty((days, series)), shocks(days)
        level[0] = innovations[0]
        for day in range(1, days):
            fresh = np.sqrt(1 - scenario.level_persistence**2) * innovations[day]
            level[day] = scenario.level_persistence * level[day - 1] + fresh
        noise = draw(days, h, series)
        return np.sqrt(LEVEL_SHARE) * level[:, None] + np.sqrt(1 - LEVEL_SHARE) * noise

    every, cutoffs = shocks(days + h), np.arange(days)
    irreducible = np.zeros((days, h, series))
    for step in range(h):
        for lag in range(step + 1):
            irreducible[:, step] += PERSISTENCE**lag * every[cutoffs + step - lag]
    # the irreducible standard deviation of each step [1, h, 1], by which a version's own errors grow too
    grows = np.sqrt((1 - PERSISTENCE ** (2 * (np.arange(h) + 1))) / (1 - PERSISTENCE**2))[None, :, None]
    both = own_errors()
    losses = []
    for excess in (scenario.excess, 0.0):
        variance = (1 + excess) ** 2 * (1 + scenario.own) - 1
        shared = scenario.shared * min(variance, scenario.own)
        own = np.sqrt(shared) * both + np.sqrt(variance - shared) * own_errors()
        losses.append(np.abs(irreducible + grows * own))
    return SimulatedLosses(*losses)


def _by_day(losses: Floats) -> Floats:
    cutoffs, h, series = losses.shape
    days = np.zeros((cutoffs + h - 1, series))
    for step in range(h):
        days[step : step + cutoffs] += losses[:, step]
    return days[:cutoffs]


def first_decision(losses: SimulatedLosses, looks: int = 1) -> tuple[int | None, str]:
    """Return the first look, counted in days, that called the two different, and how.

    Of `looks` a day the last one sees all series' actuals of that day, an earlier one those of the first series.
    """
    sums = losses.by_day()
    series = losses.challenger.shape[2]
    last_seen = [series * (look + 1) // looks - 1 for look in range(looks)]
    totals = [each.cumsum(1)[:, last_seen] for each in sums]  # [days, looks]
    whole_days, span = [each.sum(1) for each in sums], losses.challenger.shape[1]
    for day in range(2, len(whole_days[0]) + 1):
        for partial in zip(*(total[day - 1] for total in totals), strict=True):
            so_far = [
                np.append(whole[: day - 1], last) for whole, last in zip(whole_days, partial, strict=True)
            ]
            test = RatioTest(so_far[0], so_far[1], min(span, day))
            if test.e_value() >= 1 / ALPHA:
                return day, "worse" if (test.estimate or 0.0) > 0 else "better"
    return None, ""


def peer_decides(observations: Floats, per_day: int) -> bool:
    """Return True where ville's sequence, looked at daily, ever leaves zero out; from 20 observations on."""
    import ville

    sequence = ville.AsymptoticCS(alpha=ALPHA, t_opt=10 * per_day, min_samples=20)
    sequence.update(observations)
    low, high = sequence.lower_[per_day - 1 :: per_day], sequence.upper_[per_day - 1 :: per_day]
    return bool(np.any((low > 0) | (high < 0)))


def rates(scenario: Scenario, runs: int, seed: int = 0, looks: int = 1) -> dict[str, Any]:
    """Return the share of runs that called the challenger worse or better, and the pairs that it took."""
    rng = np.random.default_rng(seed)
    decisions = [first_decision(simulate(scenario, rng), looks) for _ in range(runs)]
    days = sorted(day for day, _ in decisions if day is not None)
    result: dict[str, Any] = {
        call: round(sum(label == call for _, label in decisions) / runs, 3) for call in ("worse", "better")
    }
    for share in (0.5, 0.8, 0.95):
        index = int(np.ceil(share * runs)) - 1
        result[f"pairs_at_{share:.0%}"] = days[index] * scenario.series if index < len(days) else None
    return result


def naive_rates(scenario: Scenario, runs: int) -> dict[str, float]:
    """Return the share of runs in which each way of taking observations as independent called them different."""
    rng, ways = np.random.default_rng(0), _independent(scenario)
    called = dict.fromkeys(ways, 0)
    for _ in range(runs):
        losses = simulate(scenario, rng)
        for name, (observations, per_day) in ways.items():
            called[name] += peer_decides(observations(losses), per_day)
    return {name: round(count / runs, 3) for name, count in called.items()}


def _independent(scenario: Scenario) -> dict[str, tuple[Callable[[SimulatedLosses], Floats], int]]:
    def pairs(losses: SimulatedLosses) -> Floats:
        return (losses.challenger - losses.incumbent).mean(1).ravel()

    def days(losses: SimulatedLosses) -> Floats:
        challenger, incumbent = losses.by_day()
        return (challenger - incumbent).sum(1)

    return {
        "ville_pairs": (pairs, scenario.series),
        "ville_cutoffs": (lambda losses: pairs(losses).reshape(-1, scenario.series).mean(1), 1),
        "ville_target_days": (days, 1),
    }


EQUAL = {
    f"{label}, h={h}": replace(scenario, h=h)
    for h in (1, 7, 14)
    for label, scenario in {
        "10 series": Scenario(10, 1, 180),
        "half of all shocks common, own errors last, none shared": Scenario(
            10, 1, 180, common=0.5, shared=0.0, level_persistence=0.9
        ),
        "Student's t with 4 degrees": Scenario(10, 1, 180, heavy=True),
        "3 series": Scenario(3, 1, 180),
    }.items()
}
WORSE = {
    "10 series, h=7": Scenario(10, 7, 50, excess=0.15),
    "5 series, h=7": Scenario(5, 7, 100, excess=0.15),
    "5 series, h=14": Scenario(5, 14, 100, excess=0.15),
    "20 series, h=7": Scenario(20, 7, 25, excess=0.15),
    "10 series, h=1": Scenario(10, 1, 50, excess=0.15),
    "10 series, h=7, half shared": Scenario(10, 7, 50, excess=0.15, shared=0.5),
}
BETTER = {
    f"{series} series, h={h}": Scenario(series, h, 180, excess=-0.05)
    for series in (10, 50)
    for h in (1, 7, 14)
}


def main() -> None:
    options = arguments(__doc__, needs=["ville"])
    cut = 10 if options.quick else 1
    equal = {name: rates(scenario, RUNS // cut) for name, scenario in EQUAL.items()}
    worse = {name: rates(scenario, EFFECT_RUNS // cut, 1) for name, scenario in WORSE.items()}
    better = {name: rates(scenario, EFFECT_RUNS // cut, 2) for name, scenario in BETTER.items()}
    wrong = {name: round(rate["worse"] + rate["better"], 3) for name, rate in equal.items()}
    first = next(iter(name for name in EQUAL if name.endswith("h=7")))
    naive = naive_rates(EQUAL[first], RUNS // cut)
    report(
        "experiments", {"equal_called_different": max(wrong.values())}, {f"equal: {first}": naive},
        {}, {"equal": wrong, "worse_by_15%": worse, "better_by_5%": better}, options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()

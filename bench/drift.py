"""Drift, simulated: how often calm data raise something, and how soon a shifted series is named.

`python -m bench.drift [--quick] [--json]`: panels of 50 daily series with a weekly season and autocorrelated noise
(AR(1) at 0.5, a fifth of the shocks common to all), one covariate of the same kind, one of text, missing values in
spells, lateness and a model's residuals. A month is 28 daily looks, each at the last 14 points against the 112
before; 200 months of the first kind, 60 of each other. Shifts are of 20 % in a tenth of the series, looked at for 14
days. `--quick` makes a tenth of the runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from bench.harness import arguments, report
from monitoring.drift.report import WINDOW, detect_drift
from quantis.panel import timestamps
from quantis.types.arrays import Floats
from quantis.types.operations.drift import DriftKind, DriftReport

MONTHS, OTHER_MONTHS, SHIFTED_RUNS, LOOKS, REFERENCE = 200, 60, 50, 28, 112
START, DAY = np.datetime64("2025-01-01", "us"), np.timedelta64(1, "D")


@dataclass(frozen=True)
class Calm:
    """Noise of a panel: `noise` is its standard deviation as a share of each series' level."""

    series: int = 50
    noise: float = 0.08
    persistence: float = 0.5
    common: float = 0.2
    yearly: float = 0.0
    heavy: bool = False


@dataclass(frozen=True)
class SimulatedPanel:
    """Columns [series, days]; NaN where a value is missing."""

    y: Floats
    price: Floats
    weather: np.ndarray
    lateness: Floats
    residual: Floats

    def look(self, end: int) -> DriftReport:
        """Return the drift seen when `end` days have passed."""
        days = slice(end - WINDOW - REFERENCE, end)
        series, length = self.y[:, days].shape
        ids = np.repeat([f"s{number}" for number in range(series)], length)
        ds = np.tile(START + np.arange(days.start, days.stop) * DAY, series)
        late = (self.lateness[:, days].ravel() * 3.6e9).astype("timedelta64[us]")
        present = np.isfinite(self.y[:, days].ravel())
        panel = pa.table(
            {
                "unique_id": ids, "ds": timestamps(ds), "y": pa.array(self.y[:, days].ravel(), from_pandas=True),
                "price": self.price[:, days].ravel(), "weather": self.weather[:, days].ravel(),
                "known_at": timestamps(ds + late),
            }
        )  # fmt: skip
        residuals = pa.table(
            {"unique_id": ids, "ds": timestamps(ds), "residual": self.residual[:, days].ravel()}
        )
        return detect_drift(panel, season_lengths=(7,), residuals=residuals.filter(pa.array(present)))


def simulate(calm: Calm, days: int, rng: np.random.Generator) -> SimulatedPanel:
    def noise() -> Floats:
        return _noise(calm, days, rng)

    level = rng.gamma(4, 25, (calm.series, 1))
    week = rng.normal(0, 0.2, (calm.series, 7))[:, np.arange(days) % 7]
    year = calm.yearly * np.sin(2 * np.pi * (np.arange(days) + rng.integers(365)) / 365)
    shocks = noise()
    y = level * (1 + week + year + calm.noise * shocks)
    gaps = rng.random((calm.series, days)) < 0.005
    gaps[:, 1:] |= gaps[:, :-1] & (rng.random((calm.series, days - 1)) < 0.7)
    return SimulatedPanel(
        y=np.where(gaps, np.nan, y),
        price=10 + week + 0.3 * noise(),
        weather=np.array(["sun", "rain", "snow"])[
            np.clip(np.digitize(noise(), [0.3, 1.2]), 0, 2)
        ],
        lateness=6 + rng.exponential(1.0, (calm.series, days)),
        residual=0.5 * shocks + 0.5 * noise(),
    )  # fmt: skip


def _noise(calm: Calm, days: int, rng: np.random.Generator) -> Floats:
    """Return AR(1) noise of variance one. Shape [series, days]."""

    def draw(rows: int) -> Floats:
        return (
            rng.standard_t(4, (rows, days + 50)) / np.sqrt(2)
            if calm.heavy
            else rng.normal(size=(rows, days + 50))
        )

    shocks = np.sqrt(calm.common) * draw(1) + np.sqrt(1 - calm.common) * draw(calm.series)
    values = shocks.copy()
    for day in range(1, days + 50):
        values[:, day] = calm.persistence * values[:, day - 1]
        values[:, day] += np.sqrt(1 - calm.persistence**2) * shocks[:, day]
    return np.asarray(values[:, 50:], np.float64)


def months_with_findings(calm: Calm, months: int, seed: int = 0) -> float:
    """Return the share of calm months in which any daily look raised anything."""
    rng = np.random.default_rng(seed)
    raised = 0
    for _ in range(months):
        panel = simulate(calm, REFERENCE + WINDOW + LOOKS, rng)
        raised += any(_raised(panel))
    return raised / months


def _raised(panel: SimulatedPanel) -> Iterator[bool]:
    first = REFERENCE + WINDOW
    for end in range(first + 1, first + LOOKS + 1):
        drift = panel.look(end)
        yield bool(drift.findings) or drift.residual_change is not None


def shifted(calm: Calm, runs: int, seed: int = 1) -> dict[str, float]:
    """Return shares of the shifted series named within 14 points, of runs that name all, and false names a run."""
    rng, count = np.random.default_rng(seed), calm.series // 10
    shares, wrong = [], []
    for _ in range(runs):
        start = REFERENCE + WINDOW
        panel = simulate(calm, start + WINDOW, rng)
        y = panel.y.copy()
        y[:count, start:] += 0.2 * np.nanmean(y[:count], axis=1, keepdims=True)
        names = _named(replace(panel, y=y), range(start + 1, start + WINDOW + 1))
        shares.append(sum(f"s{number}" in names for number in range(count)) / count)
        wrong.append(len([name for name in names if int(name[1:]) >= count]))
    return {
        "named": round(float(np.mean(shares)), 3),
        "all_named": round(float(np.mean(np.array(shares) == 1)), 3),
        "false_names": round(float(np.mean(wrong)), 3),
    }


def _named(panel: SimulatedPanel, ends: range) -> set[str]:
    names: set[str] = set()
    for end in ends:
        for finding in panel.look(end).findings:
            if finding.kind is DriftKind.target:
                names |= {part.unique_id for part in finding.parts if part.unique_id}
    return names


CALM = {
    "seasonal, autocorrelated": Calm(),
    "AR(1) at 0.8": Calm(persistence=0.8),
    "Student's t with 4 degrees": Calm(heavy=True),
    "three fifths of the shocks common": Calm(common=0.6),
    "a year's season of 20 %": Calm(yearly=0.2),
    "5 series": Calm(series=5),
}


def main() -> None:
    options = arguments(__doc__)
    cut = 10 if options.quick else 1
    raised = {
        name: months_with_findings(calm, (OTHER_MONTHS if index else MONTHS) // cut)
        for index, (name, calm) in enumerate(CALM.items())
    }
    named: dict[str, Any] = {
        f"noise {noise:.0%} of the level": shifted(Calm(noise=noise), SHIFTED_RUNS // cut)
        for noise in (0.05, 0.06, 0.08, 0.1)
    }
    figures = {"calm": raised, "shift_of_20%": named}
    report("drift", {"calm_months_raised": max(raised.values())}, {}, {}, figures, options.json)


if __name__ == "__main__":
    main()

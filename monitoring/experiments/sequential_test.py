"""The anytime-valid t-test: e-values and confidence sequences of a mean whose variance is not known.

For m independent Gaussian observations with t-statistic T and a normal prior of precision c on the
standardised mean, the Bayes factor against mean zero, with the right Haar prior on the scale, is

    E = sqrt(c / (m + c)) * ((1 + T^2 / m) / (1 + c / (m + c) * T^2 / m)) ^ (m / 2),

a test martingale in m: the chance that it ever reaches 1 / alpha is at most alpha however often one looks
(Lai, 1976; Perez-Ortiz, Lardy, de Heide and Grunwald, 2024; Wang and Ramdas, 2025). For large m it is the
mixture boundary of the asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
2024), which need no Gaussian law; for small m it asks for more.

Dependent observations: the variance is the long-run one (Newey and West, 1987) over the blocks that a
forecast reaches over, and m is what an estimate of it is worth, 1.5 blocks a span, the equivalent degrees
of freedom of Bartlett's window (Priestley, 1981). `python -m bench.experiments` measures the error of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from monitoring.experiments.paired_losses import PairedLosses
from quantis.types.arrays import Floats

PRIOR_PRECISION = 0.5
"""c: the mean is expected to be some 1.4 standard deviations of a block, whose noise all series average out."""
WORTH = 1.5
_LOG_CAP = math.log(1e300)


@dataclass(frozen=True)
class RatioTest:
    """The test of how much the challenger's losses exceed the incumbent's, as a share of these.

    For each ratio r the blocks `challenger - r * incumbent` have mean zero if r is the ratio of expected
    losses; the confidence sequence holds the ratios that are not rejected (Fieller, 1954), and equal
    models are r = 1.
    """

    challenger: Floats  # [blocks]
    incumbent: Floats  # [blocks]
    span: int

    @classmethod
    def from_losses(cls, losses: PairedLosses) -> RatioTest:
        return cls(losses.challenger, losses.incumbent, losses.span)

    @property
    def effective_blocks(self) -> float:
        blocks = len(self.challenger)
        return min(float(blocks), WORTH * blocks / self.span)

    @property
    def estimate(self) -> float | None:
        """Return the excess of the challenger's loss as a share of the incumbent's, None where this has none."""
        total = float(self.incumbent.sum())
        return float((self.challenger - self.incumbent).sum()) / total if total > 0 else None

    def e_value(self, excess: float = 0.0) -> float:
        """Return the evidence against the hypothesis that the ratio of losses is 1 + `excess`."""
        blocks = (self.challenger - self.incumbent) - excess * self.incumbent
        if len(blocks) < 2:
            return 1.0
        variance = max(long_run_covariance(blocks, blocks, lags) for lags in (0, self.span - 1))
        mean = float(blocks.mean())
        if mean == 0.0:
            return e_value(0.0, self.effective_blocks)
        if variance <= 0.0:
            return e_value(math.inf, self.effective_blocks)
        return e_value(len(blocks) * mean**2 / variance, self.effective_blocks)

    def confidence_sequence(self, alpha: float) -> tuple[float | None, float | None]:
        """Return the ends of the excesses whose e-value stays below 1 / `alpha`; None where there is none."""
        limit = critical_value(alpha, self.effective_blocks)
        if len(self.challenger) < 2 or not math.isfinite(limit):
            return None, None
        ends = [self._roots(limit, lags) for lags in (0, self.span - 1)]
        lows, highs = zip(*ends, strict=True)
        if None in lows:
            return None, None
        return min(lows), max(highs)

    def _roots(self, limit: float, lags: int) -> tuple[float | None, float | None]:
        """Return the excesses x between which n mean(d - x i)^2 < limit * var(d - x i), d the difference of losses."""
        d, i, n = self.challenger - self.incumbent, self.incumbent, len(self.challenger)
        square = n * i.mean() ** 2 - limit * long_run_covariance(i, i, lags)
        cross = n * d.mean() * i.mean() - limit * long_run_covariance(d, i, lags)
        constant = n * d.mean() ** 2 - limit * long_run_covariance(d, d, lags)
        if square <= 0:
            return None, None  # the incumbent's own mean is not known to differ from zero
        root = math.sqrt(max(0.0, cross**2 - square * constant))
        return float((cross - root) / square), float((cross + root) / square)


def e_value(t_squared: float, blocks: float) -> float:
    """Return the Bayes factor above for a squared t-statistic of `blocks` independent observations."""
    if blocks <= 1:
        return 1.0
    c, ratio = PRIOR_PRECISION, t_squared / blocks
    shrunk = c / (blocks + c)
    # log((1 + x) / (1 + s x)) -> -log(s) as x grows
    gain = -math.log(shrunk) if math.isinf(ratio) else math.log1p(ratio) - math.log1p(shrunk * ratio)
    return math.exp(min(_LOG_CAP, 0.5 * math.log(shrunk) + 0.5 * blocks * gain))


def critical_value(alpha: float, blocks: float) -> float:
    """Return the squared t-statistic whose e-value is 1 / `alpha`, infinity where none reaches it."""
    if blocks <= 1:
        return math.inf
    shrunk = PRIOR_PRECISION / (blocks + PRIOR_PRECISION)
    log_ratio = 2 / blocks * (math.log(1 / alpha) - 0.5 * math.log(shrunk))
    if log_ratio >= -math.log(shrunk):
        return math.inf
    return blocks * math.expm1(log_ratio) / (1 - shrunk * math.exp(log_ratio))


def long_run_covariance(left: Floats, right: Floats, lags: int) -> float:
    """Return the covariance of two series' sums per observation, with Bartlett's weights up to `lags`."""
    x, y = left - left.mean(), right - right.mean()
    total = float(x @ y)
    for lag in range(1, min(lags, len(x) - 1) + 1):
        weight = 1 - lag / (lags + 1)
        total += weight * float(x[lag:] @ y[:-lag] + y[lag:] @ x[:-lag])
    return total / (len(x) - 1)

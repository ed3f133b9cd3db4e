"""Methods that keep intervals true on a stream: ours, and those of the literature, each written after its paper."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from bench.calibration_streams import COVERAGE, Stream
from models.postprocessing.adaptive_calibration import AdaptiveCalibration, ScoredPoints, update
from quantis.types.arrays import Floats, Integers

ALPHA = 1 - COVERAGE


class Method(Protocol):
    """Widths by segment of the horizon, learned from what became known at a time."""

    def factors(self) -> Floats:
        """Return the factor of each segment."""

    def learn(self, series: Integers, step: Integers, score: Floats, issued: Floats) -> None:
        """Learn from points [points] that became known together, `issued` under these factors."""


class Ours:
    def __init__(self, h: int) -> None:
        self.state = AdaptiveCalibration.initial(h)

    def factors(self) -> Floats:
        return np.array(self.state.factors)

    def learn(self, series: Integers, step: Integers, score: Floats, issued: Floats) -> None:
        arrival = np.zeros(len(series), np.int64)
        miscoverage = np.full(len(series), ALPHA)
        self.state = update(
            self.state, ScoredPoints(arrival, series, step, score, score > issued, miscoverage)
        )


class Fixed:
    """The same factors for the whole stream."""

    def __init__(self, factors: Floats) -> None:
        self._factors = factors

    @classmethod
    def in_hindsight(cls, stream: Stream) -> Fixed:
        """Return the factor of each segment that covers the share wanted of all its scores: a bound, no method."""
        h = stream.scores.shape[2]
        segment = AdaptiveCalibration.initial(h).segment_of(np.arange(1, h + 1))
        scores = [stream.scores[:, :, segment == number] for number in np.unique(segment)]
        return cls(np.array([np.nanquantile(of_segment, COVERAGE) for of_segment in scores]))

    def factors(self) -> Floats:
        return self._factors

    def learn(self, series: Integers, step: Integers, score: Floats, issued: Floats) -> None:
        pass


class BySegment:
    """A method for one horizon, once for each segment of it."""

    def __init__(self, h: int, make: Callable[[], OneSegment]) -> None:
        self._segments = AdaptiveCalibration.initial(h)
        self._methods = [make() for _ in self._segments.ends]

    def factors(self) -> Floats:
        return np.array([method.factor for method in self._methods])

    def learn(self, series: Integers, step: Integers, score: Floats, issued: Floats) -> None:
        segment = self._segments.segment_of(step)
        for number in np.unique(segment):
            rows = segment == number
            self._methods[number].learn(score[rows], issued[rows])


class OneSegment(Protocol):
    factor: float

    def learn(self, score: Floats, issued: Floats) -> None: ...


class Static:
    """The interval as it was calibrated before."""

    factor = 1.0

    def learn(self, score: Floats, issued: Floats) -> None:
        pass


class RollingWindow:
    """The quantile of the latest scores (split conformal prediction, renewed)."""

    def __init__(self, window: int = 200, burn_in: int = 50) -> None:
        self.factor = 1.0
        self._scores: deque[float] = deque(maxlen=window)
        self._burn_in = burn_in

    def learn(self, score: Floats, issued: Floats) -> None:
        self._scores.extend(score)
        if len(self._scores) >= self._burn_in:
            self.factor = float(np.quantile(self._scores, min(1.0, COVERAGE * (1 + 1 / len(self._scores)))))


class Dtaci:
    """Dynamically tuned adaptive conformal inference: experts on the level (Gibbs and Candes, 2024)."""

    _GAMMAS = np.array([0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128])
    _INTERVAL = 100

    def __init__(self, window: int = 500, burn_in: int = 50) -> None:
        self.factor = 1.0
        self._scores: deque[float] = deque(maxlen=window)
        self._burn_in = burn_in
        count = len(self._GAMMAS)
        self._levels, self._weights = np.full(count, ALPHA), np.full(count, 1 / count)
        spread = COVERAGE**2 * ALPHA**3 + ALPHA**2 * COVERAGE**3
        self._rate = np.sqrt(3 / self._INTERVAL * (np.log(count * self._INTERVAL) + 2) / spread)

    def learn(self, score: Floats, issued: Floats) -> None:
        if len(self._scores) >= self._burn_in:
            recent = np.sort(self._scores)
            beta = 1 - np.searchsorted(recent, score) / len(recent)  # [points], the level that just covers
            gap = beta[:, None] - self._levels  # [points, experts]
            losses = (ALPHA * gap - np.minimum(0.0, gap)).mean(axis=0)
            weights = self._weights * np.exp(-self._rate * losses)
            weights /= weights.sum()
            share = 1 / (2 * self._INTERVAL)
            self._weights = (1 - share) * weights + share / len(weights)
            self._levels = self._levels + self._GAMMAS * (ALPHA - (gap < 0).mean(axis=0))
        self._scores.extend(score)
        if len(self._scores) >= self._burn_in:
            level = float(np.clip(self._weights @ self._levels, 0.001, 0.999))
            self.factor = float(np.quantile(self._scores, 1 - level))


class ConformalPid:
    """Quantile tracking and error integration on the scores themselves (Angelopoulos, Candes, Tibshirani, 2023)."""

    _RATE, _SATURATION, _WINDOW = 0.1, 5.0, 100

    def __init__(self) -> None:
        self.factor = 1.0
        self._tracked, self._sum, self._steps = 1.0, 0.0, 0
        self._recent: deque[float] = deque(maxlen=self._WINDOW)

    def learn(self, score: Floats, issued: Floats) -> None:
        self._recent.extend(score)
        scale, excess = max(self._recent), float((score > issued).mean()) - ALPHA
        self._steps += 1
        self._sum += excess
        self._tracked += self._RATE * scale * excess
        angle = self._sum * np.log(self._steps + 1) / (self._SATURATION * (self._steps + 1))
        integral = scale * np.tan(np.clip(angle, -1.5, 1.5))
        self.factor = max(0.0, self._tracked + float(integral))


class _Ogd:
    """Scale-free online gradient descent, an expert for a while."""

    def __init__(self, radius: float, ends: int) -> None:
        self.radius, self.ends = radius, ends
        self.gains, self.wealth, self.age = 0.0, 0.0, 0
        self._squares = 0.0

    @property
    def bet(self) -> float:
        return max(0.0, self.gains / (self.age + 1) * (1 + self.wealth))

    def learn(self, score: Floats, ensemble: float) -> None:
        gain = (_pinball(score, ensemble) - _pinball(score, self.radius)) / COVERAGE
        gain = float(np.clip(gain, -1.0, 1.0)) if self.bet > 0 else float(np.clip(gain, 0.0, 1.0))
        self.wealth += self.bet * gain
        self.gains += gain
        self.age += 1
        gradient = ALPHA - float((score > self.radius).mean())
        self._squares += gradient**2
        self.radius -= gradient / np.sqrt(3 * self._squares)


class Saocp:
    """Strongly adaptive online conformal prediction: experts of many lifetimes (Bhatnagar et al., 2023)."""

    _LIFETIME = 8

    def __init__(self) -> None:
        self.factor = 1.0
        self._steps = 0
        self._experts: list[tuple[int, _Ogd]] = []

    def learn(self, score: Floats, issued: Floats) -> None:
        self._steps += 1
        lifetime = self._LIFETIME * (self._steps & -self._steps)
        self._experts.append((self._steps, _Ogd(self.factor, self._steps + lifetime)))
        for _, expert in self._experts:
            expert.learn(score, self.factor)
        self._experts = [(start, expert) for start, expert in self._experts if expert.ends > self._steps]
        starts = np.array([start for start, _ in self._experts], float)
        prior = 1 / (starts**2 * (1 + np.floor(np.log2(starts))))
        weights = prior * np.array([expert.bet for _, expert in self._experts])
        weights = weights if weights.sum() > 0 else prior
        radii = np.array([expert.radius for _, expert in self._experts])
        self.factor = float(weights @ radii / weights.sum())


def _pinball(score: Floats, radius: float) -> float:
    return float(np.maximum(COVERAGE * (score - radius), ALPHA * (radius - score)).mean())


METHODS: dict[str, Callable[[int], Method]] = {
    "static": lambda h: BySegment(h, Static),
    "ours": Ours,
    "conformal_pid": lambda h: BySegment(h, ConformalPid),
    "saocp": lambda h: BySegment(h, Saocp),
    "dtaci": lambda h: BySegment(h, Dtaci),
    "rolling_window": lambda h: BySegment(h, RollingWindow),
}

"""The drift of a dataset and of a model's residuals: the last points of each column against those before.

Surprise is a test of each series in each aspect of each column, with the false discovery rate controlled over all of
them (Benjamini and Hochberg, 1995) at a rate that lets a month of daily looks at calm data pass in 19 of 20 cases
(`python -m bench.drift`). Size is the Wasserstein distance and the population stability index of what drifted. Findings
are ranked by importance times size times the share of series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from monitoring.anomalies import benjamini_hochberg
from monitoring.drift.page_hinkley import page_hinkley
from monitoring.drift.panel_grid import PanelGrid
from monitoring.drift.share_test import missing_test, new_categories
from monitoring.drift.shift_test import ShiftTest, mean_of, shift_test
from monitoring.drift.sizes import index_of_counts, stability_index, wasserstein
from quantis.frequency import to_datetime
from quantis.panel import KNOWN_AT, Y
from quantis.types.arrays import Floats
from quantis.types.operations.drift import (
    DriftAspect,
    DriftedPart,
    DriftFinding,
    DriftKind,
    DriftReport,
    ResidualChange,
)

WINDOW, RATE = 14, 0.0006
RESIDUAL = "residual"
_MAX_PARTS = 100
_MAX_CATEGORIES = 10
_MIN_TOGETHER = 3
_USUAL = 3.0

Part = tuple[str | None, str | None]
"""A series or a category; both None for all series together."""


@dataclass(frozen=True)
class _Tested:
    """One aspect of one column. `parts` are (series, category); the arrays are [parts], `samples` [parts, times]."""

    column: str
    kind: DriftKind
    aspect: DriftAspect
    parts: Sequence[Part]
    p_value: Floats
    before: Floats
    after: Floats
    samples: Floats = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True)
class _Column:
    """Quantities of one column, [series, times]."""

    name: str
    kind: DriftKind
    values: Floats


def detect_drift(
    panel: pa.Table,
    *,
    season_lengths: tuple[int, ...],
    importance: Mapping[str, float] | None = None,
    residuals: pa.Table | None = None,
    window: int = WINDOW,
    rate: float = RATE,
) -> DriftReport:
    """Compare the last `window` points of a panel with those before, most important drift first.

    `panel` has unique_id, ds, y and covariates up to now (text is categories), and known_at where lateness is to be
    seen; `residuals` has unique_id, ds and `residual`, a model's scaled errors. Season lengths are in steps.
    """
    grid = PanelGrid(panel)
    tested = list(_tests_of_panel(grid, window, season_lengths))
    change = None
    if residuals is not None and residuals.num_rows:
        errors = PanelGrid(residuals.select(["unique_id", "ds", RESIDUAL]))
        tested += _tests_of_values(
            _Column(RESIDUAL, DriftKind.residual, errors.values(RESIDUAL)), _series(errors), window, ()
        )
        change = _residual_change(errors, window)
    p_values = np.concatenate([test.p_value for test in tested])
    q_values = _adjusted(p_values)
    ends = np.cumsum([len(test.p_value) for test in tested])[:-1]
    findings = [
        finding
        for test, q_value in zip(tested, np.split(q_values, ends), strict=True)
        if (finding := _finding(test, q_value, rate, window, importance)) is not None
    ]
    findings += _new_categories(grid, window, importance)
    times = grid.times
    return DriftReport(
        window=window,
        reference=max(0, len(times) - window),
        start=to_datetime(times[-window:][0]) if len(times) else None,
        end=to_datetime(times[-1]) if len(times) else None,
        tested=int(np.isfinite(p_values).sum()),
        ranked_by="equal" if importance is None else "model",
        false_discovery_rate=rate,
        findings=tuple(sorted(findings, key=lambda finding: -finding.rank_score)),
        residual_change=change,
    )


def _tests_of_panel(grid: PanelGrid, window: int, season_lengths: tuple[int, ...]) -> Iterator[_Tested]:
    for column in grid.quantities:
        kind = DriftKind.target if column == Y else DriftKind.covariate
        quantity = _Column(column, kind, grid.values(column))
        yield from _tests_of_values(quantity, _series(grid), window, season_lengths)
    for column in (*grid.quantities, *grid.categories):
        present = grid.present(column)
        share = 1 - present.astype(np.float64)
        yield _Tested(
            column, DriftKind.missing, DriftAspect.share, _series(grid), missing_test(present, window),
            mean_of(share[:, :-window]), mean_of(share[:, -window:]),
        )  # fmt: skip
    for column in grid.categories:
        yield _test_of_categories(column, grid, window, season_lengths)
    if KNOWN_AT in grid.table.column_names:
        lateness = _Column(KNOWN_AT, DriftKind.lateness, grid.lateness())
        yield next(_tests_of_values(lateness, _series(grid), window, season_lengths))


def _tests_of_values(
    column: _Column, parts: Sequence[Part], window: int, season_lengths: tuple[int, ...]
) -> Iterator[_Tested]:
    """Test the level of each series and of all together, then the spread: how far values move from one to the next."""
    level = shift_test(column.values, window, season_lengths)
    yield _tested(column, DriftAspect.level, parts, level)
    if len(column.values) >= _MIN_TOGETHER:
        together = shift_test(mean_of(level.residuals.T)[None], window, ())
        yield _tested(column, DriftAspect.level, [(None, None)], together)
    usual = np.clip(level.residuals, -_USUAL, _USUAL)
    moves = np.sqrt(np.abs(np.diff(usual, axis=1, prepend=np.nan)))  # the root of a move is nearly Gaussian
    yield _tested(column, DriftAspect.spread, parts, shift_test(moves, window, ()))


def _tested(column: _Column, aspect: DriftAspect, parts: Sequence[Part], test: ShiftTest) -> _Tested:
    results = (test.p_value, test.before, test.after)
    return _Tested(column.name, column.kind, aspect, parts, *results, test.residuals)


def _test_of_categories(
    column: str, grid: PanelGrid, window: int, season_lengths: tuple[int, ...]
) -> _Tested:
    """Test the share over all series of each of the most frequent categories."""
    names, counts = grid.counts(column)
    frequent = np.argsort(-counts.sum(1), kind="stable")[:_MAX_CATEGORIES]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (counts / counts.sum(0))[frequent]
    test = shift_test(shares, window, season_lengths)
    parts = [(None, names[index]) for index in frequent]
    return _tested(_Column(column, DriftKind.category, shares), DriftAspect.share, parts, test)


def _series(grid: PanelGrid) -> list[Part]:
    return [(name, None) for name in grid.ids]


def _adjusted(p_values: Floats) -> Floats:
    q_values = np.full(len(p_values), np.nan)
    usable = np.isfinite(p_values)
    q_values[usable] = benjamini_hochberg(p_values[usable])
    return q_values


def _finding(
    test: _Tested, q_value: Floats, rate: float, window: int, importance: Mapping[str, float] | None
) -> DriftFinding | None:
    drifted = np.flatnonzero(q_value <= rate)
    if not len(drifted):
        return None
    drifted = drifted[np.argsort(test.p_value[drifted], kind="stable")]
    samples = test.samples[drifted] if len(test.samples) else np.empty((0, 0))
    distances = [wasserstein(sample[:-window], sample[-window:]) for sample in samples[:_MAX_PARTS]]
    distance = float(np.mean([value or 0.0 for value in distances])) if distances else None
    size = distance if distance is not None else float(np.mean((test.after - test.before)[drifted]))
    tested, weight = int(np.isfinite(test.p_value).sum()), _importance(test.column, test.kind, importance)
    return DriftFinding(
        column=test.column,
        kind=test.kind,
        aspect=test.aspect,
        parts=tuple(_part(test, q_value, index) for index in drifted[:_MAX_PARTS]),
        drifted=len(drifted),
        tested=tested,
        psi=stability_index(samples[:, :-window].ravel(), samples[:, -window:].ravel())
        if len(samples)
        else None,
        wasserstein=distance,
        importance=weight,
        rank_score=weight * size * len(drifted) / tested,
    )


def _part(test: _Tested, q_value: Floats, index: int) -> DriftedPart:
    unique_id, category = test.parts[index]
    return DriftedPart(
        unique_id=unique_id,
        category=category,
        before=float(test.before[index]),
        after=float(test.after[index]),
        p_value=float(test.p_value[index]),
        q_value=float(q_value[index]),
    )


def _new_categories(
    grid: PanelGrid, window: int, importance: Mapping[str, float] | None
) -> Iterator[DriftFinding]:
    for column in grid.categories:
        names, counts = grid.counts(column)
        unseen = np.flatnonzero(new_categories(counts, window))
        if not len(unseen):
            continue
        shares = counts[:, -window:].sum(1) / counts[:, -window:].sum()
        size = index_of_counts(counts[:, :-window].sum(1), counts[:, -window:].sum(1))
        weight = _importance(column, DriftKind.category, importance)
        parts = [
            DriftedPart(
                unique_id=None,
                category=names[index],
                before=0.0,
                after=float(shares[index]),
                p_value=None,
                q_value=None,
            )
            for index in unseen[np.argsort(-shares[unseen], kind="stable")][:_MAX_PARTS]
        ]
        yield DriftFinding(
            column=column, kind=DriftKind.category, aspect=DriftAspect.new, parts=tuple(parts), drifted=len(unseen),
            tested=len(names), psi=size, wasserstein=None, importance=weight, rank_score=weight * size,
        )  # fmt: skip


def _importance(column: str, kind: DriftKind, importance: Mapping[str, float] | None) -> float:
    """Return the weight of a column: 1 for the target and residuals, 0 for a covariate that the model does not use."""
    if importance is None or column == Y or kind in (DriftKind.residual, DriftKind.lateness):
        return 1.0
    return importance.get(column, 0.0)


def _residual_change(grid: PanelGrid, window: int) -> ResidualChange | None:
    """Test the residuals' mean over the series, time by time, after the points before the window."""
    means = mean_of(grid.values(RESIDUAL).T)
    usable = np.isfinite(means)
    times = grid.times[usable]
    change = page_hinkley(means[usable], len(times) - window) if len(times) > 2 * window else None
    if change is None:
        return None
    return ResidualChange(
        since=to_datetime(times[change.start]), detected=to_datetime(times[change.detected]), rose=change.rose
    )

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from bench.drift import REFERENCE, Calm, SimulatedPanel, months_with_findings, shifted, simulate
from monitoring.drift.report import WINDOW, detect_drift
from quantis.types.operations.drift import DriftAspect, DriftFinding, DriftKind, DriftReport

CALM = Calm(series=20, noise=0.05)
DAYS = REFERENCE + WINDOW


@pytest.fixture(scope="module")
def panel() -> SimulatedPanel:
    return simulate(CALM, DAYS, np.random.default_rng(4))


def finding(report: DriftReport, column: str, kind: DriftKind, aspect: DriftAspect) -> DriftFinding:
    named = (f for f in report.findings if f.parts[0].unique_id or f.parts[0].category)
    return next(f for f in named if (f.column, f.kind, f.aspect) == (column, kind, aspect))


def test_when_data_are_calm_then_a_month_of_daily_looks_raises_nothing() -> None:
    assert months_with_findings(Calm(series=10), months=8, seed=5) == 0


def test_when_a_tenth_of_the_series_shifts_by_20_percent_then_they_are_named_within_14_points() -> None:
    named = shifted(replace(CALM, noise=0.045), runs=5, seed=6)
    assert named["all_named"] == 1
    assert named["false_names"] <= 0.2


def test_when_nothing_changed_then_there_are_no_findings(panel: SimulatedPanel) -> None:
    report = panel.look(DAYS)
    assert report.findings == ()
    assert report.residual_change is None
    assert (report.window, report.reference) == (WINDOW, REFERENCE)
    assert report.tested > 100
    assert report.start is not None
    assert report.end is not None
    assert (report.end - report.start).days == WINDOW - 1


def test_when_parts_of_the_data_change_then_each_is_found_as_what_it_is(panel: SimulatedPanel) -> None:
    y, price, weather = panel.y.copy(), panel.price.copy(), panel.weather.astype("<U8")
    lateness, residual = panel.lateness.copy(), panel.residual.copy()
    y[2, -WINDOW:] *= 1.4
    y[5, -9:] = np.nan
    price[:, -WINDOW:] += 1.0
    weather[:3, -4:] = "hail"
    lateness[7, -WINDOW:] += 48
    residual[:, -WINDOW:] += 2.0
    changed = SimulatedPanel(y, price, weather, lateness, residual)
    report = changed.look(DAYS)
    target = finding(report, "y", DriftKind.target, DriftAspect.level)
    assert [part.unique_id for part in target.parts] == ["s2"]
    assert target.parts[0].after / target.parts[0].before == pytest.approx(1.4, abs=0.1)
    missing = finding(report, "y", DriftKind.missing, DriftAspect.share)
    assert [part.unique_id for part in missing.parts] == ["s5"]
    assert missing.parts[0].after == pytest.approx(9 / 14)
    assert finding(report, "price", DriftKind.covariate, DriftAspect.level).drifted >= 15
    new = finding(report, "weather", DriftKind.category, DriftAspect.new)
    assert [(part.category, part.p_value) for part in new.parts] == [("hail", None)]
    late = finding(report, "known_at", DriftKind.lateness, DriftAspect.level)
    assert [part.unique_id for part in late.parts] == ["s7"]
    assert report.residual_change is not None
    assert report.residual_change.rose
    assert report.start is not None
    assert abs((report.residual_change.since - report.start).days) <= 1
    assert [f.rank_score for f in report.findings] == sorted(
        (f.rank_score for f in report.findings), reverse=True
    )


def test_when_all_series_shift_a_little_then_all_together_are_named(panel: SimulatedPanel) -> None:
    y = panel.y.copy()
    y[:, -WINDOW:] *= 1.06
    report = replace(panel, y=y).look(DAYS)
    together = [f.parts[0].unique_id for f in report.findings if f.kind is DriftKind.target and f.tested == 1]
    assert together == [None]


def test_when_the_spread_grows_then_it_is_found_as_spread(panel: SimulatedPanel) -> None:
    y = panel.y.copy()
    center = np.nanmean(y[3])
    y[3, -WINDOW:] = center + 6 * (y[3, -WINDOW:] - center) * np.where(np.arange(WINDOW) % 2, 1, -1)
    report = replace(panel, y=y).look(DAYS)
    assert finding(report, "y", DriftKind.target, DriftAspect.spread).parts[0].unique_id == "s3"


def test_when_columns_drift_alike_then_the_more_important_one_comes_first(panel: SimulatedPanel) -> None:
    ids = [f"s{number}" for number in range(20) for _ in range(DAYS)]
    ds = pa.array(np.tile(np.datetime64("2025-01-01", "us") + np.arange(DAYS) * np.timedelta64(1, "D"), 20))
    price = panel.price.copy()
    price[:, -WINDOW:] += 2
    columns = {"minor": price.ravel(), "major": price.ravel()}
    table = pa.table({"unique_id": ids, "ds": ds.cast(pa.timestamp("us", tz="UTC")), **columns})
    report = detect_drift(table, season_lengths=(7,), importance={"minor": 0.1, "major": 0.6})
    assert [f.column for f in report.findings if f.aspect is DriftAspect.level and f.tested > 1] == [
        "major",
        "minor",
    ]
    assert report.ranked_by == "model"
    equal = detect_drift(table, season_lengths=(7,))
    assert (equal.ranked_by, {f.importance for f in equal.findings}) == ("equal", {1.0})
    unused = detect_drift(table, season_lengths=(7,), importance={"major": 1.0})
    assert {f.rank_score for f in unused.findings if f.column == "minor"} == {0.0}


def test_when_a_panel_is_short_or_empty_then_nothing_is_tested() -> None:
    empty = pa.table(
        {
            "unique_id": pa.array([], pa.string()),
            "ds": pa.array([], pa.timestamp("us", tz="UTC")),
            "y": pa.array([], pa.float64()),
        }
    )
    report = detect_drift(empty, season_lengths=(7,))
    assert (report.tested, report.findings, report.start) == (0, (), None)
    short = empty.from_pylist(
        [{"unique_id": "a", "ds": np.datetime64("2026-01-01", "us").item(), "y": 1.0}], schema=empty.schema
    )
    assert detect_drift(short, season_lengths=(7,)).tested == 0

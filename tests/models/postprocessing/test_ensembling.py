from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from models.arrays import floats
from models.evaluation.evaluated import EvaluatedRows
from models.families.ensemble import Ensemble
from models.families.naive import SeasonalNaive
from models.families.statistical import Statistical
from models.forecaster import Forecaster
from models.postprocessing.calibration import Calibration, with_calibration, without_calibration
from models.postprocessing.ensembling import ENSEMBLE, blend_candidates, weigh
from models.registry.bundle import read_bundle, write_bundle
from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.panel import Task, timestamps

H, SERIES, WINDOWS = 6, 40, 3
START = np.datetime64("2024-01-01", "us")
LEVELS = (0.1, 0.5, 0.9)
TASK = Task.model_validate(
    {
        "dataset": "toy",
        "version": 1,
        "content_hash": "0" * 64,
        "as_of": datetime(2025, 1, 1, tzinfo=UTC),
        "freq": "D",
        "h": H,
        "season_lengths": (7,),
        "quantiles": LEVELS,
    }
)
DAYS = Frequency.parse("D").shift(np.full(100 + WINDOWS * H, START), np.arange(100 + WINDOWS * H))


@pytest.fixture(scope="module")
def world():
    """Histories, and a function that makes judged predictions with given errors and half-width."""
    draw = np.random.default_rng(1)
    values = 50 + draw.normal(0, 5, (SERIES, len(DAYS)))
    names = [f"s{i:02d}" for i in range(SERIES)]
    history = pa.table(
        {
            "unique_id": np.repeat(names, len(DAYS)),
            "ds": timestamps(np.tile(DAYS, SERIES)),
            "y": values.reshape(-1),
        }
    )

    def judged(noise: float, width: float, seed: int, sign: float = 1.0) -> pa.Table:
        errors = sign * np.abs(np.random.default_rng(seed).normal(0, noise, (WINDOWS, SERIES, H)))
        y = np.stack([values[:, 100 + w * H : 100 + (w + 1) * H] for w in range(WINDOWS)])
        middle = (y + errors).reshape(-1)
        ds = np.stack([np.tile(DAYS[100 + w * H : 100 + (w + 1) * H], SERIES) for w in range(WINDOWS)])
        return pa.table(
            {
                "unique_id": np.tile(np.repeat(names, H), WINDOWS),
                "ds": timestamps(ds.reshape(-1)),
                "cutoff": timestamps(np.repeat([DAYS[99 + w * H] for w in range(WINDOWS)], SERIES * H)),
                "y": y.reshape(-1),
                "mean": middle,
                "q0.1": middle - width,
                "q0.5": middle,
                "q0.9": middle + width,
            }
        )

    return history, judged


def _rows(table: pa.Table, history: pa.Table) -> EvaluatedRows:
    return EvaluatedRows.from_tables(table, history, 7)


def _fitted(calibration: Calibration | None) -> Calibration:
    assert calibration is not None
    return calibration


def _coverage(table: pa.Table) -> float:
    y = floats(table["y"])
    return float(np.mean((floats(table["q0.1"]) <= y) & (y <= floats(table["q0.9"]))))


def test_when_members_err_to_opposite_sides_then_both_get_about_half(world):
    history, judged = world
    high, low = judged(4, 1, seed=2), judged(4, 1, seed=3, sign=-1)
    weights = weigh({"high": _rows(high, history), "low": _rows(low, history)}, _rows(high, history))
    assert weights["high"] == pytest.approx(0.5, abs=0.1)
    assert sum(weights.values()) == pytest.approx(1)


def test_when_one_member_is_right_then_the_other_gets_nothing(world):
    history, judged = world
    right, wrong = judged(0.01, 1, seed=2), judged(20, 1, seed=3)
    assert weigh({"right": _rows(right, history), "wrong": _rows(wrong, history)}, _rows(wrong, history)) == {
        "right": 1.0
    }


@pytest.mark.parametrize("width", [1.5, 20.0])
def test_when_intervals_are_too_narrow_or_wide_then_those_of_other_data_cover_after_calibration(world, width):
    history, judged = world
    middle = (judged(4, width, seed=2), judged(4, width, seed=5, sign=-1))
    both = pa.concat_tables(middle)
    calibration = _fitted(Calibration.fit(_rows(both, history), H, WINDOWS, 0))
    fresh = pa.concat_tables([judged(4, width, seed=7), judged(4, width, seed=8, sign=-1)])
    assert not 0.75 < _coverage(fresh) < 0.85
    windows = [fresh.slice(i * SERIES * H, SERIES * H) for i in range(2 * WINDOWS)]
    assert 0.75 < _coverage(pa.concat_tables([calibration.apply(w) for w in windows])) < 0.85


def test_when_there_are_few_windows_then_intervals_move_part_of_the_way_and_never_past_it(world):
    history, judged = world
    rows = _rows(judged(4, 1.5, seed=2), history)

    def factor(windows: int, prior: int) -> float:
        return _fitted(Calibration.fit(rows, H, windows, prior)).factors["q0.9"][0]

    few, more, all_the_way = factor(1, 2), factor(3, 2), factor(3, 0)
    assert 1 < few < more < all_the_way
    assert few == pytest.approx(all_the_way ** (1 / 3), rel=1e-6)


def test_when_a_member_has_measured_its_intervals_then_the_backtest_moves_them_less(world):
    history, judged = world
    table = judged(4, 1.5, seed=2)
    found = blend_candidates({"sure": table, "other": table}, table, history, TASK, measured={"sure"})
    own, measured = (_fitted(found[name].calibration).factors["q0.9"][0] for name in ("other", "sure"))
    assert own == pytest.approx(measured ** ((3 + 12) / (3 + 2)))
    assert 1 < measured < own


def test_when_members_have_measured_their_intervals_then_the_backtest_makes_none_narrower(world):
    history, judged = world
    members = {name: judged(4, 20.0, seed=s, sign=sign) for name, s, sign in (("a", 2, 1), ("b", 3, -1))}

    def narrowed(measured: set[str]) -> dict[str, bool]:
        found = blend_candidates(members, members["a"], history, TASK, blended=members, measured=measured)
        return {
            name: min(min(factors) for factors in _fitted(weighted.calibration).factors.values()) < 1
            for name, weighted in found.items()
        }

    assert narrowed({"a", "b"}) == {"a": False, "b": False, ENSEMBLE: False}
    assert narrowed({"a"}) == {"a": False, "b": True, ENSEMBLE: True}


def test_when_one_side_alone_has_quantiles_then_it_is_moved_until_it_holds_its_share(world):
    history, judged = world
    upper = [judged(4, 1.5, seed=s, sign=sign).drop_columns(["q0.1"]) for s, sign in ((2, 1), (5, -1))]
    calibration = _fitted(Calibration.fit(_rows(pa.concat_tables(upper), history), H, WINDOWS, 0))
    assert set(calibration.factors) == {"q0.9"}
    fresh = [judged(4, 1.5, seed=s, sign=sign).drop_columns(["q0.1"]) for s, sign in ((7, 1), (8, -1))]
    windows = [table.slice(i * SERIES * H, SERIES * H) for table in fresh for i in range(WINDOWS)]
    moved = pa.concat_tables([calibration.apply(window) for window in windows])
    assert np.mean(floats(moved["y"]) <= floats(moved["q0.9"])) == pytest.approx(0.9, abs=0.04)


def test_when_there_is_the_median_alone_then_there_is_nothing_to_calibrate(world):
    history, judged = world
    assert (
        Calibration.fit(_rows(judged(4, 1, seed=2).drop_columns(["q0.1", "q0.9"]), history), H, WINDOWS, 0)
        is None
    )


def test_when_calibrated_then_quantiles_do_not_cross_and_nothing_becomes_negative(world):
    _history, judged = world
    table = judged(4, 0.5, seed=2)
    wide = Calibration(ends=(2, H), factors={"q0.1": (6.0, 0.0), "q0.9": (0.0, 6.0)})
    near_zero = table.slice(0, SERIES * H)
    for name in ("mean", "q0.1", "q0.5", "q0.9"):
        index = near_zero.column_names.index(name)
        near_zero = near_zero.set_column(index, name, pa.array(floats(near_zero[name]) - 45.0))
    given = np.column_stack([floats(near_zero[f"q{q}"]) for q in LEVELS])
    moved = wide.apply(near_zero)
    fan = np.column_stack([floats(moved[f"q{q}"]) for q in LEVELS])
    assert (np.diff(fan, axis=1) >= 0).all()
    assert (fan.min(axis=1) >= np.minimum(given.min(axis=1), 0.0)).all()
    assert moved.select(["unique_id", "ds"]).equals(near_zero.select(["unique_id", "ds"]))


def test_when_the_actuals_of_a_window_change_then_what_is_judged_there_stays(world):
    history, judged = world
    members = {"high": judged(4, 1, seed=2), "low": judged(3, 2, seed=3, sign=-1)}
    before = blend_candidates(members, members["high"], history, TASK, blended=members)[ENSEMBLE]
    last = np.arange(WINDOWS * SERIES * H) >= (WINDOWS - 1) * SERIES * H

    def shifted(table: pa.Table) -> pa.Table:
        y = floats(table["y"]) + np.where(last, 30.0, 0.0)
        return table.set_column(table.column_names.index("y"), "y", pa.array(y))

    other = {name: shifted(table) for name, table in members.items()}
    after = blend_candidates(other, other["high"], history, TASK, blended=other)[ENSEMBLE]
    for name in ("mean", "q0.1", "q0.9"):
        same = floats(before.predictions[name]) == floats(after.predictions[name])
        assert same[last].all()
        assert not same[~last].all() or name == "mean"


def test_when_a_member_may_not_be_blended_then_it_is_calibrated_alone(world):
    history, judged = world
    members = {"own": judged(1, 1, seed=2), "other": judged(3, 2, seed=3, sign=-1)}
    found = blend_candidates(members, members["other"], history, TASK, blended={"other"})
    assert set(found) == {"own", "other"}
    assert found["own"].calibration is not None


def test_when_an_ensemble_is_kept_as_a_bundle_then_it_answers_the_same_and_covers_as_before(
    make_task, make_snapshot, tmp_path
):
    task = make_task(quantiles=LEVELS)
    snapshot, _ = make_snapshot(task, {"a": 400, "b": 400})
    members: list[tuple[float, Forecaster]] = [
        (0.25, SeasonalNaive.fit(snapshot, task, 24)),
        (0.75, Statistical.fit(snapshot, task)),
    ]
    calibration = Calibration(ends=(task.h,), factors={"q0.1": (2.0,), "q0.9": (3.0,)})
    model = with_calibration(Ensemble(task, members), calibration)
    again = read_bundle(write_bundle(tmp_path / "b", model, snapshot))
    assert again.predict(snapshot).equals(model.predict(snapshot))
    assert again.family == "ensemble"
    assert isinstance(without_calibration(again), Ensemble)
    plain, moved = without_calibration(again).predict(snapshot), again.predict(snapshot)
    assert np.allclose(
        floats(moved["q0.9"]) - floats(moved["q0.5"]), 3 * (floats(plain["q0.9"]) - floats(plain["q0.5"]))
    )


def test_when_a_series_is_too_short_for_some_members_then_the_others_answer(make_task, make_snapshot):
    task = make_task(quantiles=LEVELS)
    snapshot, _ = make_snapshot(task, {"a": 400, "short": 30})
    naive, statistical = SeasonalNaive.fit(snapshot, task, 24), Statistical.fit(snapshot, task)
    assert naive.min_history <= 30 < statistical.min_history
    table = Ensemble(task, [(0.5, naive), (0.5, statistical)]).predict(snapshot)
    alone = naive.predict(snapshot)
    assert np.array_equal(floats(table["mean"])[task.h :], floats(alone["mean"])[task.h :])
    assert not np.array_equal(floats(table["mean"])[: task.h], floats(alone["mean"])[: task.h])


def test_when_an_ensemble_has_no_members_then_it_says_so():
    with pytest.raises(InvalidInput, match="needs members"):
        Ensemble(TASK, [])

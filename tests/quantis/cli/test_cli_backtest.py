"""Backtests and model cards on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantis.testing import FakeApi
from quantis.types.job_specs import BacktestSpec
from quantis.types.registry import Backtest, Fallback, Figures
from tests.quantis.cli.conftest import leaderboard, model_version

CUTOFF = datetime(2024, 1, 2, tzinfo=UTC)


def figures(model: str, label: str, mase: float) -> Figures:
    return Figures(model=model, label=label, rows=24, metrics={"mase": mase, "smape": 12.0, "wql": None})


@pytest.fixture(autouse=True)
def judged(server: str, api: FakeApi, csv: Path, quantis: Any) -> None:
    assert quantis("data", "push", "hourly", str(csv), "--hist", "temp").code == 0
    api.models.append(model_version(1, "champion", experiment="job-1"))
    found = Backtest(
        id="job-1", dataset="hourly", dataset_version=1, mode="vintage", cutoffs=[CUTOFF], h=24, refit=True,
        rows=leaderboard("job-1").rows, overall=[figures("boosting", "all", 0.8)], dimensions=["series", "step"],
        fallbacks=[Fallback(model="boosting", unique_id="LGA/DL", cutoff=CUTOFF, method="last_value", reason="short")],
    )  # fmt: skip
    rows = [
        figures("boosting", "JFK/B6", 0.7),
        figures("boosting", "LGA/DL", 0.9),
        figures("tft", "JFK/B6", 0.6),
    ]
    api.backtests["job-1"] = found, {"series": rows}


def test_when_a_backtest_is_shown_then_leaderboard_fallbacks_and_the_way_on_are_there(quantis: Any) -> None:
    done = quantis("backtest", "show", "job-1")
    assert "boosting *" in done.out
    assert "LGA/DL at 2024-01-02 00:00, boosting: last_value, short" in done.err
    assert "vintage, h = 24, 1 windows, fitted anew at each" in done.err
    assert "quantis backtest show job-1 --by series" in done.err
    assert quantis("backtest", "show", "job-1", "--json").json["mode"] == "vintage"


def test_when_figures_are_asked_for_by_series_then_each_has_a_row(quantis: Any) -> None:
    done = quantis("backtest", "show", "job-1", "--by", "series", "--model", "boosting")
    assert [line.split()[:4] for line in done.out.splitlines()[2:]] == [
        ["boosting", "JFK/B6", "24", "0.700"], ["boosting", "LGA/DL", "24", "0.900"],
    ]  # fmt: skip
    assert len(quantis("backtest", "show", "job-1", "--by", "series", "--json").json["items"]) == 3
    assert quantis("backtest", "show", "job-1", "--by", "segment").code == 4
    wrong = quantis("backtest", "show", "job-1", "--by", "colour")
    assert wrong.code == 2
    assert "series, step, window, segment" in wrong.err


def test_when_a_backtest_is_started_then_the_job_says_what_was_asked(quantis: Any, api: FakeApi) -> None:
    done = quantis(
        "backtest", "run", "hourly", "--h", "6", "--families", "statistical,boosting", "--windows", "3", "--step-size",
        "2", "--refit", "--vintage", "--segment", "temp", "--level", "state", "--level", "state,region", "--no-wait",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.out
    spec = BacktestSpec.model_validate(done.json["spec"])
    assert (spec.h, spec.families, spec.n_windows, spec.step_size) == (6, ("statistical", "boosting"), 3, 2)
    assert (spec.refit, spec.backtest_mode, spec.segments) == (True, "vintage", ("temp",))
    assert spec.hierarchy == (("state",), ("state", "region"))
    assert quantis("backtest", "run", "hourly", "--no-wait").err.count("quantis backtest show") == 1


def test_when_a_card_is_asked_for_then_it_is_markdown_on_stdout(quantis: Any, api: FakeApi) -> None:
    api.cards["demand", 1] = "# demand, version 1\n\n\x1b[31mfigures\n"
    assert quantis("models", "card", "demand@champion").out == "# demand, version 1\n\nfigures\n"
    assert quantis("models", "card", "demand:1", "--json").json["version"] == 1
    assert quantis("models", "card", "nothing").code == 4

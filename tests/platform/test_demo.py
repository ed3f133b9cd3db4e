from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.platform.live import Live

README = Path(__file__).resolve().parents[2] / "README.md"
TOLERANCE = 0.10


def test_when_the_demo_has_run_then_every_family_was_judged_and_the_champion_beats_naive(live: Live) -> None:
    rows = live.report["leaderboard"]
    assert {row["family"] for row in rows} == {"seasonal_naive", "baseline", "statistical", "boosting", "tft"}
    assert [row["model"] for row in rows if row["failed"]] == []
    chosen = [row for row in rows if row["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["skill"] > 0
    assert live.report["champion"]["family"] == chosen[0]["family"]
    assert live.report["better_than_naive_168"] > 0


def test_when_series_are_strange_then_each_gets_its_rung_in_the_requested_order(live: Live) -> None:
    assert [(a["unique_id"], a["method"], a["reason"]) for a in live.report["answers"]] == [
        ("JFK/B6", "model", None),
        ("SFO/XX", "seasonal_naive", "unknown_series"),
        ("LGA/DL", "last_value", "short_history"),
        ("JFK/ZZ", "typical", "no_history"),
        ("nobody", "none", "unknown_series"),
    ]


def test_when_the_demo_runs_again_then_it_says_what_it_reuses(live: Live) -> None:
    again = live.quantis("demo", "--quick", "--port", str(live.port), "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    kinds = {reused.partition(" ")[0] for reused in report["reused"]}
    assert kinds == {"dataset", "featurize", "train", "tune", "forecast"}
    assert report["scores"] == live.report["scores"]


@pytest.mark.parametrize("name", ["demand", "seasonal_naive_24", "seasonal_naive_168", "scheduled"])
def test_when_the_readme_states_a_score_then_a_fresh_run_agrees(live: Live, name: str) -> None:
    row = re.search(rf"^\| {name} \| ([\d.]+) \| ([\d.]+) \|", README.read_text(), re.MULTILINE)
    assert row, f"the README's table has no row for {name}"
    for stated, figure in zip(row.groups(), ("wape", "mase"), strict=True):
        assert live.report["scores"][name][figure] == pytest.approx(float(stated), rel=TOLERANCE)

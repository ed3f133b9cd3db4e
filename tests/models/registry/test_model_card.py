"""The model card says what the registry and the leaderboard know, and what it is not for."""

from __future__ import annotations

from datetime import UTC, datetime

from models.registry.model_card import render_card
from quantis.types.registry import Leaderboard, LeaderboardRow, Lineage, ModelVersion

NOW = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
LINEAGE = Lineage(
    code_version="0.1.0 (abc)", code_hash="c" * 64, environment_hash="e" * 64, libraries={"numpy": "2.4.6"},
    trained_at=NOW,
)  # fmt: skip


def version(family: str = "boosting", lineage: Lineage | None = LINEAGE, **gate: object) -> ModelVersion:
    return ModelVersion(
        model="demand", version=3, family=family, aliases=["champion"], created_at=NOW, experiment="job-1",
        dataset="flights", dataset_version=2, content_hash="d" * 64, h=24, freq="h", as_of=NOW, lineage=lineage,
        metrics={"mase": 0.81, "coverage_80": 0.793, "coverage_95": 0.941}, gate=gate,
    )  # fmt: skip


def board() -> Leaderboard:
    good = LeaderboardRow(
        rank=1, model="boosting", family="boosting", mase=0.81, wql=0.2, wape=0.3, coverage_80=0.793, seconds=9.1,
        skill=0.308, chosen=True, size_bytes=1_234_567, p_value=0.001, verdict="better",
    )  # fmt: skip
    floor = good.model_copy(
        update={
            "rank": 2,
            "model": "seasonal_naive_24",
            "skill": 0.0,
            "chosen": False,
            "verdict": "the baseline",
        }
    )
    broken = good.model_copy(
        update={"rank": 3, "model": "tft", "failed": "timed out | after 9 s", "chosen": False}
    )
    return Leaderboard(
        experiment="job-1", model="demand", dataset="flights", dataset_version=2, cutoffs=[NOW], h=24,
        rows=[good, floor, broken],
    )  # fmt: skip


def test_when_a_card_is_written_then_data_figures_intervals_limits_and_lineage_are_in_it():
    text = render_card(version(reason="boosting: MASE 30.8% below", beats_naive=True), board())
    assert text.startswith("# demand, version 3\n\nGradient boosted trees (LightGBM)")
    for part in (
        "| trained on | flights version 2 |", "| as it was known at | 2024-05-06 07:08 UTC |",
        "It is better than seasonal naive: boosting: MASE 30.8% below.",
        "| **boosting** | 0.810 | +30.8% | 0.200 | 0.300 | 79% | better | 9.1 | 1.2 MB |",
        "| tft | - | - | - | - | - | failed: timed out \\| after 9 s | - | - |", "1 window of 24 steps",
        "its 80 % intervals held 79.3% and its 95 % intervals held 94.1%", "Horizons beyond 24 steps",
        f"| lock file | `{'e' * 64}` |", "| libraries | numpy 2.4.6 |", f"| data | `{'d' * 64}` |",
    ):  # fmt: skip
        assert part in text, part


def test_when_the_champion_is_the_floor_then_the_card_says_that_nothing_was_better():
    text = render_card(version("seasonal_naive", reason="no model is better", beats_naive=False), board())
    assert "This is the baseline itself. no model is better." in text


def test_when_the_job_and_the_lineage_are_gone_then_the_card_has_what_the_version_knows():
    text = render_card(version("drift", lineage=None), None)
    assert "A model of the family `drift`, which its operator added." in text
    assert "| mase | 0.81 |" in text
    assert "not recorded (a bundle of format 1)" in text

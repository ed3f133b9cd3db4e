"""Models and forecasts on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantis.plot import SHADES
from quantis.testing import FakeApi
from quantis.types.registry import HeadToHead
from tests.quantis.cli.conftest import leaderboard, model_version


@pytest.fixture(autouse=True)
def trained(server: str, api: FakeApi, csv: Path, quantis: Any) -> None:
    assert quantis("data", "push", "hourly", str(csv), "--hist", "temp").code == 0
    api.models += [
        model_version(1, "champion", experiment="job-1"),
        model_version(2, "candidate", experiment="job-2"),
    ]
    api.leaderboards["job-2"] = leaderboard("job-2")


def test_when_models_are_listed_then_their_champion_is_named(quantis: Any) -> None:
    assert quantis("models", "ls").out.splitlines()[2].split() == ["demand", "1", "2", "2"]
    assert quantis("models", "ls", "--json").json["items"][0]["champion"] == 1
    assert [v["version"] for v in quantis("models", "show", "demand", "--json").json["items"]] == [1, 2]


@pytest.mark.parametrize(
    ("ref", "number"), [("demand@champion", 1), ("demand@candidate", 2), ("demand:2", 2)]
)
def test_when_a_version_is_named_then_it_is_shown(quantis: Any, ref: str, number: int) -> None:
    assert quantis("models", "show", ref, "--json").json["version"] == number
    assert f"demand:{number}" in quantis("models", "show", ref).out


@pytest.mark.parametrize("name", ["demand", "job-2"])
def test_when_a_leaderboard_is_asked_for_then_by_model_or_by_job(quantis: Any, name: str) -> None:
    assert quantis("models", "leaderboard", name, "--json").json["experiment"] == "job-2"
    assert "boosting *" in quantis("models", "leaderboard", name).out


def test_when_a_version_is_promoted_then_the_alias_moves(quantis: Any) -> None:
    assert quantis("models", "promote", "demand", "2").code == 0
    assert quantis("models", "ls", "--json").json["items"][0]["champion"] == 2
    assert quantis("models", "show", "demand:1", "--json").json["aliases"] == []
    assert quantis("models", "promote", "demand", "9").code == 4


def test_when_a_promoted_version_was_compared_then_its_figures_against_the_other_are_shown(
    quantis: Any, api: FakeApi
) -> None:
    reason = "v2 has 2.4 times the error of v1"
    row = HeadToHead(challenger=2, incumbent=1, incumbent_family="theta", verdict="worse", reason=reason)
    gate = {"passed": True, "replaces": False, "head_to_head": row.model_dump(mode="json")}
    api.models = [
        version.model_copy(update={"head_to_head": row, "gate": gate}) if version.version == 2 else version
        for version in api.models
    ]
    assert reason in quantis("models", "promote", "demand", "2").err
    shown = quantis("models", "show", "demand:2").out
    assert reason in shown
    assert "incumbent_family" not in shown


def test_when_a_forecast_is_asked_for_then_the_table_holds_the_numbers_of_the_answer(quantis: Any) -> None:
    arguments = (
        "forecast",
        "demand",
        "--series",
        "LGA/DL",
        "--series",
        "JFK/B6",
        "--h",
        "3",
        "--level",
        "80",
    )
    answer = quantis(*arguments, "--json").json
    assert [entry["unique_id"] for entry in answer["forecasts"]] == ["LGA/DL", "JFK/B6"]
    table = quantis(*arguments)
    assert table.code == 0
    assert table.out.splitlines()[0].split() == ["series", "ds", "(UTC)", "mean", "lo-80", "hi-80"]
    rows = [line.split() for line in table.out.splitlines()[2:]]
    assert len(rows) == 6
    first = answer["forecasts"][0]
    assert rows[0] == [
        "LGA/DL",
        "2024-01-04",
        "00:00",
        f"{first['mean'][0]:.2f}",
        f"{first['quantiles']['0.1'][0]:.2f}",
        f"{first['quantiles']['0.9'][0]:.2f}",
    ]
    assert "fallback, last value" in table.err


def test_when_a_forecast_is_as_of_a_past_time_then_it_starts_there(quantis: Any) -> None:
    answer = quantis(
        "forecast", "demand:1", "--series", "JFK/B6", "--as-of", "2024-01-02T12:00Z", "--json"
    ).json
    assert answer["forecasts"][0]["ds"][0] == "2024-01-02T13:00:00Z"
    assert len(answer["forecasts"][0]["ds"]) == 24


def test_when_drawn_then_history_bands_and_what_followed_are_seen(quantis: Any) -> None:
    done = quantis("forecast", "demand", "--series", "JFK/B6", "--as-of", "2024-01-02T12:00Z", "--plot")
    assert done.code == 0
    for word in ("JFK/B6", "history", "median", "actual", "80 %", "95 %"):
        assert word in done.out.splitlines()[0]
    assert SHADES[0] in done.out
    assert SHADES[1] in done.out
    assert any("⠀" < letter <= "⣿" for letter in done.out)
    assert "\x1b" not in done.out
    live = quantis("forecast", "demand", "--series", "JFK/B6", "--plot")
    assert "actual" not in live.out.splitlines()[0]


def test_when_every_series_is_refused_then_code_1(quantis: Any) -> None:
    done = quantis("forecast", "demand", "--series", "unknown")
    assert done.code == 1
    assert "unknown: refused" in done.err
    assert quantis("forecast", "demand", "--series", "unknown", "--series", "JFK/B6").code == 0


def test_when_there_is_no_such_model_then_code_4(quantis: Any) -> None:
    assert quantis("forecast", "nothing", "--series", "a").code == 4
    assert quantis("models", "show", "nothing").code == 4
    assert quantis("models", "leaderboard", "nothing").code == 4

"""A data folder that an earlier commit made opens, and says what it said: `make_data_folder` tells what is in it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.invented import OLD
from tests.compat.opening import ARCHIVE, EXPECTED, Opened, Question, opened, unpacked

KNOWN = json.loads(EXPECTED.read_text())
QUESTIONS: dict[str, Question] = {question["name"]: question for question in KNOWN["questions"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("QUANTIS_"):
                patch.delenv(name)
        folder = unpacked(ARCHIVE, tmp_path_factory.mktemp("before") / "data")
        with opened(folder, KNOWN["people"]) as world:
            yield world


@pytest.mark.parametrize("name", QUESTIONS)
def test_when_a_folder_of_before_is_asked_then_it_answers_as_it_did(world: Opened, name: str) -> None:
    question = QUESTIONS[name]
    if "after" in question:
        world.ask(QUESTIONS[question["after"]])
    found, expected = in_todays_words(world.ask(question)), in_todays_words(question["answer"])
    _leave_out_unused_covariates(found["body"])
    _leave_out_other_shares(found["body"], expected["body"])
    if name.startswith("forecast by") or name == "forecast of before the correction":
        for answer in (found["body"], expected["body"]):
            _leave_out_ended_series(answer)
    assert list(differences(found, expected, question.get("tolerance", 0.0))) == []


def test_when_what_is_asked_is_counted_then_no_method_no_family_and_no_kind_of_job_is_left_out() -> None:
    answers = {name: in_todays_words(question["answer"]["body"]) for name, question in QUESTIONS.items()}
    forecasts = [body for name, body in answers.items() if "forecast" in name and "forecasts" in body]
    entries = [entry for body in forecasts for entry in body["forecasts"]]
    assert {entry["method"] for entry in entries} == {
        "model",
        "seasonal_naive",
        "last_value",
        "typical",
        "none",
    }
    assert {entry["status"] for entry in entries} == {"ok", "fallback", "refused"}
    assert {body["model"]["family"] for body in forecasts} == {
        "seasonal_naive", "last_value", "theta", "statistical", "boosting", "boosting_recent", "boosting_plain",
        "ensemble", "tft",
    }  # fmt: skip
    assert {one["method"] for one in answers["backtest"]["fallbacks"]} == {"seasonal_naive", "last_value"}
    kinds = {job["kind"] for job in answers["jobs"]["items"]}
    assert kinds == {"featurize", "train", "backtest", "tune", "forecast", "compact", "ingest"}


UTC = re.compile(r"T\d\d:\d\d:\d\d\+00:00$")
NEW_NAMES = {"rung": "method", "rungs": "methods"}


def in_todays_words(answer: Any) -> Any:
    """The answer as it is worded since `rung` is called `method`, and a job's counts `rungs` are its `methods`.

    Applied to both sides, it takes an answer of before and one of today alike. Of a model card it leaves what is
    of the model: the headings and the tables, since the sentences around them are the code's.
    """
    if isinstance(answer, dict):
        named = {NEW_NAMES.get(name, name): in_todays_words(value) for name, value in answer.items()}
        if "markdown" in named:
            named["markdown"] = [
                line for line in named["markdown"].splitlines() if line.startswith(("#", "|"))
            ]
        return named
    if isinstance(answer, list):
        return [in_todays_words(value) for value in answer]
    # The origins of a forecast job were stored as `+00:00`; typed, they are written with a Z like all times.
    return answer.removesuffix("+00:00") + "Z" if isinstance(answer, str) and UTC.search(answer) else answer


def _leave_out_ended_series(answer: Any) -> None:
    """Leave out the series that ended long before the others: its forecast begins at its own end since then."""
    if isinstance(answer, dict) and "forecasts" in answer:
        answer["forecasts"] = [entry for entry in answer["forecasts"] if entry["unique_id"] != OLD]


def _leave_out_unused_covariates(answer: Any) -> None:
    """Leave out the warnings that covariates change nothing, which answers of before lack."""
    if isinstance(answer, dict) and "warnings" in answer:
        answer["warnings"] = [text for text in answer["warnings"] if "change nothing" not in text]


def _leave_out_other_shares(found: Any, expected: Any) -> None:
    """Leave out the entries of another version than the first series': shares hold for each series since then."""
    if not isinstance(found, dict) or not any("version" in entry for entry in found.get("forecasts", ())):
        return
    version = found["model"]["version"]
    positions = [i for i, entry in enumerate(found["forecasts"]) if entry.get("version") == version]
    assert found["warnings"]
    found["warnings"] = []
    found["forecasts"] = [
        {key: value for key, value in found["forecasts"][i].items() if key != "version"} for i in positions
    ]
    expected["forecasts"] = [expected["forecasts"][i] for i in positions]


def differences(found: Any, expected: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """Yield the paths at which two answers differ, numbers by more than the tolerance."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for name in expected:
            yield from differences(found[name], expected[name], tolerance, f"{place}/{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, tolerance, f"{place}/{number}")
    elif isinstance(found, float) and isinstance(expected, float) and tolerance:
        if not math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{place}: {found} and not {expected}"
    elif found != expected or type(found) is not type(expected):
        yield f"{place}: {str(found)[:300]} and not {str(expected)[:300]}"

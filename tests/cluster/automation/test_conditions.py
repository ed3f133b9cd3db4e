"""The little language of conditions: what it says, what it refuses, and what a missing value does."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.automation.conditions import evaluate, parse
from quantis.errors import InvalidInput

CONTEXT = {
    "facts": {"demand": {"live_wape": 0.25, "coverage_80": 0.7}},
    "steps": {
        "score": {
            "state": "succeeded",
            "result": {"h": 24, "scores": {"Model A": {"mase": 0.9}}, "ok": True},
        },
        "train-it": {"state": "failed", "result": {}},
    },
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("facts.demand.live_wape > 0.2", True),
        ("facts.demand.live_wape > 0.25", False),
        ("0.2 < facts.demand.live_wape and facts.demand.coverage_80 < 0.75", True),
        ("facts.demand.live_wape > 1 or facts.demand.coverage_80 < 0.75", True),
        ("not facts.demand.live_wape > 1", True),
        ("not (facts.demand.live_wape > 0.2 and facts.demand.coverage_80 < 0.75)", False),
        ("facts.demand.live_wape > 1 or facts.demand.live_wape > 0 and facts.demand.live_wape < 0.1", False),
        ('steps.score.state == "succeeded"', True),
        ("steps.train-it.state != 'succeeded'", True),
        ('steps.score.result.scores["Model A"].mase <= 9e-1', True),
        ("steps.score.result.h == 24", True),
        ("steps.score.result.ok == true", True),
        ("facts.demand.live_wape >= -1", True),
        # what is not there
        ("facts.demand.drift > 0.2", None),
        ("not facts.demand.drift > 0.2", None),
        ("facts.other.live_wape > 0.2", None),
        ("facts.demand.drift > 0.2 or facts.demand.live_wape > 0.2", True),
        ("facts.demand.drift > 0.2 and facts.demand.live_wape > 1", False),
        ("facts.demand.drift == null", True),
        ("facts.demand.live_wape != null", True),
        ("steps.score.state > 3", None),
        ("steps.score.result.scores == 3", None),
    ],
)
def test_when_a_condition_is_evaluated_then_it_holds_as_its_values_say(text, holds):
    assert evaluate(parse(text), CONTEXT).holds is holds


def test_when_a_condition_is_evaluated_then_it_says_which_values_it_looked_at():
    evaluation = evaluate(parse("facts.demand.live_wape > 0.2 and facts.demand.drift > 1"), CONTEXT)
    assert str(evaluation) == "facts.demand.live_wape = 0.25, facts.demand.drift = not there"


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("facts.demand.live_wape", 23),
        ("facts.demand.live_wape > ", 26),
        ("> 3", 1),
        ("a.b > 3 and", 12),
        ("a.b > 3 c.d", 9),
        ("(a.b > 3", 9),
        ("__import__('os').system('x') == 0", 17),
        ("a.b = 3", 5),
        ("a.b > 3; b", 8),
        ("a.b + 1 > 3", 5),
        ("and > 3", 1),
        ("not " * 30 + "a.b > 3", 1),
    ],
)
def test_when_a_text_is_no_condition_then_the_error_names_the_place(text, character):
    with pytest.raises(InvalidInput, match=f"at character {character}:"):
        parse(text)


@given(st.text(max_size=80))
def test_when_any_text_is_read_then_it_is_a_condition_or_refused(text):
    with contextlib.suppress(InvalidInput):
        evaluate(parse(text), CONTEXT)

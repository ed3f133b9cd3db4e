from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantis.errors import InvalidInput
from serve.http.strict_json import MAX_DEPTH, parse

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
    max_leaves=20,
)


@given(values, st.booleans())
def test_when_an_ordinary_value_is_written_then_it_is_read_back(value, plain):
    assert parse(json.dumps(value, ensure_ascii=plain).encode()) == value


def refusal(body):
    """Why a body is refused; None when it is not."""
    try:
        parse(body)
    except InvalidInput as error:
        return error.message.removeprefix("the body cannot be read: ")
    return None


@given(st.binary(max_size=60))
def test_when_bytes_are_random_then_they_are_read_as_the_library_does_or_refused(body):
    if refusal(body) is None:
        assert parse(body) == json.loads(body)


@given(st.text('[]{}"\\,:0 u', max_size=40))
def test_when_brackets_and_quotes_are_mixed_then_the_depth_is_counted_outside_of_texts_only(body):
    try:
        json.loads(body)
    except ValueError:
        assert refusal(body.encode()) is not None
    else:
        assert refusal(body.encode()) in (
            None,
            "an object has the same key twice",
            "a text holds half a surrogate pair",
        )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"y": NaN}', "NaN is not JSON; use null for a missing value"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e400]", "too large for a double"),
        (b"[-1e400]", "too large for a double"),
        (b"[" + b"9" * 400 + b".0]", "too large for a double"),
        (b"[" + b"9" * 5000 + b"]", "not well-formed"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": 1, "\\u0061": 2}', "same key twice"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'["\\udc00\\ud800"]', "half a surrogate pair"),
        (b'{"\\ud800": 1}', "half a surrogate pair"),
        (b'{"a": [{"b": "x\\udfff"}]}', "half a surrogate pair"),
        (b'["\xff"]', "not well-formed UTF-8 JSON"),
        (b'["\xed\xa0\x80"]', "not well-formed UTF-8 JSON"),
        (b"\xef\xbb\xbf{}", "not well-formed UTF-8 JSON"),
        ('{"a": 1}'.encode("utf-16"), "not well-formed UTF-8 JSON"),
        (b"", "not well-formed"),
        (b"{", "not well-formed"),
        (b'{"a": 1} {"b": 2}', "not well-formed"),
        (b"{'a': 1}", "not well-formed"),
        (b'["a\nb"]', "not well-formed"),
        (b"[01]", "not well-formed"),
        (b"[1,]", "not well-formed"),
    ],
)
def test_when_the_body_is_not_strict_json_then_the_refusal_says_why(body, reason):
    with pytest.raises(InvalidInput) as raised:
        parse(body)
    assert reason in raised.value.message


def test_when_a_pair_of_surrogates_is_whole_then_it_is_a_letter():
    assert parse(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]


@pytest.mark.parametrize(("left", "right"), ["[]", ("{" + '"a":', "}")])
def test_when_nesting_reaches_the_limit_then_one_more_is_refused(left, right):
    inner = "1"
    fits = left * MAX_DEPTH + inner + right * MAX_DEPTH
    assert parse(fits.encode()) == json.loads(fits)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidInput, match="nested deeper than 32"):
            parse((left * depth + inner + right * depth).encode())
    with pytest.raises(InvalidInput, match="nested deeper than 32"):
        parse((left * 200_000).encode())


def test_when_brackets_stand_in_a_text_then_they_do_not_count():
    value = {"a": "[" * 100 + '\\"' + "{" * 100, "b\\": ["]"]}
    assert parse(json.dumps(value).encode()) == value

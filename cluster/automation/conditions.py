"""Conditions of pipelines: comparisons of named values, joined by and, or, not. Nothing else is in the language.

    steps.score.result.methods.model >= 10 and not (facts.demand.coverage_80 < 0.75)

A path's parts are separated by dots; a part with other characters stands in brackets, `["Model A"]`. A value that is
not there makes its comparison unknown, and an unknown condition does not hold: `not` does not turn it around.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from quantis.errors import InvalidInput

MAX_NESTING = 20
"""Parentheses and negations within one another."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<path>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\[(?:\"[^\"]*\"|'[^']*')\])*)|(?P<sign><=|>=|==|!=|<|>|\(|\)))"
)
_PART = re.compile(r"[A-Za-z_][\w-]*|\"[^\"]*\"|'[^']*'")
_CONSTANTS = {"true": True, "false": False, "null": None}
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SIGNS = (*_ORDERED, "==", "!=")
Value = float | str | bool | None


@dataclass(frozen=True)
class Path:
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True)
class ValueComparison:
    left: Path | Value
    sign: str
    right: Path | Value


@dataclass(frozen=True)
class Negation:
    of: Expression


@dataclass(frozen=True)
class Junction:
    """`and` or `or` of two expressions."""

    word: str
    left: Expression
    right: Expression


Expression = ValueComparison | Negation | Junction


@dataclass
class ConditionOutcome:
    """Outcome of a condition: None where a value that decides is not there; `values` are those it looked at."""

    holds: bool | None = None
    values: dict[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{path} = {_format_value(value)}" for path, value in self.values.items())


def parse(text: str) -> Expression:
    """Return the expression; InvalidInput, with the place, for a text that is none."""
    return _Parser(text).parse()


def paths(expression: Expression) -> set[Path]:
    """Return every path that an expression names."""
    match expression:
        case ValueComparison(left, _, right):
            return {each for each in (left, right) if isinstance(each, Path)}
        case Negation(inner):
            return paths(inner)
        case Junction(_, left, right):
            return paths(left) | paths(right)


def evaluate(expression: Expression, context: Mapping[str, Any]) -> ConditionOutcome:
    """Compare the values of a context, nested mappings of names."""
    outcome = ConditionOutcome()
    outcome.holds = _holds(expression, context, outcome.values)
    return outcome


def _holds(expression: Expression, context: Mapping[str, Any], values: dict[str, Value]) -> bool | None:
    match expression:
        case ValueComparison():
            return _compare(expression, context, values)
        case Negation(inner):
            holds = _holds(inner, context, values)
            return None if holds is None else not holds
        case Junction(word, left, right):
            decides = word == "or"
            both = (_holds(left, context, values), _holds(right, context, values))
            if decides in both:
                return decides
            return None if None in both else not decides


def _compare(
    comparison: ValueComparison, context: Mapping[str, Any], values: dict[str, Value]
) -> bool | None:
    left, right = (_value(side, context, values) for side in (comparison.left, comparison.right))
    null_is_meant = None in (comparison.left, comparison.right)
    if not null_is_meant and (left is None or right is None):
        return None
    if comparison.sign in ("==", "!="):
        return (left == right) is (comparison.sign == "==")
    if (
        isinstance(left, str) is not isinstance(right, str)
        or isinstance(left, bool)
        or isinstance(right, bool)
    ):
        return None
    return None if left is None or right is None else _ORDERED[comparison.sign](left, right)


def _value(side: Path | Value, context: Mapping[str, Any], values: dict[str, Value]) -> Value:
    if not isinstance(side, Path):
        return side
    reached: Any = context
    for part in side.parts:
        reached = reached.get(part) if isinstance(reached, Mapping) else None
    value = reached if isinstance(reached, int | float | str | bool) else None
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    values[str(side)] = value
    return value


def _format_value(value: Value) -> str:
    return "not there" if value is None else str(value)[:60]


class _Parser:
    """Reads an expression from its tokens: `or` binds least, then `and`, then `not`."""

    def __init__(self, text: str) -> None:
        self._text, self._depth = text, 0
        self._tokens: list[tuple[str, str, int]] = []
        end = len(text.rstrip())
        position = 0
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                spaces = len(text[position:]) - len(text[position:].lstrip())
                raise self._refused(
                    position + spaces, "this is neither a name, a number, a text nor a comparison"
                )
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()

    def parse(self) -> Expression:
        expression = self._junction("or")
        if self._tokens:
            raise self._refused(self._tokens[0][2], f"nothing more is expected before {self._tokens[0][1]!r}")
        return expression

    def _junction(self, word: str) -> Expression:
        left = self._junction("and") if word == "or" else self._negation()
        while self._next_is(word):
            self._tokens.pop(0)
            right = self._junction("and") if word == "or" else self._negation()
            left = Junction(word, left, right)
        return left

    def _negation(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._refused(0, f"it is nested more than {MAX_NESTING} deep")
        try:
            if self._next_is("not"):
                self._tokens.pop(0)
                return Negation(self._negation())
            if self._next_is("("):
                self._tokens.pop(0)
                inner = self._junction("or")
                self._take(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Expression:
        left = self._operand()
        sign = self._tokens.pop(0) if self._tokens else ("", "", len(self._text))
        if sign[1] not in _SIGNS or sign[0] != "sign":
            raise self._refused(sign[2], f"a comparison is expected here: one of {' '.join(_SIGNS)}")
        return ValueComparison(left, sign[1], self._operand())

    def _operand(self) -> Path | Value:
        kind, text, position = self._tokens.pop(0) if self._tokens else ("", "", len(self._text))
        if kind == "number":
            return float(text)
        if kind == "text":
            return text[1:-1]
        if kind == "path" and text in _CONSTANTS:
            return _CONSTANTS[text]
        if kind == "path" and text not in ("and", "or", "not"):
            return Path(tuple(part.strip("\"'") for part in _PART.findall(text)))
        raise self._refused(position, "a name, a number or a text in quotes is expected here")

    def _next_is(self, text: str) -> bool:
        return bool(self._tokens) and self._tokens[0][0] != "text" and self._tokens[0][1] == text

    def _take(self, text: str) -> None:
        if not self._next_is(text):
            position = self._tokens[0][2] if self._tokens else len(self._text)
            raise self._refused(position, f"{text!r} is expected here")
        self._tokens.pop(0)

    def _refused(self, position: int, reason: str) -> InvalidInput:
        return InvalidInput(
            f"the condition {self._text[:200]!r} cannot be read at character {position + 1}: {reason}; "
            "write it as in facts.demand.live_wape > 0.2"
        )


def require_known(path: Path, steps: Collection[str], step: str) -> None:
    """Raise InvalidInput for a path that leads to no fact, and to no step before the one with the condition."""
    root, *remainder = path.parts
    if root == "facts" and len(remainder) == 2:
        return
    if (
        root == "steps"
        and len(remainder) >= 2
        and remainder[0] in steps
        and remainder[1] in ("state", "result")
    ):
        return
    remedy = "facts.<model or dataset>.<fact>, steps.<step>.state and steps.<step>.result... are"
    if root == "steps" and remainder and remainder[0] not in steps:
        remedy = f"steps.{remainder[0]} is no step before it; {remedy}"
    raise InvalidInput(f"the condition of step {step!r} names {path}, and there is no such value; {remedy}")

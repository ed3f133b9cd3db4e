"""Strict JSON: refuses input that two readers could read differently."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from quantis.errors import InvalidInput

MAX_DEPTH = 32
_STRING = re.compile(rb'"[^"]*"?')
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_LARGE_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def parse(body: bytes) -> Any:
    """Return a JSON value; InvalidInput for NaN, infinities, duplicate keys, lone surrogates or depth over 32."""
    try:
        text = body.decode("utf-8")
        floats = _finite if _may_be_infinite(body) else None
        value = json.loads(text, parse_constant=_no_constant, parse_float=floats, object_pairs_hook=_distinct)
        if _is_too_deep(body):
            raise RecursionError
    except RecursionError:
        raise InvalidInput(f"the body cannot be read: it is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, _Refused) else "it is not well-formed UTF-8 JSON"
        raise InvalidInput(f"the body cannot be read: {reason}") from None
    if "\\u" in text:
        _check_surrogates(value)
    return value


class _Refused(ValueError):
    """A reason for refusal, safe to show."""


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON; use null for a missing value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused("a number is too large for a double")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Refused("an object has the same key twice")
    return value


def _may_be_infinite(body: bytes) -> bool:
    """Return True if each number must be checked, which takes several times as long."""
    return _LARGE_EXPONENT.search(body) is not None or b"0" * 300 in body.translate(_DIGITS)


def _is_too_deep(body: bytes) -> bool:
    """Remove the innermost brackets as often as they may be nested: True if any are left then."""
    unescaped = _ESCAPE.sub(b"", body) if b"\\" in body else body
    brackets = _STRING.sub(b"", unescaped.translate(None, _NOT_STRUCTURE))
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    return True


def _check_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidInput("the body cannot be read: a text holds half a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)

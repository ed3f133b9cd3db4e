"""Base types of the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

Item = TypeVar("Item")
MAX_INTEGER = 2**31 - 1
"""The largest integer that a column of the database holds."""
MAX_SERIES_ID, MAX_COLUMN_NAME = 256, 128
"""Characters of a series' id, and of the name of a column."""
MAX_COLUMNS = 512
"""Columns of a file, and covariates of a role."""
MAX_HISTORY, MAX_HORIZON = 100_000, 10_000
"""Steps of a history that a request carries, and of a forecast."""
MIN_TIMESTAMP, END_TIMESTAMP = datetime(1700, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""The range of timestamps, its end excluded: datetime64[ns] ends in 2262."""


def _check_range(timestamp: datetime) -> datetime:
    if not MIN_TIMESTAMP <= timestamp < END_TIMESTAMP:
        raise ValueError("the time is out of range; use years from 1700 to 2261")
    return timestamp


def _as_utc(timestamp: datetime) -> datetime:
    return _check_range(timestamp).astimezone(UTC)


def _reject_number(value: Any) -> Any:
    """Reject numbers as times and durations: they could be seconds or milliseconds."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip("+-.0123456789") == ""):
        raise ValueError("a number is no time; write 2024-01-31T12:00:00Z, or PT1H for a duration")
    return value


def rename_keys(**names: str) -> Callable[[Any], Any]:
    """Return a validator that reads records stored under a field's old name: `rename_keys(old="new")`."""

    def rename(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {names.get(key, key): value for key, value in data.items()}

    return rename


def is_none(value: Any) -> bool:
    """Return True for None: `exclude_if` of a field that older readers and stored results do not have."""
    return value is None


Timestamp = Annotated[AwareDatetime, BeforeValidator(_reject_number), AfterValidator(_as_utc)]
"""A point in time with its offset; converted to UTC."""

WrittenTimestamp = Annotated[AwareDatetime, BeforeValidator(_reject_number), AfterValidator(_check_range)]
"""A point in time with its offset, which is kept: the clock that it shows."""


def _format_iso(value: timedelta) -> str:
    """ISO 8601 as RFC 3339 has it: no years beside days, which pydantic would write, and no unit left out between."""
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    second = f"{seconds + value.microseconds / 1e6:.6f}".rstrip("0").rstrip(".")
    time = f"{hours}H" if hours else ""
    if minutes or (hours and second != "0"):
        time += f"{minutes}M"
    if second != "0" or not (time or value.days):
        time += f"{second}S"
    return "P" + (f"{value.days}D" if value.days else "") + (f"T{time}" if time else "")


Duration = Annotated[
    timedelta,
    BeforeValidator(_reject_number),
    PlainSerializer(_format_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "duration"}),
]

Number = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
"""The number of a version; versions count from 1."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""The name of a dataset, model or account: lower case, at most 63 characters."""

PATH_STEPS = (".", "..")
"""Ids that no address leads to: readers of addresses resolve them on their way, quoted or not."""


def _reject_path_step(unique_id: str) -> str:
    if unique_id in PATH_STEPS:
        raise ValueError(
            f"a series cannot be named {unique_id!r}, since no address leads to it; name it otherwise"
        )
    return unique_id


SeriesId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_SERIES_ID), AfterValidator(_reject_path_step)
]

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""The id of an object that the platform created."""

Cell = float | Annotated[str, StringConstraints(max_length=1000)] | None
"""A value of a covariate: a quantity, a category, or missing."""


class Frozen(BaseModel):
    """An immutable value. Unknown fields are an error, infinities and NaN too."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _reject_text(value: Any) -> Any:
    """1.0 is a whole number in JSON; "1" and true are none."""
    if isinstance(value, str | bool):
        raise ValueError("this is no number; write it without quotes")
    return value


def _reject_bool(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("this is no truth value; write true or false")
    return value


_STRICT_CHECKS = (_reject_text, _reject_bool)


def _make_strict(schema: Any) -> None:
    """Make a schema strict, in place and once: pydantic keeps a model's schema and returns the same one again."""
    if isinstance(schema, dict):
        if schema.get("type") == "function-before" and schema["function"]["function"] in _STRICT_CHECKS:
            return
        if _is_checked(schema):  # pydantic returns the same part to its next user
            return
        for part in schema.values():
            _make_strict(part)
        match schema.get("type"):
            case "float" | "bool":
                schema["strict"] = True
            case "int":
                _check_before(schema, _reject_text)
            case "literal" if any(isinstance(choice, bool) for choice in schema["expected"]):
                _check_before(schema, _reject_bool)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _make_strict(part)


def _is_checked(schema: dict[str, Any]) -> bool:
    checks = (_reject_text, _reject_bool)
    return schema.get("type") == "function-before" and schema["function"]["function"] in checks


def _check_before(schema: dict[str, Any], check: Callable[[Any], Any]) -> None:
    inner = dict(schema)
    schema.clear()
    schema |= {"type": "function-before", "function": {"type": "no-info", "function": check}, "schema": inner}


class RequestBody(Frozen):
    """A request body: numbers must be numbers, not texts or truth values that could be converted."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _make_strict(schema)
        return schema


class Page(Frozen, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = None


class Problem(BaseModel):
    """RFC 9457 problem details: the body of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[dict[str, str]] = []

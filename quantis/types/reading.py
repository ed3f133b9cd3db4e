"""Options of reading a file, where its owner knows better than detection."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from quantis.types.base import MAX_COLUMNS, RequestBody

Delimiter = Literal[",", ";", "\t", "|"]
Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]
DateOrder = Literal["ymd", "dmy", "mdy"]
Heading = Annotated[str, StringConstraints(max_length=1000)]
"""The name of a column as it stands in a file."""


_MACHINE_ZONES = frozenset({"localtime", "Factory", "posixrules"})
"""Files of a time zone database that mean whatever the machine is set to, or no zone at all."""


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones()) - _MACHINE_ZONES


def _check_time_zone(name: str) -> str:
    """Return a zone's name of the IANA database; `right/...` counts leap seconds, `localtime` differs by machine."""
    if name in _zone_names():
        return name
    # Of Berlin and europe/berlin, too, the zone is close.
    by_short_name = {zone.rpartition("/")[2].casefold(): zone for zone in sorted(_zone_names())}
    by_name = {zone.casefold(): zone for zone in _zone_names()}
    candidates = by_short_name | by_name
    close = get_close_matches(name.casefold(), candidates, n=1, cutoff=0.75)
    remedy = f"did you mean {candidates[close[0]]}?" if close else "use a name such as Europe/Paris"
    raise ValueError(f"the time zone {name[:64]!r} is not known; {remedy}")


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_check_time_zone)]
"""A zone of the IANA database."""


def _check_unique_targets(names: dict[str, str]) -> dict[str, str]:
    if len(set(names.values())) != len(names):
        raise ValueError("two columns are mapped to one name; map each to its own")
    return names


class ReadOptions(RequestBody):
    """Read options of a file; each one that is absent is detected."""

    delimiter: Delimiter | None = Field(default=None, description="What separates the cells of a CSV.")
    decimal: Literal[".", ","] | None = Field(default=None, description="The decimal mark of a CSV.")
    encoding: Encoding | None = Field(default=None, description="The encoding of a CSV.")
    quote: Literal['"', "'", ""] | None = Field(
        default=None, description="What quotes a cell; '' for nothing."
    )
    dates: DateOrder | None = Field(default=None, description="The order of day, month and year in ds.")
    time_zone: TimeZone | None = Field(default=None, description="The zone of times without one.")
    columns: Annotated[
        dict[Heading, Heading], Field(max_length=MAX_COLUMNS), AfterValidator(_check_unique_targets)
    ] = Field(default={}, description="Column of the file to the name it is to have, such as date: ds.")
    texts: tuple[Heading, ...] = Field(
        default=(),
        max_length=MAX_COLUMNS,
        description="Columns to read as text though they look like numbers.",
    )

    target_copies: tuple[Heading, ...] = Field(
        default=(),
        max_length=MAX_COLUMNS,
        description="Known-future columns that equal y on purpose; of others that is an error.",
        exclude_if=lambda columns: not columns,
    )

    @model_validator(mode="after")
    def _check_marks(self) -> ReadOptions:
        if self.decimal == "," and self.delimiter == ",":
            raise ValueError("decimal and delimiter are both a comma; give them apart")
        return self

    def query(self) -> dict[str, str | list[str]]:
        """Return the options that are set, as query parameters of an upload."""
        params = self.model_dump(exclude_none=True, exclude={"columns", "texts", "target_copies"})
        renames = [f"{old}={new}" for old, new in self.columns.items()]
        lists = {"column": renames, "target_copy": list(self.target_copies)}
        return {**params, **{name: values for name, values in lists.items() if values}}

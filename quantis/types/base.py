"""What every type of the API shares."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Item = TypeVar("Item")
MAX_INTEGER = 2**31 - 1
"""The largest integer that a column of the database holds."""

_EARLIEST, _LATEST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


def _as_utc(moment: datetime) -> datetime:
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError("the time is out of range; use years from 1700 to 2261")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_as_utc)]
"""A point in time with its offset; kept in UTC."""

Number = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
"""The number of a version; versions count from 1."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""The name of a dataset, model or account: lower case, at most 63 characters."""

SeriesId = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Frozen(BaseModel):
    """An immutable value. Unknown fields are an error, infinities and NaN too."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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

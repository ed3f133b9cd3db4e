"""What every type of the API shares."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints

Item = TypeVar("Item")


def _as_utc(moment: datetime) -> datetime:
    from datetime import UTC

    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_as_utc)]
"""A point in time with its offset; kept in UTC."""

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

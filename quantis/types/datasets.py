"""Datasets: roles, check reports, versions, stored series and imports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from quantis.errors import InvalidInput
from quantis.frequency import ANCHORS, Frequency
from quantis.types.base import MAX_COLUMN_NAME, MAX_COLUMNS, Duration, Frozen, Name, RequestBody, Timestamp
from quantis.types.findings import Finding
from quantis.types.reading import ReadOptions, TimeZone

FREQUENCY = (
    "^([1-9][0-9]{0,8}|([1-9][0-9]{0,3})?"
    f"((s|min|h|D|B|MS|ME)|W({ANCHORS[0]})?|(QS|QE|YS|YE)({ANCHORS[1]})?))$"
)
RESERVED_COLUMNS = frozenset({"unique_id", "ds", "y", "known_at", "recorded_at", "cutoff"})


def _check_printable(column: str) -> str:
    if not column.isprintable():
        raise ValueError("a column name holds characters that cannot be printed; rename the column")
    return column


def _check_frequency(alias: str) -> str:
    try:
        return Frequency.parse(alias).alias
    except InvalidInput as error:
        raise ValueError("the frequency is not known; use h, D, W-MON, MS and the like, or 15min") from error


Column = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_COLUMN_NAME), AfterValidator(_check_printable)
]
Columns = Annotated[tuple[Column, ...], Field(max_length=MAX_COLUMNS)]


class Roles(RequestBody):
    """The roles of covariates: known in advance, observed as time passes, or fixed per series."""

    futr_exog: Columns = ()
    hist_exog: Columns = ()
    stat_exog: Columns = ()
    categorical: Columns = Field(
        default=(), description="The covariates among the above that are categories, not quantities."
    )

    @model_validator(mode="after")
    def _check_unique_columns(self) -> Roles:
        columns = self.columns
        for column in columns:
            if column in RESERVED_COLUMNS:
                raise ValueError(f"column {column!r} is reserved; rename the covariate")
            if columns.count(column) > 1:
                raise ValueError(f"column {column!r} has two roles; give it one")
        for column in self.categorical:
            if column not in columns:
                raise ValueError(f"categorical column {column!r} has no role; declare one")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return self.futr_exog + self.hist_exog + self.stat_exog


_STORED_COLUMNS = ("unique_id", "ds", "y", "known_at", "recorded_at", "given")


def find_name_clashes(columns: Iterable[str]) -> dict[str, str]:
    """Return the covariates that a table cannot hold beside the others, with the reason: names are one but for case."""
    clashes: dict[str, str] = {}
    by_folded = {column.casefold(): column for column in _STORED_COLUMNS}
    for column in columns:
        first = by_folded.setdefault(column.casefold(), column)
        if first in _STORED_COLUMNS:
            clashes[column] = (
                f"column {column!r} has the name of the store's own {first!r}, but for case at most"
            )
        elif first != column:
            clashes[column] = f"columns {first!r} and {column!r} differ only by case"
    return clashes


def check_name_clashes(roles: Roles) -> None:
    """Raise InvalidInput for covariates whose names are others' but for case."""
    for text in find_name_clashes(roles.columns).values():
        raise InvalidInput(f"{text}; rename one")


class DatasetSpec(RequestBody):
    """The declaration of a dataset, made once when it is created."""

    name: Name
    roles: Roles = Roles()
    freq: Annotated[str, StringConstraints(pattern=FREQUENCY), AfterValidator(_check_frequency)] | None = (
        Field(default=None, description="Nixtla's alias (h, D, W, MS ...); inferred when absent.")
    )
    publication_lag: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        le=timedelta(days=3660),
        description="How long after `ds` a value without `known_at` counts as known.",
    )
    time_zone: TimeZone = Field(default="UTC", description="The zone in which the panel's calendar is meant.")
    holidays: str | None = Field(
        default=None, pattern="^[A-Z]{2}$", description="Country code of the holiday calendar, such as US."
    )
    description: str = Field(default="", max_length=2000)


class Dataset(DatasetSpec):
    created_at: Timestamp
    created_by: str
    latest_version: int | None = None
    rows: int | None = None
    series: int | None = None


class CheckReport(Frozen):
    """The result of a data check: `quantis data check` prints it, the check and upload routes return it."""

    file: str
    outcome: Literal["accept", "accept_with_warning", "reject"]
    findings: list[Finding]
    series: int
    rows: int
    freq: str | None
    columns: dict[str, str] = Field(default={}, description="Column name to type, as read.")


class VersionAction(StrEnum):
    """The action that made a version."""

    upload = "upload"
    append = "append"
    delete = "delete"
    restore = "restore"


class DatasetVersion(Frozen):
    """Pins one version of each role group's table."""

    dataset: Name
    number: int
    content_hash: str
    parent: int | None
    action: VersionAction = VersionAction.upload
    columns: dict[str, str] = Field(default={}, description="Column name to type, as stored.")
    roles: Roles = Roles()
    rows: int
    series: int
    freq: str
    first_ds: Timestamp
    last_ds: Timestamp
    created_at: Timestamp
    created_by: str
    purged_at: Timestamp | None = Field(
        default=None, description="When deleted series were last removed from it for good."
    )


class FittingWindows(Frozen):
    """Horizon and windows that an evaluation of a version may have; a job that asks for more is refused."""

    dataset: Name
    version: int
    freq: str
    steps: int = Field(description="Steps of the longest history.")
    max_h: int = Field(description="Steps of the longest horizon that one window may have.")
    h: int
    step_size: int
    max_windows: int = Field(
        description="Windows of `h` steps, `step_size` apart, that fit; 0 when `h` is too long."
    )


class UploadResult(Frozen):
    """`created` is false when the same content was there already: then `version` is the old one."""

    created: bool
    version: DatasetVersion
    report: CheckReport


class StoredSeries(Frozen):
    """A stored series, as known at `as_of`. Values known in advance have times of their own."""

    unique_id: str
    as_of: Timestamp
    ds: list[Timestamp]
    y: list[float | None]
    exog: dict[str, list[float | str | None]] = Field(
        default={}, description="Observed covariates, one value per `ds`."
    )
    futr_ds: list[Timestamp] = Field(
        default=[], description="Of the known-future covariates, beyond `ds` too."
    )
    futr_exog: dict[str, list[float | str | None]] = Field(
        default={}, description="Known-future covariates, one value per `futr_ds`."
    )
    static: dict[str, float | str | None] = {}


class Revision(Frozen):
    """Values of a series that were corrected at one time; those that came first are no revisions."""

    known_at: Timestamp
    group: Literal["target", "future"] = Field(description="Observed values, or those known in advance.")
    values: int
    first_ds: Timestamp
    last_ds: Timestamp


class SeriesSummary(Frozen):
    unique_id: str
    rows: int
    first_ds: Timestamp
    last_ds: Timestamp
    static: dict[str, float | str | None] = {}


class ImportRequest(Frozen):
    """A file of the configured object store, or of a mounted folder, by its address."""

    url: str = Field(min_length=1, max_length=1024, examples=["s3://bucket/folder/file.parquet"])
    options: ReadOptions = ReadOptions()

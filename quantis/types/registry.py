"""Models, their versions, and the leaderboard they were chosen from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from quantis.types.base import Frozen, Number, RequestBody, Timestamp, is_none, rename_keys

CHAMPION, CANDIDATE = "champion", "candidate"
"""Aliases that the registry keeps: the version that answers for the model's name, and the latest one."""


class LeaderboardRow(Frozen):
    """A family on the backtest. `skill` is 1 - MASE / MASE of the best seasonal naive."""

    rank: int
    model: str
    family: str
    mase: float | None
    wql: float | None
    wape: float | None
    coverage_80: float | None
    seconds: float
    skill: float | None
    chosen: bool = False
    failed: str | None = None
    size_bytes: int | None = Field(default=None, description="What its bundle holds of the fitted model.")
    p_value: float | None = Field(
        default=None, description="Of the test that it is no better than seasonal naive; null if not tested."
    )
    verdict: str = Field(default="", description="What the comparison with seasonal naive says, in words.")
    fallbacks: int = Field(default=0, description="Series that it could not forecast; a simpler method did.")


class Leaderboard(Frozen):
    experiment: str = Field(description="The id of the job that made it.")
    model: str
    dataset: str
    dataset_version: int
    cutoffs: list[Timestamp]
    h: int
    rows: list[LeaderboardRow]


Dimension = Literal["series", "step", "window", "segment"]


class Figures(Frozen):
    """The metrics of a model on a part of a backtest; null where a metric is not defined."""

    model: str
    label: str = Field(description="The series, the step from 1 on, the cutoff, or column = value.")
    rows: int
    metrics: dict[str, float | None]


class Fallback(Frozen):
    """A series that a family could not forecast at a window, and who did."""

    model: str
    unique_id: str
    cutoff: Timestamp
    method: str
    reason: str

    _old_names = model_validator(mode="before")(rename_keys(rung="method"))


class Backtest(Frozen):
    """Rolling-origin forecasts of several families and what they were worth."""

    id: str = Field(description="The id of the job that made it.")
    dataset: str
    dataset_version: int
    mode: Literal["plain", "vintage"]
    cutoffs: list[Timestamp]
    h: int
    refit: bool
    rows: list[LeaderboardRow]
    overall: list[Figures]
    dimensions: list[Dimension]
    fallbacks: list[Fallback] = Field(default=[], description="The first hundred.")
    reconciliation: str | None = Field(default=None, description="How a hierarchy was made to add up.")


class HeadToHead(Frozen):
    """A version and the one that served when it was trained, on the same windows and series.

    The metrics are those of the windows that were compared, null where nothing could be.
    """

    challenger: int | None = Field(default=None, description="The version that was trained.")
    incumbent: int = Field(description="The version that served, the champion.")
    incumbent_family: str
    challenger_mase: float | None = None
    incumbent_mase: float | None = None
    challenger_wql: float | None = None
    incumbent_wql: float | None = None
    ratio: float | None = Field(
        default=None, description="MASE of the challenger in multiples of the incumbent's."
    )
    p_value: float | None = Field(
        default=None,
        description="Of the test that the challenger is no worse, or no better where it must be; null if not tested.",
    )
    blocks: int = Field(
        default=0, description="Series, or pairs of series and window, that the test compared."
    )
    windows: int = 0
    in_sample: bool = Field(
        default=False, description="The incumbent learned from these windows, which flatters it."
    )
    verdict: Literal["better", "not worse", "worse", "not better", "not compared"]
    reason: str


class ModelVersion(Frozen):
    model: str
    version: int
    family: str
    aliases: list[str]
    created_at: Timestamp
    experiment: str | None = None
    dataset: str | None = None
    dataset_version: int | None = None
    content_hash: str | None = None
    h: int
    freq: str
    metrics: dict[str, float] = {}
    gate: dict[str, Any] = Field(default={}, description="What the gate compared and what it decided.")
    head_to_head: HeadToHead | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of this version and the one that the alias meant before; in answers to a promotion.",
    )
    as_of: Timestamp | None = None
    importance: dict[str, float] | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of covariates, as a share of the most important column's; absent where the model does not know.",
    )
    lineage: Lineage | None = None


class Lineage(Frozen):
    """The origin of a model: its code, its libraries, and when. The data is in the task."""

    code_version: str = Field(description="The product's version, and the commit where it is known.")
    code_hash: str = Field(description="sha256 over the product's sources.")
    environment_hash: str | None = Field(default=None, description="sha256 of the lock file.")
    libraries: dict[str, str] = Field(default={}, description="Versions of those that decide the numbers.")
    trained_at: Timestamp
    parent: str | None = Field(default=None, description="The version whose weights it went on from.")


class ModelCard(Frozen):
    model: str
    version: int
    markdown: str


class Model(Frozen):
    name: str
    champion: int | None = None
    latest: int
    versions: int


class AliasRequest(RequestBody):
    version: Number


class Share(RequestBody):
    """A version and how many of a hundred series it answers."""

    version: Number
    percent: Annotated[int, Field(ge=1, le=100)]


class Traffic(RequestBody):
    """Shares of the requests for a model's name alone; the champion has the rest."""

    shares: Annotated[tuple[Share, ...], Field(max_length=4)] = ()

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if len({share.version for share in self.shares}) < len(self.shares):
            raise ValueError("a version has two shares; give it one")
        if (total := sum(share.percent for share in self.shares)) > 100:
            raise ValueError(f"the shares are {total} of a hundred; lower them to 100 or less")
        return self


class Serving(Frozen):
    """The versions that answered a model's name at a time, and by what share of a hundred series."""

    model: str
    since: Timestamp
    until: Timestamp | None = Field(description="The next change; null where there was none.")
    champion: int | None
    shares: list[Share]

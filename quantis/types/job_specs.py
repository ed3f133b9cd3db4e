"""Job specifications: typed requests for work. No free text of a user reaches Ray."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from quantis.errors import InvalidInput
from quantis.types.base import (
    MAX_HISTORY,
    MAX_HORIZON,
    MAX_INTEGER,
    Duration,
    Name,
    Number,
    RequestBody,
    Timestamp,
    is_none,
)
from quantis.types.datasets import Column
from quantis.types.reading import ReadOptions

_LONGEST = timedelta(days=36_600)
MAX_N_WINDOWS = 50
"""Rolling origins of an evaluation."""
DEFAULT_QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

Quantile = Annotated[float, Field(gt=0, lt=1)]
Quantiles = Annotated[tuple[Quantile, ...], Field(min_length=1, max_length=100)]
Horizon = Annotated[int, Field(ge=1, le=MAX_HORIZON)]
FamilyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A family of this platform, or one that its operator allows."""
ModelReference = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}(@[a-z][a-z0-9_-]{0,62}|:[1-9][0-9]{0,8})?$")
]
Hierarchy = Annotated[
    tuple[Annotated[tuple[Column, ...], Field(min_length=1, max_length=10)], ...],
    Field(
        max_length=20,
        description="Static columns to add up by, a list per level, such as [[state], [state, region]]; "
        "the total comes by itself. The forecasts of all levels then add up.",
    ),
]
Reconciliation = Literal["mint_shrink", "bottom_up"]


class Family(StrEnum):
    """The families that come with the platform; an operator may allow others by name."""

    seasonal_naive = "seasonal_naive"
    theta = "theta"
    statistical = "statistical"
    boosting = "boosting"
    boosting_recent = "boosting_recent"
    boosting_plain = "boosting_plain"
    tft = "tft"
    ensemble = "ensemble"


class Preset(StrEnum):
    """Families to compare and a time limit, by one name."""

    fast = "fast"
    balanced = "balanced"
    best = "best"

    @property
    def families(self) -> tuple[Family, ...]:
        """Families, the cheapest first: the time that one leaves goes to those after it."""
        return _FAMILIES[self]

    @property
    def time_limit(self) -> timedelta:
        return _LIMITS[self]


_FAMILIES = {
    Preset.fast: (Family.seasonal_naive, Family.theta, Family.boosting, Family.ensemble),
    Preset.balanced: tuple(family for family in Family if family != Family.tft),
    Preset.best: tuple(Family),
}
_LIMITS = {
    Preset.fast: timedelta(minutes=2),
    Preset.balanced: timedelta(minutes=10),
    Preset.best: timedelta(hours=1),
}


class TftParams(RequestBody):
    """Size and budget of a Temporal Fusion Transformer."""

    hidden_size: int = Field(default=24, ge=4, le=512)
    attention_heads: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    encoder_length: int = Field(default=48, ge=2, le=4096)
    batch_size: int = Field(default=32, ge=1, le=8192, description="Windows per worker and step.")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="0.25 over the hidden size, at most 0.01, when absent."
    )
    steps: int = Field(default=400, ge=1, le=1_000_000, description="Gradient steps; the budget.")
    seed: int = Field(default=7, json_schema_extra={"minimum": 0, "maximum": MAX_INTEGER})
    workers: int = Field(default=2, ge=1, le=64, description="Ray Train workers.")
    use_gpu: bool | None = Field(
        default=None,
        exclude_if=is_none,
        description="Train on the cluster's GPUs; where it has any, when absent. True where it has none is refused.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Of matrix products while training; weights are float32 either way."
    )
    share_encoder: bool = Field(
        default=True, description="Train several forecast origins of a series on one pass over their past."
    )
    short_start: bool = Field(
        default=True,
        description="Take the first four fifths of the steps on a short past, where the encoder is long.",
    )


def require_heads(params: TftParams) -> None:
    """Raise InvalidInput unless the attention heads share the hidden size evenly.

    Not a rule of `TftParams` itself: models and jobs of before, which were not checked, are still read.
    """
    size, heads = params.hidden_size, params.attention_heads
    if size % heads:
        fits = max(count for count in range(1, heads + 1) if size % count == 0)
        raise InvalidInput(
            f"attention_heads={heads} does not divide hidden_size={size}, so that a part of it would be lost; take "
            f"attention_heads={fits}, or hidden_size={-(-size // heads) * heads}"
        )


def require_bounded(spec: WorkSpec) -> WorkSpec:
    """Return the specification; ValueError for a number that no job can do with.

    Not rules of the specifications themselves: jobs of before, which were not checked, are still read.
    """
    step_size = getattr(spec, "step_size", None) or 1
    if step_size > MAX_HISTORY:
        raise ValueError(f"step_size {step_size} is too large; take {MAX_HISTORY} steps at most")
    params = getattr(spec, "tft", None) or TftParams()
    if not 0 <= params.seed <= MAX_INTEGER:
        raise ValueError(f"tft.seed {params.seed} is out of range; take 0 to {MAX_INTEGER}")
    return spec


class WorkSpec(RequestBody):
    """Fields of every job: the dataset and the time as of which it is read."""

    dataset: Name
    version: Number | None = Field(default=None, description="A dataset version; the latest when absent.")
    as_of: Timestamp | None = Field(default=None, description="Read what was known then; now when absent.")


class FeaturizeSpec(WorkSpec):
    kind: Literal["featurize"] = "featurize"
    h: Horizon = 24


class EvaluationSpec(WorkSpec):
    """Candidates, windows and time limit of an evaluation.

    Without `families` those of the preset (balanced by default) are compared, within its time limit unless
    another is given. Families that are named without a preset have no time limit.
    """

    h: Horizon = 24
    quantiles: Quantiles = DEFAULT_QUANTILES
    preset: Preset | None = Field(default=None, description="Families and time limit in one word.")
    families: tuple[FamilyName, ...] = Field(
        default=(), max_length=20, description="Those of the preset when absent."
    )
    time_limit: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=10),
        le=timedelta(days=7),
        description="The whole job's time, shared among the families; the preset's when absent.",
    )
    n_windows: int | None = Field(
        default=None,
        ge=1,
        le=MAX_N_WINDOWS,
        description="Rolling origins; as many as give a reliable comparison, when absent.",
    )
    step_size: int | None = Field(
        default=None,
        ge=1,
        description="Steps between windows; h when absent.",
        json_schema_extra={"maximum": MAX_HISTORY},
    )
    refit: bool = Field(default=False, description="Fit at each window, not at the first alone.")
    backtest_mode: Literal["plain", "vintage"] = Field(
        default="plain",
        description="Evaluate on the values as known now, or at each cutoff on what was known then.",
    )
    baselines: tuple[Column, ...] = Field(
        default=(),
        max_length=50,
        description="Known-future columns scored as forecasts on their own, such as a schedule.",
    )
    tft: TftParams = TftParams()

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        """Write the preset's families and limit into the request, so that a later preset changes no earlier job."""
        if not isinstance(data, Mapping) or (data.get("families") and not data.get("preset")):
            return data
        try:
            preset = Preset(data.get("preset") or Preset.balanced)
        except ValueError:
            return data  # the field's own check reports it
        values = {key: value for key, value in data.items() if value is not None}
        families = values.pop("families", None) or preset.families
        return {"time_limit": preset.time_limit, **values, "preset": preset, "families": families}


class TrainSpec(EvaluationSpec):
    kind: Literal["train"] = "train"
    model: Name
    warm_start: ModelReference | None = Field(
        default=None, description="A tft whose weights, inputs and scales the tft of this job goes on from."
    )


class BacktestSpec(EvaluationSpec):
    """Rolling-origin forecasts of every family, scored by series, step, window and segment; no model is published."""

    kind: Literal["backtest"] = "backtest"
    model: ModelReference | None = Field(
        default=None, description="Evaluate this model's family, horizon and quantiles instead."
    )
    segments: tuple[Column, ...] = Field(
        default=(),
        max_length=10,
        description="Columns, static or not, by whose values metrics are given too.",
    )
    hierarchy: Hierarchy = ()
    reconciliation: Reconciliation = "mint_shrink"


class TuneSpec(WorkSpec):
    kind: Literal["tune"] = "tune"
    model: Name
    h: Horizon = 24
    quantiles: Quantiles = DEFAULT_QUANTILES
    trials: int = Field(default=4, ge=1, le=1000)
    time_limit: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=10),
        le=timedelta(days=7),
        description="No trial runs for longer.",
    )
    tft: TftParams = TftParams()


class ForecastSpec(WorkSpec):
    """A batch forecast of the `h` steps after the last value; with `score`, of the last `origins * h` steps before
    it instead, to be compared with their values.
    """

    kind: Literal["forecast"] = "forecast"
    model: Name
    alias: Name = "champion"
    origins: int = Field(default=1, ge=1, le=1000)
    h: Horizon | None = Field(
        default=None, description="Steps; the model's own horizon when absent, and no more."
    )
    score: bool = Field(
        default=False,
        description="Forecast the past from `origins` origins, and compare with the values that are stored.",
    )
    baselines: tuple[Column, ...] = Field(
        default=(), max_length=50, description="Known-future columns to score beside the model, with `score`."
    )
    hierarchy: Hierarchy = ()
    reconciliation: Reconciliation = "mint_shrink"


def require_scoring(spec: ForecastSpec) -> None:
    """Raise InvalidInput for origins and baselines that nothing would be compared with.

    Not a rule of `ForecastSpec` itself: jobs of before, which were not checked, are still read.
    """
    if spec.score:
        return
    for name, is_set in (("origins", spec.origins > 1), ("baselines", bool(spec.baselines))):
        if is_set:
            raise InvalidInput(
                f"{name} are for scoring the past, and this job forecasts the steps after the last value; "
                f"send score=true, or leave {name} out"
            )


class CompactSpec(WorkSpec):
    """Rewrite a dataset's tables as few sorted files and remove for good what was deleted long ago.

    Every version reads the same afterwards, less the series that were purged.
    """

    kind: Literal["compact"] = "compact"
    retention: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(0),
        le=_LONGEST,
        description="How long files that no version reads any more stay, for whoever has them open.",
    )
    purge_after: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(0),
        le=_LONGEST,
        description="How long after its deletion a series is removed from every version, at once and for good.",
    )

    @model_validator(mode="after")
    def _every_version(self) -> CompactSpec:
        if self.version is not None or self.as_of is not None:
            raise ValueError("a compact job works on every version; leave version and as_of out")
        return self


class IngestSpec(WorkSpec):
    """Add the files of a folder in the team's inbox to a dataset, as one version: all of them or none."""

    kind: Literal["ingest"] = "ingest"
    folder: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] = Field(
        description="Its name in the inbox; a path or an address is not taken."
    )
    options: ReadOptions = Field(default=ReadOptions(), description="How its files are to be read.")

    @model_validator(mode="after")
    def _no_version(self) -> IngestSpec:
        if self.version is not None or self.as_of is not None:
            raise ValueError("an ingest job makes a version; leave version and as_of out")
        return self


JobKind = Literal["featurize", "train", "backtest", "tune", "forecast", "compact", "ingest"]
JobSpec = Annotated[
    FeaturizeSpec | TrainSpec | BacktestSpec | TuneSpec | ForecastSpec | CompactSpec | IngestSpec,
    Field(discriminator="kind"),
]

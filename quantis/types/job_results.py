"""Job results: what each kind of job returns when it has succeeded."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from quantis.types.base import Frozen, Timestamp, is_none, rename_keys
from quantis.types.job_specs import TftParams
from quantis.types.registry import Backtest, HeadToHead, Leaderboard, ModelVersion


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Score = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A metric or a loss; null where it is not defined, as after a training that diverged."""


class GateResult(Frozen):
    """The promotion gate's decision. Both naive figures are the best of any season."""

    chosen: str
    passed: bool = Field(description="It may become the champion: it beats seasonal naive, or nothing does.")
    mase: Score
    wql: Score
    naive_mase: Score
    naive_wql: Score
    reason: str
    beats_naive: bool | None = Field(default=None, description="Null in results of earlier releases.")
    p_value: Score = Field(
        default=None, description="Of the test that it is no better than seasonal naive; null if not tested."
    )
    blocks: int = Field(
        default=0, description="Series, or pairs of series and window, that the test compared."
    )
    replaces: bool | None = Field(
        default=None,
        exclude_if=is_none,
        description="It became the champion by itself, or was proposed; null in results of earlier releases.",
    )
    head_to_head: HeadToHead | None = Field(
        default=None, exclude_if=is_none, description="With the champion of before, where there was one."
    )


class TrainResult(Frozen):
    leaderboard: Leaderboard
    model: ModelVersion = Field(description="The published version.")
    gate: GateResult


class BacktestResult(Frozen):
    backtest: Backtest


class TuneTrial(Frozen):
    """A trial of a search: the parameters that it changed and their scores."""

    params: dict[str, Any]
    wql: Score
    loss: Score
    state: str


class TuneResult(Frozen):
    """The best parameters of a search, its trials, and the version trained with them; earlier releases made none."""

    best: TftParams
    trials: list[TuneTrial]
    model: ModelVersion | None = Field(default=None, exclude_if=is_none, description="The published version.")
    gate: GateResult | None = Field(default=None, exclude_if=is_none)
    leaderboard: Leaderboard | None = Field(default=None, exclude_if=is_none)


class ForecastResult(Frozen):
    """Counts by forecast method, and scores by model and metric, from origins at or after the model's own as-of."""

    model: ModelVersion
    h: int
    origins: list[Timestamp] = Field(description="When the values at each origin were known.")
    methods: dict[str, int]
    reconciliation: str | None = None
    scores: dict[str, dict[str, Score]] = {}
    learned_origins: int | None = Field(
        default=None,
        exclude_if=is_none,
        description="Origins that are not scored: the model learned from what followed them.",
    )

    _old_names = model_validator(mode="before")(rename_keys(rungs="methods"))


class FeaturizeResult(Frozen):
    rows: int
    columns: list[str]
    path: str = Field(description="Of the Parquet file, below the data folder.")
    spec: dict[str, Any] = Field(description="The feature specification.")


class CompactResult(Frozen):
    """Counts of a compaction; `purged` counts series, `removed` old files."""

    versions: int
    files_before: int
    files_after: int
    purged: int
    removed: int


class IngestResult(Frozen):
    files: int
    created: bool = Field(description="False when the same rows were the latest version already.")
    version: int
    rows: int
    series: int
    freq: str
    warnings: int = Field(description="Files accepted with warnings.")


JobResult = (
    FeaturizeResult
    | TrainResult
    | BacktestResult
    | TuneResult
    | ForecastResult
    | CompactResult
    | IngestResult
)

"""Models, their versions, and the leaderboard they were chosen from."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from quantis.types.base import Frozen, Moment, Number


class LeaderboardRow(Frozen):
    """One family on the backtest. `skill` is 1 - MASE / MASE of the best seasonal naive."""

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


class Leaderboard(Frozen):
    experiment: str = Field(description="The id of the job that made it.")
    model: str
    dataset: str
    dataset_version: int
    cutoffs: list[Moment]
    h: int
    rows: list[LeaderboardRow]


class ModelVersion(Frozen):
    model: str
    version: int
    family: str
    aliases: list[str]
    created_at: Moment
    experiment: str | None = None
    dataset: str | None = None
    dataset_version: int | None = None
    content_hash: str | None = None
    h: int
    freq: str
    metrics: dict[str, float] = {}
    gate: dict[str, Any] = Field(default={}, description="What the gate compared and what it decided.")


class Model(Frozen):
    name: str
    champion: int | None = None
    latest: int
    versions: int


class AliasRequest(Frozen):
    version: Number

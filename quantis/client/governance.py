"""Evaluation of models, from the client: leaderboards, backtests, model cards."""

from __future__ import annotations

from urllib.parse import quote

from quantis.client.protocol import ApiCaller
from quantis.types.registry import Backtest, Dimension, Figures, Leaderboard, ModelCard


class GovernanceMixin:
    """Mixed into the client."""

    def leaderboard(self: ApiCaller, job_id: str) -> Leaderboard:
        """Return the leaderboard of a training job, best first."""
        return self._get(Leaderboard, f"/experiments/{quote(job_id, safe='')}/leaderboard")

    def backtest(self: ApiCaller, job_id: str) -> Backtest:
        """Return the result of a backtest job: its leaderboard, and every metric over all of it."""
        return self._get(Backtest, f"/backtests/{quote(job_id, safe='')}")

    def backtest_figures(
        self: ApiCaller, job_id: str, by: Dimension, *, model: str | None = None, limit: int = 10_000
    ) -> list[Figures]:
        """Return every metric of a backtest for each series, step, window or segment."""
        path = f"/backtests/{quote(job_id, safe='')}/{quote(by, safe='')}"
        return self._get_all(Figures, path, limit, model=model)

    def card(self: ApiCaller, ref: str) -> ModelCard:
        """Return the model card of `name` (its champion), `name@alias` or `name:7`."""
        return self._get(ModelCard, f"/models/{quote(ref, safe='@:')}/card")

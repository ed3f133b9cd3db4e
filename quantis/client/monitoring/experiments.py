"""Online experiments from the client: start one, see how it stands, stop it."""

from __future__ import annotations

import uuid
from typing import Any

from quantis.client.bodies import quote_segment
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.types.operations.online_experiments import (
    NewOnlineExperiment,
    OnlineExperiment,
    OnlineExperimentState,
    OnlineExperimentWithHistory,
)

_PAGE = 500


class OnlineExperimentsMixin:
    """Mixed into the client."""

    def start_experiment(
        self: ApiCaller,
        name: str,
        model: str,
        challenger: int,
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> OnlineExperiment:
        """Let a version stand trial against the model's champion, with one's own rights at each of its steps.

        `options` are those of an experiment: mode (shadow, canary), share, ramp, replay_days, alpha, margin, loss,
        promote (off, when_better, when_not_worse), roll_back, guard_rails, lasts.
        """
        new = validate(NewOnlineExperiment, name=name, model=model, challenger=challenger, **options)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = new.model_dump_json(exclude_unset=True)
        return self._send(
            OnlineExperiment, "POST", "/experiments-online", body, headers=headers, repeatable=True
        )

    def online_experiments(
        self: ApiCaller,
        model: str | None = None,
        *,
        state: OnlineExperimentState | str | None = None,
        limit: int = 1000,
    ) -> list[OnlineExperiment]:
        """List the experiments of a model, or of all models, newest first."""
        state_name = str(OnlineExperimentState(state)) if state else None
        return self._get_all(OnlineExperiment, "/experiments-online", limit, model=model, state=state_name)

    def online_experiment(
        self: ApiCaller, experiment: str, *, limit: int = 100
    ) -> OnlineExperimentWithHistory:
        """Return an experiment, by its name or id, with its assessments, latest first."""
        path = f"/experiments-online/{quote_segment(experiment)}"
        page = self._get(OnlineExperimentWithHistory, path, limit=min(limit, _PAGE))
        assessments = list(page.assessments)
        while page.next_cursor and len(assessments) < limit:
            page = self._get(OnlineExperimentWithHistory, path, limit=_PAGE, cursor=page.next_cursor)
            assessments += page.assessments
        return page.model_copy(update={"assessments": assessments[:limit]})

    def stop_experiment(self: ApiCaller, experiment: str) -> OnlineExperiment:
        """Stop an experiment: the champion answers everything again, at once."""
        path = f"/experiments-online/{quote_segment(experiment)}/stop"
        return self._send(OnlineExperiment, "POST", path, None)

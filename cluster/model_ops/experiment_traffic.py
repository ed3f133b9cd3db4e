"""The traffic and the champion that an experiment asks for, brought about step by step.

Each call compares what is with what should be, so a process that was killed between two of them goes on where it was,
and nothing is done twice. More traffic and the promotion go the way of the API: the gate, and a second person where the
model's policy asks for one. Traffic is taken away at once under either policy, since two people decided on the version
that gets it back.
"""

from __future__ import annotations

from contextlib import suppress

from cluster.automation.authority import require_model_rights
from cluster.backend import Backend
from cluster.repositories.operations.online_experiments import StoredExperiment
from quantis.errors import Conflict, Forbidden, NotFound
from quantis.types.approvals import Approval, ApprovalState
from quantis.types.operations.online_experiments import OnlineExperimentState
from quantis.types.registry import Share, Traffic

_UNDECIDED = (ApprovalState.pending, ApprovalState.approved)


class ExperimentTraffic:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._experiments = backend.online_experiments

    def bring_about(self, stored: StoredExperiment) -> None:
        """Bring about what an experiment asks for, or let it end where somebody else decided otherwise."""
        if stored.experiment.state is not OnlineExperimentState.running:
            self._withdraw(stored)
            return
        try:
            if not self._ends_from_outside(stored):
                self._advance(stored)
        except Forbidden as error:
            self._settle(stored, OnlineExperimentState.stopped, error.message)

    def _ends_from_outside(self, stored: StoredExperiment) -> bool:
        """End an experiment whose model was promoted or divided by others, or whose request was refused."""
        experiment, registry = stored.experiment, self._backend.registry(stored.team)
        try:
            champion = registry.champion(experiment.model)
            registry.get(experiment.model, experiment.challenger)
        except NotFound as error:
            return self._settle(stored, OnlineExperimentState.stopped, error.message)
        number = champion.version if champion else None
        if number == experiment.challenger:
            reason = (
                experiment.latest.reason if stored.promoting and experiment.latest else "promoted by hand"
            )
            return self._settle(stored, OnlineExperimentState.promoted, reason)
        if number != experiment.incumbent:
            is_now = f"version {number} is" if number else "no version is"
            return self._settle(stored, OnlineExperimentState.stopped, f"{is_now} the champion now")
        if experiment.approval and (refused := self._refusal(stored)):
            return self._settle(stored, OnlineExperimentState.inconclusive, refused)
        if experiment.ramp and self._shares(stored) not in self._expected(stored):
            reason = "somebody divided the model's requests otherwise"
            return self._settle(stored, OnlineExperimentState.stopped, reason)
        return False

    def _advance(self, stored: StoredExperiment) -> None:
        """Ask for the promotion, or give the challenger the share of its step."""
        experiment = stored.experiment
        if stored.promoting:
            self._promote(stored)
        elif experiment.step_started_at is None:
            percent = experiment.ramp[experiment.step].percent
            if self._shares(stored) != _only(experiment.challenger, percent):
                traffic = Traffic(shares=(Share(version=experiment.challenger, percent=percent),))
                require_model_rights(self._backend, stored.team, stored.author)
                promotion = self._backend.promotion(stored.team)
                change = promotion.request_traffic(stored.author.user_name, experiment.model, traffic)
                if isinstance(change, Approval):
                    self._await(stored, change)
                    return
            self._experiments.set_traffic(stored.team, experiment.id, percent, begins=True)

    def _promote(self, stored: StoredExperiment) -> None:
        experiment = stored.experiment
        require_model_rights(self._backend, stored.team, stored.author)
        promotion = self._backend.promotion(stored.team)
        try:
            change = promotion.request_alias(stored.author.user_name, experiment.model, experiment.challenger)
        except Conflict as error:
            self._settle(stored, OnlineExperimentState.inconclusive, error.message)
            return
        if isinstance(change, Approval):
            self._await(stored, change)
            return
        reason = experiment.latest.reason if experiment.latest else ""
        self._settle(stored, OnlineExperimentState.promoted, reason)

    def _withdraw(self, stored: StoredExperiment) -> None:
        """Take back the share and the request for approval of an experiment that has ended."""
        experiment = stored.experiment
        if experiment.approval:
            with suppress(Conflict, NotFound):  # it is decided, or gone
                self._backend.approvals.decide(
                    stored.team, experiment.approval, stored.author.user_name, approve=False
                )
        with suppress(NotFound):
            if experiment.ramp and self._shares(stored) in self._expected(stored):
                self._backend.promotion(stored.team).withdraw_share(experiment.model, experiment.challenger)
        self._experiments.set_traffic(stored.team, experiment.id, 0)

    def _refusal(self, stored: StoredExperiment) -> str | None:
        """Return who refused the experiment's request; None while it waits, or was approved."""
        experiment = stored.experiment
        try:
            approval = self._backend.approvals.get(stored.team, experiment.approval or "")
        except NotFound:
            return "its request for approval is gone"
        if approval.state in _UNDECIDED:
            return None
        return f"{approval.decided_by} has {approval.state} its request {approval.id}"

    def _shares(self, stored: StoredExperiment) -> dict[int, int]:
        traffic = self._backend.registry(stored.team).traffic(stored.experiment.model)
        return {share.version: share.percent for share in traffic.shares}

    def _expected(self, stored: StoredExperiment) -> tuple[dict[int, int], ...]:
        """Return the divisions of the requests that the experiment itself made, or was about to."""
        experiment = stored.experiment
        percents = {experiment.traffic, experiment.ramp[experiment.step].percent}
        return tuple(_only(experiment.challenger, percent) for percent in percents)

    def _await(self, stored: StoredExperiment, approval: Approval) -> None:
        if stored.experiment.approval != approval.id:
            reason = f"waits for the approval of request {approval.id}"
            self._experiments.set_approval(stored.team, stored.experiment.id, approval.id, reason)

    def _settle(self, stored: StoredExperiment, state: OnlineExperimentState, reason: str) -> bool:
        """End an experiment; its share is withdrawn by the next call."""
        self._experiments.settle(stored.team, stored.experiment.id, state, reason)
        return True


def _only(version: int, percent: int) -> dict[int, int]:
    return {version: percent} if percent else {}

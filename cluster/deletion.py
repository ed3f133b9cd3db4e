"""Deletion of datasets, models, versions and jobs: refused while something needs them, a tombstone before the data.

A process that dies in between leaves a tombstone, and the sweeper removes the rest; deleting again does, too.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.repositories.inventory import DATASET, JOB, MODEL, VERSION, DeletedKind, Tombstone
from quantis.errors import Conflict, NotFound
from quantis.types.approvals import AliasChange, Approval, ApprovalState, Policy, TrafficChange
from quantis.types.jobs import Job, JobState
from quantis.types.operations.online_experiments import OnlineExperimentState
from quantis.types.registry import CANDIDATE, CHAMPION, ModelVersion

if TYPE_CHECKING:
    from cluster.backend import Backend

_MOST_NAMED = 5
log = logging.getLogger("quantis.deletion")


class Deletion:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tombstones = backend.tombstones

    def delete_dataset(self, team: str, user: str, name: str) -> None:
        """Delete a dataset with all its versions; Conflict while a model that serves or a job reads it."""
        if self._tombstones.find(team, DATASET, name) is None:
            self._backend.catalogue.datasets.get(team, name)
            _require_unneeded(f"dataset {name!r}", self._uses_of_dataset(team, name))
        self._bury(team, user, DATASET, name)

    def delete_model(self, team: str, user: str, name: str) -> None:
        """Delete a model with all its versions; Conflict while one of them serves, or a job needs it."""
        if self._tombstones.find(team, MODEL, name) is None:
            versions = self._backend.registry(team).versions(name)
            _require_unneeded(f"model {name!r}", self._uses_of_model(team, name, versions))
        self._bury(team, user, MODEL, name)

    def delete_version(self, team: str, user: str, model: str, version: int) -> None:
        """Delete a version of a model; Conflict while it serves, or a job needs the model."""
        key = f"{model}:{version}"
        if self._tombstones.find(team, VERSION, key) is None:
            stored = self._backend.registry(team).get(model, version)
            _require_unneeded(f"model {key}", self._uses_of_model(team, model, [stored]))
        self._bury(team, user, VERSION, key)

    def delete_job(self, team: str, user: str, job_id: str) -> None:
        """Delete a job that has ended, with its events and files; its id and its use of the machine stay."""
        if self._tombstones.find(team, JOB, job_id) is None:
            self._backend.jobs.delete(team, user, job_id)
        self._bury(team, user, JOB, job_id)

    def remove_alias(self, team: str, model: str, alias: str) -> None:
        """Let an alias mean no version any more; Conflict where two people decide that, or shares need a champion."""
        registry = self._backend.registry(team)
        if not any(alias in version.aliases for version in registry.versions(model)):
            return
        if self._backend.promotion(team).policy(model) == Policy.two_person:
            raise Conflict(
                f"what {model}@{alias} means is decided by two people (policy two_person); have the policy "
                "changed to gate first"
            )
        if alias == CHAMPION and registry.traffic(model).shares:
            raise Conflict(
                f"the requests of {model!r} are divided between versions; take their shares away first"
            )
        registry.remove_alias(model, alias)

    def require_new_name(self, team: str, kind: DeletedKind, name: str) -> None:
        """Raise Conflict for a name that something had which was deleted."""
        tombstone = self._tombstones.find(team, kind, name)
        if tombstone is not None:
            raise Conflict(f"{kind} {name!r} {tombstone}; its name stays taken, choose another one")

    def deleted_origins(self, team: str, version: ModelVersion) -> list[str]:
        """Return those of a version's dataset, job and parent that were deleted."""
        parent = (version.lineage.parent if version.lineage else None) or ""
        origins: tuple[tuple[DeletedKind, str | None], ...] = (
            (DATASET, version.dataset), (JOB, version.experiment), (VERSION, parent)
        )  # fmt: skip
        deleted = [name for kind, name in origins if name and self._tombstones.find(team, kind, name)]
        return [*deleted, *([parent] if self._tombstones.find(team, MODEL, parent.partition(":")[0]) else [])]

    def remove_left_over(self) -> list[Path]:
        """Remove what is left of deleted objects, after a crash or by a writer who was at work; return the paths."""
        removed: list[Path] = []
        for tombstone in self._tombstones.all():
            try:
                removed += self._remove(tombstone)
            except Exception:
                log.exception(
                    "%s %r is deleted, and some of its data is left", tombstone.kind, tombstone.name
                )
        return removed

    def _bury(self, team: str, user: str, kind: DeletedKind, name: str) -> None:
        """Set the tombstone, then remove the data; left for the sweeper while a backup holds the files."""
        self._tombstones.add(team, kind, name, user)
        tombstone = self._tombstones.find(team, kind, name)
        assert tombstone is not None
        if tombstone.removed_at is None:
            self._hide(tombstone)
            if kind == DATASET:
                self._backend.purges.add(team, name)
        with self._backend.data_layout.removing_files() as alone:
            if alone:
                self._remove(tombstone)

    def _hide(self, tombstone: Tombstone) -> None:
        """Let nobody find a model or version in the registry, which does not know of tombstones."""
        model, _, number = tombstone.name.partition(":")
        with suppress(NotFound):  # it is hidden already
            if tombstone.kind == VERSION:
                self._backend.registry(tombstone.team).hide_version(model, int(number))
            elif tombstone.kind == MODEL:
                self._backend.registry(tombstone.team).hide_model(model)

    def _remove(self, tombstone: Tombstone) -> list[Path]:
        if tombstone.removed_at is None and tombstone.kind in (MODEL, VERSION):
            registry = self._backend.registry(tombstone.team)
            model, _, number = tombstone.name.partition(":")
            if number:
                registry.delete_version(model, int(number))
            else:
                registry.delete_model(model)
        paths = [path for path in self._folders(tombstone) if path.exists()]
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if tombstone.removed_at is None:
            self._tombstones.mark_removed(tombstone)
        return paths

    def _folders(self, tombstone: Tombstone) -> Sequence[Path]:
        team, name, layout = tombstone.team, tombstone.name, self._backend.data_layout
        cached = layout.root / "cache" / team
        match tombstone.kind:
            case "dataset":
                return layout.dataset(team, name), layout.features(team, name)
            case "job":
                return layout.backtest(team, name), layout.batch_forecasts(team, name), layout.training / name
            case "model":
                return layout.artifacts / team / name, cached / name
            case "model_version":
                return (cached.joinpath(*name.split(":")),)

    def _uses_of_dataset(self, team: str, name: str) -> Iterator[str]:
        registry = self._backend.registry(team)
        for model in registry.models():
            versions = [version for version in registry.versions(model.name) if version.dataset == name]
            yield from self._serving(team, model.name, versions)
        for job in self._unfinished(team):
            if job.spec.dataset == name:
                yield f"{job.kind} job {job.id} is {job.state}"

    def _uses_of_model(self, team: str, model: str, versions: Sequence[ModelVersion]) -> Iterator[str]:
        yield from self._serving(team, model, versions)
        numbers = {version.version for version in versions}
        running = OnlineExperimentState.running
        for trial in self._backend.online_experiments.page(team, model=model, state=running).items:
            if numbers & {trial.challenger, trial.incumbent}:
                yield f"experiment {trial.name} is running"
        for job in self._unfinished(team):
            if model in _models_of(job):
                yield f"{job.kind} job {job.id} is {job.state}"

    def _unfinished(self, team: str) -> list[Job]:
        pages = [
            self._backend.jobs.page(team, state=state, limit=500)
            for state in (JobState.pending, JobState.running)
        ]
        return [job for page in pages for job in page.items]

    def _serving(self, team: str, model: str, versions: Sequence[ModelVersion]) -> Iterator[str]:
        """Yield what makes versions serve, or would: an alias other than candidate, a share, a request for approval."""
        numbers = {version.version for version in versions}
        if not numbers:
            return
        for version in versions:
            for alias in version.aliases:
                if alias != CANDIDATE:
                    yield f"{model}:{version.version} serves as {alias}"
        for share in self._backend.registry(team).traffic(model).shares:
            if share.version in numbers:
                yield f"{model}:{share.version} has {share.percent} % of the requests"
        pending = self._backend.approvals.page(team, state=ApprovalState.pending, limit=500).items
        for approval in pending:
            if approval.model == model and numbers & _versions_of(approval):
                yield f"approval {approval.id} is pending"


def _models_of(job: Job) -> set[str]:
    """Return the names of the models that a job reads or makes a version of."""
    references = (getattr(job.spec, field, None) for field in ("model", "warm_start"))
    return {reference.partition("@")[0].partition(":")[0] for reference in references if reference}


def _versions_of(approval: Approval) -> set[int]:
    change = approval.change
    if isinstance(change, AliasChange):
        return {change.version}
    return {share.version for share in change.traffic.shares} if isinstance(change, TrafficChange) else set()


def _require_unneeded(title: str, uses: Iterator[str]) -> None:
    """Raise Conflict, naming what needs the object."""
    named = list(uses)
    if named:
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        raise Conflict(
            f"{title} is needed: {'; '.join(named[:_MOST_NAMED])}{more}. Move or remove the aliases and shares, "
            "decide the requests, stop the experiments and end the jobs first"
        )

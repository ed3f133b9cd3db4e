"""Checks of a job before it is recorded: what it names is there, and its bounds are those of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from cluster.repositories.inventory import MODEL
from features.design.calendar import require_country
from models.evaluation.rolling_origin import require_windows
from models.families.catalogue import known_families, require_families
from models.prediction.response import require_horizon
from quantis.errors import Conflict, InvalidInput, NotFound, suggest
from quantis.panel import longest_history
from quantis.types.datasets import DatasetSpec, DatasetVersion
from quantis.types.job_specs import (
    BacktestSpec,
    CompactSpec,
    EvaluationSpec,
    ForecastSpec,
    IngestSpec,
    JobSpec,
    TrainSpec,
    TuneSpec,
    require_heads,
    require_scoring,
)
from quantis.types.registry import ModelVersion
from serve.services import Services


def require_runnable(services: Services, team: str, spec: JobSpec) -> None:
    """Raise NotFound or InvalidInput for a job that could only fail, with what was probably meant."""
    if isinstance(spec, TrainSpec | TuneSpec):
        services.deletion.require_new_name(team, MODEL, spec.model)
    if isinstance(spec, EvaluationSpec):
        require_families(spec.families, known_families(services.settings.own_families))
    declared = services.catalogue.declared_spec(team, spec.dataset)
    if isinstance(spec, IngestSpec):  # what it adds may be the first version
        _require_inbox(services, team, spec)
        return
    if declared.holidays is not None and not isinstance(spec, CompactSpec):
        require_country(declared.holidays)
    pinned = services.catalogue.datasets.version(team, spec.dataset, spec.version)
    _require_columns(spec, declared)
    _require_models(services, team, spec)
    if isinstance(spec, EvaluationSpec | TuneSpec):
        _require_time(spec, services.settings.job_seconds)
    _require_fit(spec, pinned.version)


def _require_inbox(services: Services, team: str, spec: IngestSpec) -> None:
    inbox = services.data_layout.inbox(team)
    folders = [path.name for path in inbox.iterdir() if path.is_dir()] if inbox.is_dir() else []
    if spec.folder not in folders:
        raise NotFound(
            f"the inbox has no folder {spec.folder!r}; {suggest(spec.folder, folders)}; put the files there first"
        )


def _require_columns(spec: JobSpec, declared: DatasetSpec) -> None:
    """Raise InvalidInput for a column that the dataset lacks, or that has another role."""
    roles = declared.roles
    every = (*roles.stat_exog, *roles.futr_exog, *roles.hist_exog)
    if isinstance(spec, EvaluationSpec | ForecastSpec):
        _require_named("baseline", spec.baselines, roles.futr_exog, "known-future column")
    if isinstance(spec, BacktestSpec):
        _require_named("segment", spec.segments, every, "column")
    if isinstance(spec, BacktestSpec | ForecastSpec):
        _require_named("hierarchy", chain.from_iterable(spec.hierarchy), roles.stat_exog, "static column")


def _require_named(field: str, names: Iterable[str], columns: Sequence[str], role: str) -> None:
    for name in names:
        if name not in columns:
            raise InvalidInput(
                f"{field} {name!r} is no {role} of the dataset; {suggest(name, columns)}",
                errors=[{"pointer": f"/spec/{field}", "message": f"{name!r} is no {role} of the dataset"}],
            )


def _require_models(services: Services, team: str, spec: JobSpec) -> None:
    """Raise NotFound for a model that is not there, InvalidInput for one that cannot do what is asked of it."""
    if isinstance(spec, TrainSpec) and spec.warm_start is not None:
        parent = _resolve(services, team, spec.warm_start)
        if not parent.family.startswith("tft"):
            raise Conflict(
                f"warm_start {spec.warm_start!r} is of family {parent.family!r}; a warm start needs a tft, "
                "or leave it out"
            )
    if isinstance(spec, BacktestSpec) and spec.model is not None:
        _require_same_dataset(_resolve(services, team, spec.model), spec.model, spec.dataset)
    if isinstance(spec, ForecastSpec):
        version = _resolve(services, team, f"{spec.model}@{spec.alias}")
        _require_same_dataset(version, spec.model, spec.dataset)
        require_horizon(spec.h, version.h)


def _resolve(services: Services, team: str, reference: str) -> ModelVersion:
    registry = services.registry(team)
    try:
        return registry.resolve(reference)
    except NotFound as error:
        name, _, alias = reference.partition("@")
        name, _, number = name.partition(":")
        names = [model.name for model in registry.models()]
        if name not in names:
            raise NotFound(f"no model {name!r}; {suggest(name, names)}") from error
        versions = registry.versions(name)
        if number:
            numbers = ", ".join(str(version.version) for version in versions)
            raise NotFound(f"model {name!r} has no version {number}; it has {numbers}") from error
        aliases = {each for version in versions for each in version.aliases}
        raise NotFound(
            f"no version of model {name!r} is called {alias or 'champion'!r}; "
            f"{suggest(alias or 'champion', aliases)}; train one, or promote a version"
        ) from error


def _require_same_dataset(version: ModelVersion, reference: str, dataset: str) -> None:
    if version.dataset != dataset:
        raise InvalidInput(f"model {reference!r} was trained on {version.dataset!r}, not on {dataset!r}")


def _require_time(spec: EvaluationSpec | TuneSpec, longest: int) -> None:
    """Raise InvalidInput for a time limit beyond the platform's."""
    if spec.time_limit is not None and spec.time_limit.total_seconds() > longest:
        raise InvalidInput(
            f"time_limit {spec.time_limit.total_seconds():.0f} s is more than the {longest} s that a job may run here "
            "(QUANTIS_JOB_SECONDS); take less, or ask an operator for more"
        )


def _require_fit(spec: JobSpec, version: DatasetVersion) -> None:
    """Raise InvalidInput for windows that no history of the version can hold, and for heads that have no width."""
    if isinstance(spec, ForecastSpec):
        require_scoring(spec)
    if isinstance(spec, EvaluationSpec | TuneSpec):
        require_heads(spec.tft)
    steps = longest_history(version, spec.as_of)
    if steps == 0 or (isinstance(spec, BacktestSpec) and spec.model is not None):
        return  # the job says what of the dataset was known then; a model has its own horizon
    if isinstance(spec, TuneSpec):
        require_windows(steps, spec.h)
    elif isinstance(spec, EvaluationSpec):
        require_windows(steps, spec.h, spec.n_windows or 1, spec.step_size)
    elif isinstance(spec, ForecastSpec) and spec.score and spec.h is not None:
        require_windows(steps, spec.h, spec.origins, name="origins")

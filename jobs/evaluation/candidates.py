"""Which families stand for election, and how each does on the rolling origins.

What Ray's tasks run is here, and not where Ray Train and MLflow are: a worker that begins imports it in 0.2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa

from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.metrics import Partition, metrics_by_part
from models.evaluation.promotion_gate import Score, errors_by_pair
from models.evaluation.rolling_origin import backtest
from models.families.catalogue import FAMILIES, family_class, require_families
from models.families.naive import ColumnForecast, SeasonalNaive
from models.forecaster import Forecaster, measures_intervals
from models.postprocessing.ensembling import BlendCandidate, blend_candidates
from models.postprocessing.reconciliation import Hierarchy
from models.prediction import fallback
from models.prediction.fallback import ForecastEntry
from models.prediction.response import forecast_table
from models.registry.bundle import model_bytes
from quantis.errors import InvalidInput, Unavailable
from quantis.panel import ID, Snapshot, SnapshotProvider, Task, series_slices
from quantis.types.forecasts import ForecastMethod, Reason
from quantis.types.job_specs import CompareSpec, Family

BASELINE = "baseline"
SERIES_PER_BLOCK = 250
ENOUGH_PAIRS, MOST_WINDOWS = 100, 12
LOCAL_FAMILIES = frozenset({Family.seasonal_naive, Family.theta, Family.statistical})
"""Families that look at one series at a time: blocks of series are forecast apart, with the same result."""


@runtime_checkable
class SelectableSnapshots(Protocol):
    """Snapshots of which some series can be had for the work of them alone."""

    def for_series(self, series: Sequence[str]) -> SnapshotProvider: ...


@dataclass(frozen=True)
class Candidate:
    """One row of the leaderboard to be."""

    name: str
    family: str
    season: int = 0
    column: str = ""

    @property
    def floor(self) -> bool:
        """Whether it stands whatever the time: the naive floor, and columns that are forecasts already."""
        return self.family in (Family.seasonal_naive, BASELINE)


@dataclass(frozen=True)
class EvaluationSetup:
    """What every member is judged on: the same snapshots, the same actuals, the same origins."""

    task: Task
    snapshots: SnapshotProvider
    history: pa.Table
    cutoffs: tuple[np.datetime64, ...]
    refit: bool = False
    levels: Hierarchy | None = None
    families: Mapping[str, str] = field(default_factory=lambda: FAMILIES)


@dataclass(frozen=True)
class CandidateBlock:
    """A member on one block of the series: `part` of `parts`."""

    candidate: Candidate
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class FallbackUsed:
    """A series that a simpler method forecast at a window, and why."""

    unique_id: str
    cutoff: np.datetime64
    method: ForecastMethod
    reason: str


@dataclass(frozen=True)
class EvaluationResult:
    """What a member answered: predictions beside actuals, the seconds it took, its size in bytes, and whether
    its intervals were measured on values left out of the fit.
    """

    predictions: pa.Table
    seconds: float
    size_bytes: int = 0
    fallbacks: tuple[FallbackUsed, ...] = ()
    intervals_measured: bool = False


def count_windows(spec: CompareSpec, task: Task, history: pa.Table) -> int:
    """How many rolling origins: as asked, or enough for about a hundred (series, window) pairs.

    Three at least and twelve at most, and never over more than a quarter of the usual history.
    """
    if spec.n_windows is not None:
        return spec.n_windows
    lengths = [rows.stop - rows.start for _, rows in series_slices(history[ID])]
    bearable = int(np.median(lengths)) // (4 * task.h) if lengths else 1
    return max(1, min(bearable, max(3, -(-ENOUGH_PAIRS // max(len(lengths), 1))), MOST_WINDOWS))


def build_candidates(
    spec: CompareSpec, task: Task, families: Mapping[str, str] = FAMILIES
) -> list[Candidate]:
    """The candidates of a job. Seasonal naive always stands: it is the floor."""
    found = [Candidate(f"seasonal_naive_{m}", Family.seasonal_naive, season=m) for m in task.season_lengths]
    for column in spec.baselines:
        if column not in task.roles.futr_exog:
            known = ", ".join(task.roles.futr_exog) or "none"
            raise InvalidInput(
                f"baseline {column!r} is not known in advance; the dataset's such columns: {known}"
            )
        found.append(Candidate(column, BASELINE, column=column))
    require_families(spec.families, families)
    apart = {Family.seasonal_naive, Family.ensemble}  # one stands already, a blend is made of the others
    if not task.roles.futr_exog + task.roles.hist_exog:
        apart.add(Family.boosting_plain)  # the same as boosting
    rivals = dict.fromkeys(family for family in spec.families if family not in apart)
    return found + [Candidate(family, family) for family in rivals]


def calibrate_and_blend(
    members: Sequence[Candidate],
    outcomes: Mapping[str, EvaluationResult | Exception],
    setup: EvaluationSetup,
    blend: bool,
) -> dict[str, BlendCandidate]:
    """What each member, and their blend, would be published as: calibrated, judged on the other windows.

    Forecasts that were reconciled over a hierarchy stay as they are, or they would no longer add up.
    """
    judged = {m: outcome for m in members if isinstance(outcome := outcomes[m.name], EvaluationResult)}
    floor = next((judged[m] for m in judged if m.family == Family.seasonal_naive), None)
    if floor is None or setup.levels is not None:
        return {}
    own = {m.name: one.predictions for m, one in judged.items() if m.family != BASELINE}
    measured = {m.name for m, one in judged.items() if one.intervals_measured}
    return blend_candidates(own, floor.predictions, setup.history, setup.task, own if blend else (), measured)


def split_into_blocks(
    candidates: Sequence[Candidate], setup: EvaluationSetup, width: int
) -> list[CandidateBlock]:
    """The members, those that look at one series at a time cut into blocks for `width` CPUs.

    The whole ones come first, since blocks fill the time beside them. Nothing is cut where the series belong
    together, as in a hierarchy.
    """
    series = len(setup.history[ID].unique())
    divisible = isinstance(setup.snapshots, SelectableSnapshots)
    blocks = min(-(-series // SERIES_PER_BLOCK), 8 * width) if divisible else 1
    found = [
        CandidateBlock(candidate, part, parts)
        for candidate in candidates
        for parts in [blocks if candidate.family in LOCAL_FAMILIES else 1]
        for part in range(parts)
    ]
    return sorted(found, key=lambda unit: unit.parts)


def fit_candidate(
    candidate: Candidate,
    snapshot: Snapshot,
    task: Task,
    families: Mapping[str, str] = FAMILIES,
    deadline: float | None = None,
) -> Forecaster:
    """Fit a member in this process, until `deadline` (`time.monotonic()`); the transformer is trained by Ray Train.

    Families are imported where they are used: each takes seconds that a training worker need not spend.
    """
    match candidate.family:
        case Family.seasonal_naive:
            return SeasonalNaive.fit(snapshot, task, candidate.season)
        case str() if candidate.family == BASELINE:
            return ColumnForecast.fit(snapshot, task, candidate.column)
    fitted: Forecaster = cast(Any, family_class(candidate.family, families)).fit(
        snapshot, task, deadline=deadline
    )
    return fitted


def evaluate_on_origins(
    setup: EvaluationSetup, fit_on: Callable[[Snapshot], Forecaster], baseline: bool = False
) -> EvaluationResult:
    """Predictions from every origin, fitted on the first, as they would be served: through the fallback chain.

    Unavailable when the model answers for no series at all.
    """
    started = time.perf_counter()
    fallen: list[FallbackUsed] = []
    last: list[Forecaster] = []

    def fitted(snapshot: Snapshot) -> Forecaster:
        last[:] = [fit_on(snapshot)]
        return last[0]

    def answer(forecaster: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
        if baseline:
            return forecaster.predict(snapshot)
        entries = fallback.forecast(forecaster, snapshot, setup.task)
        _check_some_answer(entries)
        fallen.extend(
            FallbackUsed(entry.unique_id, cutoff, entry.method, entry.detail or str(entry.reason))
            for entry in entries
            if entry.method != ForecastMethod.model
        )
        table = forecast_table(entries, setup.task.quantiles)
        return setup.levels.reconcile(table, snapshot, setup.task) if setup.levels else table

    predictions = backtest(fitted, setup.snapshots, setup.history, setup.cutoffs, setup.refit, answer)
    seconds, model = time.perf_counter() - started, last[0]
    return EvaluationResult(
        predictions, seconds, model_bytes(model), tuple(fallen), measures_intervals(model)
    )


def evaluate_block(setup: EvaluationSetup, unit: CandidateBlock, seconds: float | None) -> EvaluationResult:
    """A member on its block of the series, within `seconds`."""
    deadline = deadline_in(seconds)
    mine = _block(setup, unit)

    def fit_on(snapshot: Snapshot) -> Forecaster:
        return fit_candidate(unit.candidate, snapshot, setup.task, setup.families, deadline)

    return evaluate_on_origins(mine, fit_on, baseline=unit.candidate.family == BASELINE)


def fit_on_shared_snapshot(
    shared: tuple[Snapshot, Task, Mapping[str, str]], candidate: Candidate, seconds: float | None
) -> Forecaster:
    """A member fitted on the snapshot that it shares with others, within `seconds`."""
    snapshot, task, families = shared
    return fit_candidate(candidate, snapshot, task, families, deadline_in(seconds))


def deadline_in(seconds: float | None) -> float | None:
    """The `time.monotonic()` of so many seconds from now; None for none."""
    return None if seconds is None else time.monotonic() + seconds


def merge_results(parts: Sequence[EvaluationResult | Exception]) -> EvaluationResult | Exception:
    """The blocks of one member as one; the first error where one failed."""
    errors = [part for part in parts if isinstance(part, Exception)]
    done = [part for part in parts if isinstance(part, EvaluationResult)]
    if errors:
        return errors[0]
    return EvaluationResult(
        pa.concat_tables(part.predictions for part in done),
        sum(part.seconds for part in done),
        max(part.size_bytes for part in done),
        tuple(one for part in done for one in part.fallbacks),
        all(part.intervals_measured for part in done),
    )


def score_candidate(
    candidate: Candidate, outcome: EvaluationResult | Exception, setup: EvaluationSetup
) -> Score:
    """The figures of a member, or why it has none."""
    if isinstance(outcome, Exception):
        return Score(candidate.name, candidate.family, 0.0, failed=failure_reason(outcome))
    rows = EvaluatedRows.from_tables(outcome.predictions, setup.history, setup.task.season_lengths[0])
    return Score(
        candidate.name,
        candidate.family,
        round(outcome.seconds, 2),
        metrics_by_part(rows, Partition.single(rows))[0],
        errors=errors_by_pair(outcome.predictions, rows),
        size_bytes=outcome.size_bytes,
        fallbacks=len({one.unique_id for one in outcome.fallbacks}),
    )


def failure_reason(error: Exception) -> str:
    """Why a member failed, in a line or two."""
    if isinstance(error, TimeoutError):
        return f"timed out: {error}"[:500]
    text = str(getattr(error, "message", "")) or f"{type(error).__name__}: {error}"
    return text[:500]


def without_tft(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that one process fits."""
    return [candidate for candidate in candidates if candidate.family != Family.tft]


def _block(setup: EvaluationSetup, unit: CandidateBlock) -> EvaluationSetup:
    if unit.parts == 1:
        return setup
    ids = sorted(setup.history[ID].unique().to_pylist())
    edges = np.linspace(0, len(ids), unit.parts + 1).astype(int)
    mine = ids[edges[unit.part] : edges[unit.part + 1]]
    assert isinstance(setup.snapshots, SelectableSnapshots)
    return replace(setup, snapshots=setup.snapshots.for_series(mine))


def _check_some_answer(entries: Sequence[ForecastEntry]) -> None:
    """A model that fails on every series is not judged by what the methods behind it answer."""
    failed = [entry for entry in entries if entry.reason == Reason.model_failed]
    if failed and len(failed) == len(entries):
        raise Unavailable(f"no series could be forecast: {failed[0].detail}")

"""Candidates of a job and their evaluation on rolling origins.

Ray's tasks run this module, apart from Ray Train and MLflow: a worker that starts imports it in 0.2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa

from cluster.ray.failures import describe, single_line
from models.evaluation.evaluated import EvaluatedRows
from models.evaluation.metrics import Partition, metrics_by_part
from models.evaluation.promotion_gate import Score, errors_by_pair
from models.evaluation.rolling_origin import backtest, require_windows
from models.families.catalogue import FAMILIES, family_class, require_families
from models.families.naive import ColumnForecast, SeasonalNaive
from models.forecaster import Forecaster, measures_intervals
from models.postprocessing.ensembling import BlendCandidate, blend_candidates
from models.postprocessing.reconciliation import Hierarchy
from models.prediction import fallback
from models.prediction.fallback import ForecastEntry
from models.prediction.response import forecast_table
from models.registry.bundle import model_bytes
from quantis.errors import InvalidInput, QuantisError, Unavailable
from quantis.panel import ID, Snapshot, SnapshotProvider, Task, series_slices
from quantis.types.forecasts import ForecastMethod, Reason
from quantis.types.job_specs import EvaluationSpec, Family

BASELINE = "baseline"
SERIES_PER_BLOCK = 250
TARGET_PAIRS, MAX_WINDOWS = 100, 12
LOCAL_FAMILIES = frozenset({Family.seasonal_naive, Family.theta, Family.statistical})
"""Families that fit each series alone: blocks of series forecast separately give the same result."""


@runtime_checkable
class SelectableSnapshots(Protocol):
    """Snapshots that can be restricted to some series, at the cost of these alone."""

    def for_series(self, series: Sequence[str]) -> SnapshotProvider: ...


@dataclass(frozen=True)
class Candidate:
    """A row of the future leaderboard: a family, or a column that is scored as a forecast."""

    name: str
    family: str
    season: int = 0
    column: str = ""

    @property
    def is_baseline(self) -> bool:
        """True for seasonal naive and for columns: they are evaluated whatever the time limit."""
        return self.family in (Family.seasonal_naive, BASELINE)


@dataclass(frozen=True)
class EvaluationSetup:
    """Snapshots, actual values and origins, the same for every candidate."""

    task: Task
    snapshots: SnapshotProvider
    history: pa.Table
    cutoffs: tuple[np.datetime64, ...]
    refit: bool = False
    hierarchy: Hierarchy | None = None
    families: Mapping[str, str] = field(default_factory=lambda: FAMILIES)


@dataclass(frozen=True)
class CandidateBlock:
    """A candidate on one block of the series: `part` of `parts`."""

    candidate: Candidate
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class FallbackUsed:
    """A series that a simpler method forecast at a window, with the reason."""

    unique_id: str
    cutoff: np.datetime64
    method: ForecastMethod
    reason: str


@dataclass(frozen=True)
class EvaluationResult:
    """Predictions beside actual values, the seconds they took and the size of the model.

    `intervals_measured` is true if its intervals come from errors on values left out of the fit.
    """

    predictions: pa.Table
    seconds: float
    size_bytes: int = 0
    fallbacks: tuple[FallbackUsed, ...] = ()
    intervals_measured: bool = False


def count_windows(spec: EvaluationSpec, task: Task, history: pa.Table) -> int:
    """Return the number of rolling origins: as requested, or enough for about a hundred (series, window) pairs.

    Three at least and twelve at most, and never over more than a quarter of the median history. InvalidInput where
    no history holds them.
    """
    lengths = [rows.stop - rows.start for _, rows in series_slices(history[ID])]
    require_windows(max(lengths, default=0), task.h, spec.n_windows or 1, spec.step_size)
    if spec.n_windows is not None:
        return spec.n_windows
    stride = max(task.h, spec.step_size or task.h)
    affordable = int(np.median(lengths)) // (4 * stride) if lengths else 1
    return max(1, min(affordable, max(3, -(-TARGET_PAIRS // max(len(lengths), 1))), MAX_WINDOWS))


def build_candidates(
    spec: EvaluationSpec, task: Task, families: Mapping[str, str] = FAMILIES
) -> list[Candidate]:
    """Return the candidates of a job, seasonal naive as the baseline always among them."""
    candidates = [
        Candidate(f"seasonal_naive_{m}", Family.seasonal_naive, season=m) for m in task.season_lengths
    ]
    for column in spec.baselines:
        if column not in task.roles.futr_exog:
            available = ", ".join(task.roles.futr_exog) or "none"
            raise InvalidInput(
                f"baseline {column!r} is not known in advance; the dataset's such columns: {available}"
            )
        candidates.append(Candidate(column, BASELINE, column=column))
    require_families(spec.families, families)
    excluded = {Family.seasonal_naive, Family.ensemble}  # one is in already, the other is made of candidates
    if not task.roles.futr_exog + task.roles.hist_exog:
        excluded.add(Family.boosting_plain)  # the same as boosting
    unique = dict.fromkeys(family for family in spec.families if family not in excluded)
    return candidates + [Candidate(family, family) for family in unique]


def calibrate_and_blend(
    candidates: Sequence[Candidate],
    outcomes: Mapping[str, EvaluationResult | Exception],
    setup: EvaluationSetup,
    blend: bool,
) -> dict[str, BlendCandidate]:
    """Return each candidate, and their ensemble, as it would be published: calibrated on the other windows.

    Forecasts that were reconciled over a hierarchy stay as they are, or they would no longer add up.
    """
    results: dict[Candidate, EvaluationResult] = {}
    for candidate in candidates:
        outcome = outcomes[candidate.name]
        if isinstance(outcome, EvaluationResult):
            results[candidate] = outcome
    naive = [result for candidate, result in results.items() if candidate.family == Family.seasonal_naive]
    if not naive or setup.hierarchy is not None:
        return {}
    predictions = {
        candidate.name: result.predictions
        for candidate, result in results.items()
        if candidate.family != BASELINE
    }
    measured = {candidate.name for candidate, result in results.items() if result.intervals_measured}
    return blend_candidates(
        predictions,
        naive[0].predictions,
        setup.history,
        setup.task,
        blended=predictions if blend else (),
        measured=measured,
    )


def split_into_blocks(
    candidates: Sequence[Candidate], setup: EvaluationSetup, width: int
) -> list[CandidateBlock]:
    """Split candidates of local families into blocks of series for `width` CPUs; the others stay whole.

    Whole candidates come first, since blocks fill the time beside them. Nothing is split where the series belong
    together, as in a hierarchy.
    """
    series = len(setup.history[ID].unique())
    selectable = isinstance(setup.snapshots, SelectableSnapshots)
    parts = min(-(-series // SERIES_PER_BLOCK), 8 * width) if selectable else 1
    whole: list[CandidateBlock] = []
    blocks: list[CandidateBlock] = []
    for candidate in candidates:
        if candidate.family in LOCAL_FAMILIES and parts > 1:
            blocks += [CandidateBlock(candidate, part, parts) for part in range(parts)]
        else:
            whole.append(CandidateBlock(candidate))
    return whole + blocks


def fit_candidate(
    candidate: Candidate,
    snapshot: Snapshot,
    task: Task,
    families: Mapping[str, str] = FAMILIES,
    deadline: float | None = None,
) -> Forecaster:
    """Fit a candidate in this process, until `deadline` (`time.monotonic()`); Ray Train trains the transformer.

    Families are imported where they are used: each takes seconds that a training worker need not spend.
    """
    match candidate.family:
        case Family.seasonal_naive:
            return SeasonalNaive.fit(snapshot, task, candidate.season)
        case str() if candidate.family == BASELINE:
            return ColumnForecast.fit(snapshot, task, candidate.column)
    forecaster: Forecaster = cast(Any, family_class(candidate.family, families)).fit(
        snapshot, task, deadline=deadline
    )
    return forecaster


def evaluate_on_origins(
    setup: EvaluationSetup, fit: Callable[[Snapshot], Forecaster], baseline: bool = False
) -> EvaluationResult:
    """Predict from every origin, fitted at the first, as a request would be served: with the fallback chain.

    Unavailable when the model forecasts no series at all.
    """
    started = time.perf_counter()
    fallbacks: list[FallbackUsed] = []
    forecasters: list[Forecaster] = []

    def fit_and_remember(snapshot: Snapshot) -> Forecaster:
        forecasters[:] = [fit(snapshot)]
        return forecasters[0]

    def predict(forecaster: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
        if baseline:
            return forecaster.predict(snapshot)
        entries = fallback.forecast(forecaster, snapshot, setup.task)
        _check_model_forecasts(entries)
        fallbacks.extend(
            FallbackUsed(entry.unique_id, cutoff, entry.method, entry.detail or str(entry.reason))
            for entry in entries
            if entry.method != ForecastMethod.model
        )
        table = forecast_table(entries, setup.task.quantiles)
        return setup.hierarchy.reconcile(table, snapshot, setup.task) if setup.hierarchy else table

    origins = (setup.snapshots, setup.history, setup.cutoffs)
    predictions = backtest(fit_and_remember, *origins, refit=setup.refit, predict=predict)
    seconds, forecaster = time.perf_counter() - started, forecasters[0]
    return EvaluationResult(
        predictions, seconds, model_bytes(forecaster), tuple(fallbacks), measures_intervals(forecaster)
    )


def evaluate_block(setup: EvaluationSetup, block: CandidateBlock, seconds: float | None) -> EvaluationResult:
    """Evaluate a candidate on its block of the series, within `seconds`."""
    deadline = deadline_in(seconds)

    def fit(snapshot: Snapshot) -> Forecaster:
        return fit_candidate(block.candidate, snapshot, setup.task, setup.families, deadline)

    return evaluate_on_origins(restrict(setup, block), fit, baseline=block.candidate.family == BASELINE)


def fit_on_shared_snapshot(
    shared: tuple[Snapshot, Task, Mapping[str, str]], candidate: Candidate, seconds: float | None
) -> Forecaster:
    """Fit a candidate on the snapshot that it shares with others, within `seconds`."""
    snapshot, task, families = shared
    return fit_candidate(candidate, snapshot, task, families, deadline_in(seconds))


def deadline_in(seconds: float | None) -> float | None:
    """Return the `time.monotonic()` of so many seconds from now; None for none."""
    return None if seconds is None else time.monotonic() + seconds


def merge_results(outcomes: Sequence[EvaluationResult | Exception]) -> EvaluationResult | Exception:
    """Merge the blocks of one candidate; the first error where one failed."""
    results: list[EvaluationResult] = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            return outcome
        results.append(outcome)
    return EvaluationResult(
        pa.concat_tables(result.predictions for result in results),
        sum(result.seconds for result in results),
        max(result.size_bytes for result in results),
        tuple(chain.from_iterable(result.fallbacks for result in results)),
        all(result.intervals_measured for result in results),
    )


def score_candidate(
    candidate: Candidate, outcome: EvaluationResult | Exception, setup: EvaluationSetup
) -> Score:
    """Return the metrics of a candidate, or the reason why it has none."""
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
        fallbacks=len({used.unique_id for used in outcome.fallbacks}),
    )


def failure_reason(error: Exception) -> str:
    """Return the reason of a failure in at most 500 characters."""
    if isinstance(error, QuantisError):
        return single_line(error.message, 500)
    if isinstance(error, TimeoutError):
        return single_line(f"timed out: {error}", 500)
    return describe(error)[0].rstrip(".")


def without_tft(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that one process fits."""
    return [candidate for candidate in candidates if candidate.family != Family.tft]


def restrict(setup: EvaluationSetup, block: CandidateBlock) -> EvaluationSetup:
    """Restrict the snapshots to the series of a block."""
    if block.parts == 1:
        return setup
    ids = sorted(setup.history[ID].unique().to_pylist())
    # [parts + 1]; block k holds the series from edges[k] to edges[k + 1]
    edges = np.linspace(0, len(ids), block.parts + 1).astype(int)
    assert isinstance(setup.snapshots, SelectableSnapshots)
    selected = ids[edges[block.part] : edges[block.part + 1]]
    return replace(setup, snapshots=setup.snapshots.for_series(selected))


def _check_model_forecasts(entries: Sequence[ForecastEntry]) -> None:
    """Raise Unavailable if the model failed on every series: its fallbacks are not its own result."""
    failed = [entry for entry in entries if entry.reason == Reason.model_failed]
    if failed and len(failed) == len(entries):
        raise Unavailable(f"no series could be forecast: {failed[0].detail}")

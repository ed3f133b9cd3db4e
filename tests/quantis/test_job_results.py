"""Results of jobs on the wire: typed by the kind of job, with the keys that older databases hold."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.datasets.compaction import CompactionResult
from models.evaluation.promotion_gate import GateDecision
from quantis.types.job_results import (
    BacktestResult,
    CompactResult,
    ForecastResult,
    GateResult,
    TrainResult,
    TuneResult,
)
from quantis.types.job_specs import JobKind
from quantis.types.jobs import JOB_KINDS, Job

AT = "2024-01-01T00:00:00Z"
MODEL = {
    "model": "demand", "version": 1, "family": "theta", "aliases": [], "created_at": AT, "experiment": None,
    "dataset": "shop", "dataset_version": 1, "content_hash": None, "h": 2, "freq": "D", "metrics": {}, "gate": {},
    "as_of": None, "lineage": None,
}  # fmt: skip
BOARD = {
    "experiment": "j", "model": "demand", "dataset": "shop", "dataset_version": 1, "cutoffs": [AT], "h": 2,
    "rows": [],
}  # fmt: skip
GATE = {
    "chosen": "theta", "passed": True, "mase": 0.5, "wql": 0.1, "naive_mase": 1.0, "naive_wql": 0.3, "reason": "ok",
    "beats_naive": True, "p_value": 0.01, "blocks": 12,
}  # fmt: skip
BACKTEST = {
    "id": "j", "dataset": "shop", "dataset_version": 1, "mode": "plain", "cutoffs": [AT], "h": 2, "refit": False,
    "rows": [], "overall": [], "dimensions": ["series"],
    "fallbacks": [
        {"model": "theta", "unique_id": "a", "cutoff": AT, "method": "seasonal_naive", "reason": "short"}
    ],
    "reconciliation": None,
}  # fmt: skip
BEST = {
    "hidden_size": 8, "attention_heads": 2, "dropout": 0.05, "encoder_length": 48, "batch_size": 32,
    "learning_rate": 0.01, "steps": 4, "seed": 7, "workers": 2, "precision": "float32", "share_encoder": True,
    "short_start": True,
}  # fmt: skip
RESULTS: dict[str, dict[str, Any]] = {
    "featurize": {"rows": 9, "columns": ["y"], "path": "features/default/shop/v1-j.parquet", "spec": {"lags": [1]}},
    "train": {"leaderboard": BOARD, "model": MODEL, "gate": GATE},
    "backtest": {"backtest": BACKTEST},
    "tune": {
        "best": BEST,
        "trials": [{"params": {"hidden_size": 8}, "wql": 0.1, "loss": 0.2, "state": "finished"}],
    },
    "forecast": {
        "model": MODEL, "h": 2, "origins": [AT], "methods": {"model": 3}, "reconciliation": None,
        "scores": {"demand": {"wape": 0.1, "mase": None}},
    },
    "compact": {"versions": 1, "files_before": 9, "files_after": 1, "purged": 0, "removed": 8},
    "ingest": {
        "files": 2, "created": True, "version": 1, "rows": 9, "series": 3, "freq": "D", "warnings": 0,
    },
}  # fmt: skip
SPECS = {
    "train": {"model": "m"},
    "tune": {"model": "m"},
    "forecast": {"model": "m"},
    "ingest": {"folder": "f"},
}


def job(kind: str, result: Any) -> Job:
    spec = {"kind": kind, "dataset": "shop"} | SPECS.get(kind, {})
    return Job.model_validate(
        {"id": "j", "kind": kind, "state": "SUCCEEDED", "spec": spec, "created_at": AT, "created_by": "ada",
         "result": result}
    )  # fmt: skip


def test_when_kinds_are_listed_then_the_table_has_each_of_them_once() -> None:
    assert set(JOB_KINDS) == set(typing.get_args(JobKind)) == set(RESULTS)
    assert all(entry.spec.model_fields["kind"].default == kind for kind, entry in JOB_KINDS.items())


@pytest.mark.parametrize("kind", RESULTS)
def test_when_a_result_is_stored_then_it_has_the_type_of_its_kind_and_the_same_json(kind: str) -> None:
    found = job(kind, RESULTS[kind])
    assert type(found.result) is JOB_KINDS[kind].result
    wire = json.loads(found.model_dump_json())
    assert wire["result"] == RESULTS[kind]
    assert list(wire["result"]) == list(RESULTS[kind])
    assert Job.model_validate_json(found.model_dump_json()) == found


def test_when_jobs_take_results_from_others_then_their_fields_are_the_same() -> None:
    assert set(GateResult.model_fields) == {field.name for field in dataclasses.fields(GateDecision)}
    assert set(CompactResult.model_fields) == {field.name for field in dataclasses.fields(CompactionResult)}


def test_when_earlier_releases_stored_results_then_they_are_read_on() -> None:
    stored = {key: value for key, value in RESULTS["forecast"].items() if key != "reconciliation"}
    forecast = job("forecast", {"rungs" if key == "methods" else key: value for key, value in stored.items()})
    assert isinstance(forecast.result, ForecastResult)
    assert forecast.result.methods == {"model": 3}
    fallback = {"model": "theta", "unique_id": "a", "cutoff": AT, "rung": "typical", "reason": "short"}
    backtest = job("backtest", {"backtest": BACKTEST | {"fallbacks": [fallback]}})
    assert isinstance(backtest.result, BacktestResult)
    assert backtest.result.backtest.fallbacks[0].method == "typical"
    gate = {key: GATE[key] for key in list(GATE)[:7]}
    train = job("train", RESULTS["train"] | {"gate": gate})
    assert isinstance(train.result, TrainResult)
    assert train.result.gate.beats_naive is None


def test_when_a_loss_was_not_finite_then_the_result_is_read_with_null() -> None:
    trial: dict[str, Any] = {"params": {}, "wql": None, "loss": float("nan"), "state": "failed"}
    tune = job("tune", {"best": BEST, "trials": [trial, trial | {"loss": float("inf")}]})
    assert isinstance(tune.result, TuneResult)
    assert [one.loss for one in tune.result.trials] == [None, None]


def test_when_a_result_is_of_another_kind_then_it_is_refused() -> None:
    with pytest.raises(ValidationError, match="columns"):
        job("featurize", RESULTS["compact"])

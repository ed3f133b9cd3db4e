"""Versions of models as the registry's tags: what a version is, beside its number and its aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from models.evaluation.promotion_gate import GateDecision
from models.registry.bundle import read_lineage, read_manifest
from quantis.panel import Task
from quantis.types.registry import Lineage, ModelVersion

GATE = "gate"
_COLUMNS_IN_TAG = 40


def tags_of_bundle(
    team: str, bundle: Path, metrics: Mapping[str, float], gate: GateDecision, experiment: str | None
) -> dict[str, str]:
    """Return the tags of a version that a bundle becomes."""
    task = Task.model_validate_json((bundle / "task.json").read_bytes())
    tags = {
        "team": team,
        "family": read_manifest(bundle)["family"],
        "dataset": task.dataset,
        "dataset_version": str(task.version),
        "content_hash": task.content_hash,
        "h": str(task.h),
        "freq": task.freq,
        "experiment": experiment or "",
        "as_of": task.as_of.isoformat(),
        "metrics": json.dumps(metrics),
        GATE: json.dumps(gate.to_json()),
    }
    if (importance := read_manifest(bundle).get("importance")) is not None:
        tags["importance"] = json.dumps(_most_important(importance))
    if lineage := read_lineage(bundle):
        tags["lineage"] = lineage.model_dump_json()
    return tags


def version_from_tags(
    model: str, version: int, tags: Mapping[str, str], *, aliases: Sequence[str], created_at: datetime
) -> ModelVersion:
    """Read a version; the inverse of `tags_of_bundle`."""
    return ModelVersion(
        model=model,
        version=version,
        family=tags["family"],
        aliases=list(aliases),
        created_at=created_at,
        experiment=tags["experiment"] or None,
        dataset=tags["dataset"],
        dataset_version=int(tags["dataset_version"]),
        content_hash=tags["content_hash"],
        h=int(tags["h"]),
        freq=tags["freq"],
        metrics=json.loads(tags["metrics"]),
        gate=json.loads(tags[GATE]),
        as_of=datetime.fromisoformat(tags["as_of"]) if "as_of" in tags else None,
        importance=json.loads(tags["importance"]) if "importance" in tags else None,
        lineage=Lineage.model_validate_json(tags["lineage"]) if "lineage" in tags else None,
    )


def _most_important(importance: Mapping[str, float]) -> dict[str, float]:
    """Return what fits into a tag."""
    ordered = sorted(importance.items(), key=lambda item: -item[1])
    return {column: round(value, 6) for column, value in ordered[:_COLUMNS_IN_TAG]}

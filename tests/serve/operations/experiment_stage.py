"""A model with a champion and a challenger on a real registry, and scores of both that a test writes day by day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.model_monitoring.tables import MonitoringTables, batch_counter, version_counter
from cluster.model_ops.experiment_loop import ExperimentLoop
from cluster.repositories.principals import Author
from monitoring.accuracy.scoring import SCORES
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import NewOnlineExperiment, OnlineExperiment
from serve.services import Services
from tests.serve.api_under_test import PASSED, World

TEAM = "default"
_NUMBERS = count(1)


@dataclass
class Stage:
    """A model with a champion, 1, and a challenger, 2, whose scores a test writes day by day."""

    world: World
    model: str
    loop: ExperimentLoop
    day: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def services(self) -> Services:
        return self.world.services

    def start(self, **values: Any) -> OnlineExperiment:
        new = NewOnlineExperiment.model_validate(
            {"name": self.model, "model": self.model, "challenger": 2, "promote": "when_better"} | values
        )
        author = Author("user", self.world.user_id("ml_engineer"), "ml_engineer")
        return self.services.online_experiments.create(TEAM, author, new, 1)

    def score(
        self, excess: float, days: int = 25, kind: VintageKind = VintageKind.shadow, mark: str | None = None
    ) -> None:
        """Write scores of `days` more: four series a day, the challenger's errors larger by `excess`."""
        rows = []
        now = datetime.now(UTC)
        for day in range(self.day, self.day + days):
            for series in ("a", "b", "c", "d"):
                ds = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day)
                for version, factor, of_kind in ((2, 1 + excess, kind), (1, 1.0, VintageKind.online)):
                    error = factor * abs(1 + 0.2 * self.rng.normal())
                    rows.append(
                        {
                            "kind": of_kind.value,
                            "scenario": False,
                            "learned": False,
                            "model": self.model,
                            "version": version,
                            "method": "model",
                            "dataset": "flights",
                            "unique_id": series,
                            "cutoff": ds - timedelta(days=1),
                            "ds": ds,
                            "step": 1,
                            "as_of": ds - timedelta(days=1),
                            "issued_at": now,
                            "mean": 10 - error,
                            "levels": [0.1, 0.5, 0.9],
                            "values": [9 - error, 10 - error, 11 - error],
                            "forecast_id": f"{version}-{day}",
                            "y": 10.0,
                            "known_at": ds,
                            "recorded_at": now,
                            "dataset_version": 1,
                            "correction": False,
                            "hindsight": False,
                            "naive": 9.0,
                            "scale": 2.0,
                            "scored_at": now,
                        }
                        | ({mark: True} if mark and version == 2 else {})
                    )
        self.day += days
        tables = MonitoringTables.of_team(self.services.data_layout, TEAM)
        tables.scores.append(
            pa.Table.from_pylist(rows, SCORES),
            {version_counter("flights"): 1, batch_counter("flights"): self.day},
        )

    def tick(self) -> OnlineExperiment:
        self.loop.tick()
        return self.experiment

    @property
    def experiment(self) -> OnlineExperiment:
        return self.services.online_experiments.get(TEAM, self.model)

    @property
    def champion(self) -> int:
        return self.services.registry(TEAM).resolve(self.model).version

    @property
    def traffic(self) -> dict[int, int]:
        shares = self.services.registry(TEAM).traffic(self.model).shares
        return {share.version: share.percent for share in shares}

    def audit(self) -> list[str]:
        events = self.services.audit.page([TEAM], action="EXPERIMENT", limit=100).items
        return [event.action.removeprefix("EXPERIMENT ") for event in reversed(events)]

    @classmethod
    def set_up(cls, world: World, bundle: Path) -> Stage:
        """Publish three versions of a new model, of which the first is the champion."""
        registry, model = world.services.registry(TEAM), f"trial-{next(_NUMBERS)}"
        for _ in range(3):
            registry.publish(model, bundle, metrics={"mase": 0.5}, gate=PASSED)
        registry.promote(model, 1)
        return cls(world, model, ExperimentLoop(world.services, pause_factor=0.0))

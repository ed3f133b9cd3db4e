"""Counts of what the versions of an online experiment did, in each step of its ramp: what its guard rails compare."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from cluster.database.engine import Database
from cluster.database.experiment_tables import ExperimentArmRow
from quantis.types.operations.live import VintageKind
from quantis.types.operations.online_experiments import ArmFigures, OnlineExperiment

FADE_AT = 1000
"""Requests at which the counts of a version are halved, so that what happens now is not lost in what was."""
_KEY = ("team_id", "experiment_id", "step", "version", "kind")


@dataclass(frozen=True)
class ArmCounts:
    """Counts of one version's answers; `seconds` of all requests together."""

    requests: int = 1
    failed: int = 0
    series: int = 0
    fallbacks: int = 0
    seconds: float = 0.0

    def plus(self, counts: ArmCounts) -> ArmCounts:
        return ArmCounts(
            self.requests + counts.requests,
            self.failed + counts.failed,
            self.series + counts.series,
            self.fallbacks + counts.fallbacks,
            self.seconds + counts.seconds,
        )

    def figures(self) -> ArmFigures:
        successes = self.requests - self.failed
        return ArmFigures(
            requests=self.requests,
            error_share=self.failed / self.requests if self.requests else None,
            fallback_share=self.fallbacks / self.series if self.series else None,
            seconds=self.seconds / successes if successes > 0 else None,
        )


class ExperimentArms:
    def __init__(self, database: Database) -> None:
        self._database = database

    def count(
        self, team: str, experiment: OnlineExperiment, version: int, kind: VintageKind, counts: ArmCounts
    ) -> None:
        """Add to the counts of a version in the current step of an experiment."""
        key = (team, experiment.id, experiment.step, version, kind.value)
        try:
            self._add(key, counts)
        except IntegrityError:  # another process began to count it meanwhile
            self._add(key, counts)

    def of_step(self, team: str, experiment: OnlineExperiment) -> dict[tuple[int, VintageKind], ArmCounts]:
        """Return the counts of the current step by version and occasion."""
        row = ExperimentArmRow
        of_step = (row.team_id == team, row.experiment_id == experiment.id, row.step == experiment.step)
        with self._database.read() as session:
            return {
                (arm.version, VintageKind(arm.kind)): ArmCounts(
                    arm.requests, arm.failed, arm.series, arm.fallbacks, arm.seconds
                )
                for arm in session.scalars(select(row).where(*of_step))
            }

    def _add(self, key: tuple[str, str, int, int, str], counts: ArmCounts) -> None:
        with self._database.append() as session:
            row = session.get(ExperimentArmRow, key, with_for_update=True)
            if row is None:
                row = ExperimentArmRow(
                    **dict(zip(_KEY, key, strict=True)),
                    requests=0,
                    failed=0,
                    series=0,
                    fallbacks=0,
                    seconds=0.0,
                )
                session.add(row)
            if row.requests >= FADE_AT:
                row.requests, row.failed = row.requests // 2, row.failed // 2
                row.series, row.fallbacks, row.seconds = row.series // 2, row.fallbacks // 2, row.seconds / 2
            row.requests, row.failed = row.requests + counts.requests, row.failed + counts.failed
            row.series, row.fallbacks = row.series + counts.series, row.fallbacks + counts.fallbacks
            row.seconds += counts.seconds

"""A platform without a server: a database, accounts of one team, and a clock that is set by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.automation.planning import RunTimes
from cluster.automation.scheduler import Scheduler
from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.repositories.accounts import DEFAULT_TEAM, UserAccounts
from cluster.repositories.principals import Author
from cluster.settings import Settings
from quantis.types.accounts import Role, User
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.jobs import Job, JobState
from quantis.types.operations.schedules import JobTarget, NewSchedule, Schedule, ScheduleRun

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SPEC = FeaturizeSpec(dataset="flights")


@dataclass
class Automated:
    """A backend whose scheduler lives at `now`."""

    backend: Backend
    user: User
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.backend, lambda: self.now)

    @property
    def author(self) -> Author:
        return Author("user", self.user.id, self.user.user_name)

    def schedule(self, cron: str = "* * * * *", **options: object) -> Schedule:
        new = NewSchedule.model_validate(
            {"name": "nightly", "cron": cron, "starts": JobTarget(spec=SPEC), **options}
        )
        first = RunTimes.from_schedule(DEFAULT_TEAM, new).next_after(self.now)
        return self.backend.schedules.create(DEFAULT_TEAM, self.author, new, first)

    def tick(self, later: timedelta = timedelta(0)) -> None:
        self.now += later
        self.scheduler.tick()

    def runs(self) -> list[ScheduleRun]:
        """The runs of the schedule, oldest first."""
        return self.backend.schedules.runs(DEFAULT_TEAM, "nightly", limit=500).items[::-1]

    def states(self) -> list[str]:
        return [run.state.value for run in self.runs()]

    def jobs(self) -> list[Job]:
        return self.backend.jobs.page(DEFAULT_TEAM, limit=500).items[::-1]

    def end(self, job_id: str | None, state: JobState = JobState.succeeded) -> None:
        assert job_id
        self.backend.jobs.finish(DEFAULT_TEAM, job_id, state, "ended")


@pytest.fixture
def automated(database: Database, tmp_path: Path) -> Automated:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_layout.prepare()
    user = UserAccounts(database).create(DEFAULT_TEAM, "ada", "correct horse battery", Role.ml_engineer)
    return Automated(Backend(settings, database), user)

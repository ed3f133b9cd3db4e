from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from cluster.backend import Backend
from cluster.database.tables import DatasetVersionRow, LeaseRow, TeamRow
from cluster.repositories.datasets import NewVersion
from cluster.settings import Settings
from quantis.types.datasets import DatasetSpec, VersionAction
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef
from quantis.types.job_specs import CompactSpec, ForecastSpec, TrainSpec
from quantis.types.jobs import JobError, JobState
from quantis.types.operations.alerts import Above, AlertState, Fact, FactName, NewAlertRule, NoForecastBy

TEAM = "default"
OPEN, RESOLVED = AlertState.open, AlertState.resolved


@pytest.fixture
def backend(database, tmp_path) -> Backend:
    with database.write() as session:
        session.add(TeamRow(id=TEAM, created_at=datetime.now(UTC)))
    return Backend(Settings(data_dir=tmp_path, database_url=database.url), database)


def free_lease(backend: Backend) -> None:
    """Let the process that measured before be gone."""
    with backend.database.write() as session:
        session.execute(update(LeaseRow).values(expires_at=datetime.now(UTC)))


def finish(backend: Backend, spec, *, failed: bool) -> None:
    job = backend.jobs.request(TEAM, "ada", spec)
    if failed:
        backend.jobs.fail(TEAM, job.id, JobError(cause="No memory.", remedy="Take less."))
    else:
        backend.jobs.finish(TEAM, job.id, JobState.succeeded, "done")


def states(backend: Backend) -> list[tuple[str | None, str | None, str]]:
    return [(alert.model, alert.dataset, alert.state) for alert in backend.alerts.page(TEAM).items]


def add_dataset(backend: Backend, name: str, last_ds: datetime, created_after: timedelta, **spec) -> None:
    backend.catalogue.datasets.create(TEAM, "ada", DatasetSpec(name=name, freq="D", **spec))
    version = NewVersion(
        content_hash="x", pins={}, content={}, columns={}, action=VersionAction.append, freq="D", rows=1, series=1,
        first_ds=last_ds, last_ds=last_ds,
    )  # fmt: skip
    backend.catalogue.datasets.add_version(TEAM, name, "ada", version, None)
    with backend.database.write() as session:
        session.execute(
            update(DatasetVersionRow)
            .where(DatasetVersionRow.created_at >= datetime.now(UTC) - timedelta(minutes=5))
            .values(created_at=last_ds + created_after)
        )


def test_when_a_job_fails_then_an_alert_opens_and_the_next_success_of_its_kind_ends_it(backend):
    loop = backend.measurement_loop()
    finish(backend, TrainSpec(dataset="flights", model="demand"), failed=True)
    finish(backend, CompactSpec(dataset="flights"), failed=False)
    loop.tick()
    (alert,) = backend.alerts.page(TEAM).items
    assert (alert.model, alert.key, alert.state) == ("demand", "train", OPEN)
    assert "No memory." in alert.summary
    finish(backend, ForecastSpec(dataset="flights", model="demand"), failed=False)
    loop.tick()
    assert states(backend) == [("demand", None, OPEN)]
    finish(backend, TrainSpec(dataset="flights", model="demand"), failed=False)
    for _ in range(3):
        loop.tick()
    assert states(backend) == [("demand", None, RESOLVED)]
    backend.measurement_loop().tick()
    assert len(backend.alerts.get(TEAM, alert.id).history) == 2


def test_when_another_process_begins_to_measure_then_jobs_of_before_change_nothing(backend):
    finish(backend, TrainSpec(dataset="flights", model="demand"), failed=True)
    backend.measurement_loop().tick()
    (alert,) = backend.alerts.page(TEAM).items
    backend.alerts.resolve(TEAM, alert.id, "ada")
    free_lease(backend)
    backend.measurement_loop().tick()
    assert states(backend) == [("demand", None, RESOLVED)]
    finish(backend, TrainSpec(dataset="flights", model="demand"), failed=True)
    free_lease(backend)
    backend.measurement_loop().tick()
    assert states(backend) == [("demand", None, OPEN), ("demand", None, RESOLVED)]


def test_when_live_data_is_late_then_an_alert_opens_and_of_an_old_file_none(backend):
    last = datetime(2026, 3, 1, tzinfo=UTC)
    add_dataset(backend, "live", last, timedelta(hours=30))
    add_dataset(backend, "lagging", last, timedelta(days=8), publication_lag=timedelta(days=7))
    add_dataset(backend, "history", last - timedelta(days=3000), timedelta(days=3000))
    on_time = last + timedelta(days=3)
    backend.measurement_loop().tick(on_time)
    assert states(backend) == []
    free_lease(backend)
    backend.measurement_loop().tick(last + timedelta(days=4, hours=1))
    assert states(backend) == [(None, "live", OPEN)]
    (alert,) = backend.alerts.page(TEAM).items
    assert alert.detail["last_ds"] == last.isoformat()
    assert "steps of the series" in alert.summary


def test_when_a_rule_is_on_seconds_then_old_files_count_too(backend):
    last = datetime(2026, 3, 1, tzinfo=UTC)
    add_dataset(backend, "history", last - timedelta(days=3000), timedelta(days=3000))
    condition = Above(fact=FactName.freshness_seconds, threshold=3600)
    backend.alert_rules.create(TEAM, "ada", NewAlertRule(name="late", condition=condition, dataset="history"))
    backend.measurement_loop().tick(last)
    assert states(backend) == [(None, "history", OPEN)]


def issue(backend: Backend, at: datetime) -> None:
    response = ForecastResponse(
        forecast_id=f"f-{at:%d%H%M}", model=ModelRef(name="demand", version=1, alias=None, family="f"), dataset=None,
        freq="h", as_of=at, issued_at=at, forecasts=[],
    )  # fmt: skip
    request = ForecastRequest.model_validate({"series": [{"unique_id": "a"}]})
    backend.vintages.append(TEAM, request, response)


def test_when_no_forecast_was_issued_by_its_time_then_an_alert_opens_until_there_is_one(backend):
    condition = NoForecastBy(by="08:00", time_zone="Europe/Berlin")
    backend.alert_rules.create(TEAM, "ada", NewAlertRule(name="daily", condition=condition, model="demand"))
    day = datetime(2026, 3, 2, tzinfo=UTC)
    issue(backend, day - timedelta(hours=3))
    for hours, expected in ((6.5, []), (7.5, [("demand", None, OPEN)])):
        free_lease(backend)
        backend.measurement_loop().tick(day + timedelta(hours=hours))
        assert states(backend) == expected
    issue(backend, day + timedelta(hours=8))
    free_lease(backend)
    backend.measurement_loop().tick(day + timedelta(hours=9))
    assert states(backend) == [("demand", None, RESOLVED)]


def test_when_two_processes_measure_then_only_the_one_with_the_lease_does(backend):
    first, second = backend.measurement_loop(), backend.measurement_loop()
    first.tick()
    finish(backend, TrainSpec(dataset="flights", model="demand"), failed=True)
    second.tick()
    assert states(backend) == []
    first.tick()
    assert states(backend) == [("demand", None, OPEN)]


def test_when_facts_come_from_elsewhere_then_the_backend_takes_them(backend):
    fact = Fact(name=FactName.coverage_80, value=0.5, at=datetime.now(UTC), model="demand", points=500)
    assert [alert.rule for alert in backend.facts.record_facts(TEAM, [fact])] == [
        "default-coverage-outside-band"
    ]

"""Forecasts go with the series, or the dataset, that was purged: ledger, histories, vintages, scores, files, alerts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from cluster.alerting.anomaly_facts import AnomalyFacts
from cluster.database.tables import LeaseRow
from cluster.datasets.compaction import compact
from cluster.model_monitoring.score_listeners import ScoresListener
from cluster.model_monitoring.scorer import Scorer
from cluster.model_monitoring.tables import MonitoringTables
from cluster.repositories.vintages import Vintages
from quantis.types.job_specs import ForecastSpec
from tests.serve.api_under_test import START, World
from tests.serve.operations.test_scorer import arrive, entry, issue

PURGED, OTHER = "JFK/B6", "EWR/UA"
TEAM = "default"


@pytest.fixture
def world(world_alone: World) -> World:
    return world_alone


def score(world: World) -> None:
    scorer = Scorer(
        world.services, [ScoresListener("anomaly-facts", AnomalyFacts(world.services).record_anomalies)]
    )
    scorer.tick()
    scorer.close()


def purge_series(world: World) -> None:
    world.services.catalogue.delete_series(TEAM, "ada", "flights", PURGED)
    compact(
        world.services.catalogue, world.settings.data_layout, TEAM, "flights",
        retention=timedelta(0), purge_after=timedelta(0),
    )  # fmt: skip


def holding(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_when_a_series_is_purged_then_nothing_that_was_forecast_of_it_is_left_and_the_rest_is(
    world: World,
) -> None:
    alone = issue(world)
    both = issue(world, series=[{"unique_id": PURGED}, {"unique_id": OTHER}])
    ds = entry(alone)["ds"]
    arrive(world, ds[:3], [5.0, 90_000.0, 7.0])
    score(world)
    later = issue(world, series=[{"unique_id": PURGED}, {"unique_id": OTHER}])  # not moved yet
    tables = MonitoringTables.of_team(world.settings.data_layout, TEAM)
    assert tables.scores.count() > 0
    (alert,) = world.services.alerts.page(TEAM, rule="default-anomaly").items
    assert PURGED in alert.summary
    job = world.services.jobs.request(TEAM, "ada", ForecastSpec(dataset="flights", model="demand"))
    file = world.settings.data_layout.batch_forecasts(TEAM, job.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"unique_id": [PURGED, OTHER], "mean": [1.0, 2.0]}), file)
    purge_series(world)
    assert world.services.purges.pending(TEAM)
    score(world)
    assert world.services.purges.pending(TEAM) == []
    assert set(tables.vintages.read()["unique_id"].to_pylist()) == {OTHER}
    assert tables.scores.count() == 0
    client = world.client("admin")
    assert client.get(f"/v1/forecasts/{alone['forecast_id']}").status_code == 404
    for forecast in (both, later):
        stored = client.get(f"/v1/forecasts/{forecast['forecast_id']}").json()
        assert [each["unique_id"] for each in stored["forecasts"]] == [OTHER]
        request = world.services.vintages.stored(TEAM, forecast["forecast_id"]).request
        assert [series.unique_id for series in request.series] == [OTHER]
    assert client.get("/v1/datasets/flights/anomalies").json()["items"] == []
    kept = world.services.alerts.get(TEAM, alert.id)
    assert (PURGED in kept.model_dump_json(), kept.value) == (False, alert.value)
    assert pq.read_table(file)["unique_id"].to_pylist() == [OTHER]
    assert holding(tables.folder, PURGED) == []
    score(world)
    assert tables.vintages.count() == 48, "both forecasts of the other series"


def test_when_a_purge_is_killed_after_the_ledger_then_it_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = issue(world)
    arrive(world, entry(forecast)["ds"][:1], [5.0])
    score(world)
    purge_series(world)
    tables = MonitoringTables.of_team(world.settings.data_layout, TEAM)
    with monkeypatch.context() as patch:
        rewrite = Vintages.rewrite

        def die(*arguments: object) -> None:
            rewrite(*arguments)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        patch.setattr(Vintages, "rewrite", die)
        with pytest.raises(KeyboardInterrupt):
            score(world)
    with world.services.database.write() as session:  # the lease of the one that was killed
        session.execute(update(LeaseRow).values(expires_at=START))
    assert tables.vintages.count() == 24
    score(world)
    assert (tables.vintages.count(), tables.scores.count()) == (0, 0)


def test_when_a_backup_holds_the_files_then_the_purge_waits_for_it(world: World) -> None:
    forecast = issue(world)
    arrive(world, entry(forecast)["ds"][:1], [5.0])
    score(world)
    purge_series(world)
    tables = MonitoringTables.of_team(world.settings.data_layout, TEAM)
    with world.settings.data_layout.keeping_files():
        score(world)
        assert tables.vintages.count() == 24
    score(world)
    assert tables.vintages.count() == 0


def test_when_a_dataset_is_deleted_then_all_that_was_forecast_on_it_goes(world: World) -> None:
    forecast = issue(world)
    arrive(world, entry(forecast)["ds"][:2], [5.0, 90_000.0])
    score(world)
    tables = MonitoringTables.of_team(world.settings.data_layout, TEAM)
    world.services.registry(TEAM).remove_alias("demand", "champion")
    world.services.deletion.delete_dataset(TEAM, "ada", "flights")
    score(world)
    assert (tables.vintages.count(), tables.scores.count()) == (0, 0)
    assert world.client("admin").get(f"/v1/forecasts/{forecast['forecast_id']}").status_code == 404

"""Deletion: what is needed stays, names stay taken, and what a killed process left goes with the next sweep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.datasets.integrity import verify
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.deletion import Deletion
from cluster.repositories.approvals import Approvals
from models.registry.mlflow_registry import Registry
from quantis.errors import Conflict, NotFound
from quantis.types.approvals import AliasChange, Policy
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import BacktestSpec, FeaturizeSpec
from quantis.types.jobs import JobState
from quantis.types.registry import Share, Traffic
from tests.serve import api_under_test as worlds
from tests.serve.api_under_test import PASSED

TEAM = "default"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's first migration takes seconds: one database for all tests."""
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"


@pytest.fixture
def backend(tmp_path: Path, tracking: str) -> Iterator[Backend]:
    settings = worlds.settings_for(tmp_path)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    registry = Registry(tracking, str(settings.data_layout.artifacts), TEAM)
    for model in registry.models():
        registry.delete_model(model.name)
    backend = Backend(settings, database, registries={TEAM: registry})
    spec = DatasetSpec(name="flights", roles=worlds.ROLES, freq="h", publication_lag=timedelta(hours=1))
    backend.catalogue.datasets.create(TEAM, "ann", spec)
    backend.catalogue.ingest(TEAM, "ann", "flights", worlds.toy(), "toy.csv")
    worlds.publish_demand(backend.catalogue, registry, tmp_path)  # versions 1, the champion, and 2
    yield backend
    database.close()


@pytest.fixture
def deletion(backend: Backend) -> Deletion:
    return backend.deletion


def sweeper(backend: Backend) -> OrphanSweeper:
    return OrphanSweeper(
        backend.database, backend.data_layout, remove_left_over=backend.deletion.remove_left_over
    )


def test_when_a_model_that_serves_was_trained_from_a_dataset_then_it_stays_and_the_model_is_named(
    backend: Backend, deletion: Deletion
) -> None:
    with pytest.raises(Conflict, match="demand:1 serves as champion"):
        deletion.delete_dataset(TEAM, "ann", "flights")
    deletion.remove_alias(TEAM, "demand", "champion")
    job = backend.jobs.request(TEAM, "ann", FeaturizeSpec(dataset="flights"))
    with pytest.raises(Conflict, match=f"featurize job {job.id} is PENDING"):
        deletion.delete_dataset(TEAM, "ann", "flights")
    backend.jobs.finish(TEAM, job.id, JobState.failed, "no")
    Approvals(backend.database).request(TEAM, "demand", "ann", AliasChange(alias="beta", version=1))
    with pytest.raises(Conflict, match=r"approval .* is pending"):
        deletion.delete_dataset(TEAM, "ann", "flights")
    assert backend.catalogue.open(TEAM, "flights").version.number == 1


def test_when_a_dataset_is_deleted_then_nothing_of_it_is_read_or_left_and_its_name_stays_taken(
    backend: Backend, deletion: Deletion
) -> None:
    deletion.remove_alias(TEAM, "demand", "champion")
    folder = backend.data_layout.dataset(TEAM, "flights")
    assert folder.is_dir()
    for _ in range(2):
        deletion.delete_dataset(TEAM, "ann", "flights")
    assert not folder.exists()
    assert backend.catalogue.datasets.all(TEAM) == []
    assert backend.catalogue.datasets.find(TEAM, "flights") is None
    for call in (
        lambda: backend.catalogue.open(TEAM, "flights"),
        lambda: backend.catalogue.ingest(TEAM, "ann", "flights", worlds.toy(), "toy.csv"),
        lambda: deletion.delete_dataset(TEAM, "ann", "never"),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(Conflict, match=r"'flights' was deleted by 'ann' at .*; its name stays taken"):
        backend.catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="flights"))
    backend.catalogue.datasets.create("rivals", "eve", DatasetSpec(name="flights"))
    assert deletion.deleted_origins(TEAM, backend.registry(TEAM).get("demand", 2)) == ["flights"]
    assert verify(backend.database, backend.data_layout).broken == []


def test_when_a_version_serves_then_it_stays_and_else_it_goes_with_its_bundle(
    backend: Backend, deletion: Deletion
) -> None:
    registry = backend.registry(TEAM)
    with pytest.raises(Conflict, match="demand:1 serves as champion"):
        deletion.delete_version(TEAM, "ann", "demand", 1)
    registry.promote("demand", 2, "beta")
    with pytest.raises(Conflict, match="demand:2 serves as beta"):
        deletion.delete_version(TEAM, "ann", "demand", 2)
    deletion.remove_alias(TEAM, "demand", "beta")
    job = backend.jobs.request(TEAM, "ann", BacktestSpec(dataset="flights", model="demand:2"))
    with pytest.raises(Conflict, match="backtest job"):
        deletion.delete_version(TEAM, "ann", "demand", 2)
    backend.jobs.finish(TEAM, job.id, JobState.stopped, "")
    bundle = registry.download(registry.get("demand", 2))
    for _ in range(2):
        deletion.delete_version(TEAM, "ann", "demand", 2)
    assert not bundle.exists()
    assert [version.version for version in registry.versions("demand")] == [1]
    for reference in ("demand:2", "demand@candidate"):
        with pytest.raises(NotFound):
            registry.resolve(reference)
    third = registry.publish("demand", backend.data_layout.root / "bundle", metrics={}, gate=PASSED)
    assert third.version == 3  # its number is not given again
    registry.set_traffic("demand", Traffic(shares=(Share(version=3, percent=5),)))
    with pytest.raises(Conflict, match="demand:3 has 5 % of the requests"):
        deletion.delete_version(TEAM, "ann", "demand", 3)
    with pytest.raises(Conflict, match="divided between versions"):
        deletion.remove_alias(TEAM, "demand", "champion")


def test_when_a_model_is_deleted_then_its_name_stays_taken(backend: Backend, deletion: Deletion) -> None:
    registry = backend.registry(TEAM)
    with pytest.raises(Conflict, match="serves as champion"):
        deletion.delete_model(TEAM, "ann", "demand")
    backend.approvals.set_policy(TEAM, "demand", Policy.two_person)
    with pytest.raises(Conflict, match="two_person"):
        deletion.remove_alias(TEAM, "demand", "champion")
    backend.approvals.set_policy(TEAM, "demand", Policy.gate)
    deletion.remove_alias(TEAM, "demand", "champion")
    bundles = [registry.download(version) for version in registry.versions("demand")]
    for _ in range(2):
        deletion.delete_model(TEAM, "ann", "demand")
    assert not any(bundle.exists() for bundle in bundles)
    assert registry.models() == []
    with pytest.raises(NotFound):
        registry.versions("demand")
    with pytest.raises(Conflict, match="model 'demand' was deleted"):
        deletion.require_new_name(TEAM, "model", "demand")


def test_when_a_process_dies_after_the_tombstone_then_the_sweeper_removes_the_rest(
    backend: Backend, deletion: Deletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion.remove_alias(TEAM, "demand", "champion")
    registry = backend.registry(TEAM)
    bundle, folder = (
        registry.download(registry.get("demand", 2)),
        backend.data_layout.dataset(TEAM, "flights"),
    )
    with monkeypatch.context() as killed:
        killed.setattr("cluster.deletion.Deletion._remove", _die)
        for call in (
            lambda: deletion.delete_version(TEAM, "ann", "demand", 2),
            lambda: deletion.delete_model(TEAM, "ann", "demand"),
            lambda: deletion.delete_dataset(TEAM, "ann", "flights"),
        ):
            with pytest.raises(KeyboardInterrupt):
                call()
    assert folder.is_dir()
    assert bundle.is_dir()
    assert backend.catalogue.datasets.all(TEAM) == []
    with pytest.raises(NotFound):
        registry.get("demand", 2)
    assert registry.models() == []
    sweeper(backend).sweep()
    assert not folder.exists()
    assert not bundle.exists()
    folder.mkdir()  # by a writer who was at work
    assert [orphan.kind for orphan in sweeper(backend).sweep()] == ["deleted"]
    assert sweeper(backend).sweep() == []


def test_when_a_backup_holds_the_files_then_they_go_later_and_nobody_reads_them(
    backend: Backend, deletion: Deletion
) -> None:
    with backend.data_layout.keeping_files():
        deletion.delete_version(TEAM, "ann", "demand", 2)
        assert [version.version for version in backend.registry(TEAM).versions("demand")] == [1]
        assert sweeper(backend).sweep() == []
    sweeper(backend).sweep()
    assert backend.tombstones.all()[0].removed_at is not None


def test_when_a_job_has_ended_then_it_can_be_deleted_with_its_files_and_its_use_still_counts(
    backend: Backend, deletion: Deletion
) -> None:
    job = backend.jobs.request(TEAM, "ann", FeaturizeSpec(dataset="flights"))
    with pytest.raises(Conflict, match="is PENDING; stop it"):
        deletion.delete_job(TEAM, "ann", job.id)
    backend.jobs.charge(TEAM, job.id, 40)
    backend.jobs.finish(TEAM, job.id, JobState.succeeded, "done", None)
    backtest = backend.data_layout.backtest(TEAM, job.id)
    backtest.mkdir(parents=True)
    (backtest / "series.parquet").touch()
    for _ in range(2):
        deletion.delete_job(TEAM, "ann", job.id)
    assert not backtest.exists()
    assert backend.jobs.page(TEAM).items == []
    for call in (backend.jobs.get, backend.jobs.events, backend.jobs.submission):
        with pytest.raises(NotFound, match="was deleted by 'ann'"):
            call(TEAM, job.id)
    with pytest.raises(NotFound):
        deletion.delete_job("rivals", "eve", job.id)


def _die(*args: object) -> None:
    raise KeyboardInterrupt

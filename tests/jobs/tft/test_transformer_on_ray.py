"""Training jobs of the transformer on a Ray of their own: through a kill, and on from another job's model."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.repositories.jobs import Jobs
from cluster.settings import Settings
from jobs.runtime import Context
from models.families.tft.forecaster import TftForecaster
from models.postprocessing.calibration import without_calibration
from models.registry.bundle import read_bundle
from models.registry.model_card import render_card
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.job_specs import TftParams, TrainSpec
from tests.jobs.shop_panel import TEAM, shop, stored

TFT = TftParams(
    hidden_size=8, encoder_length=24, batch_size=16, steps=200, learning_rate=2e-2, dropout=0, workers=2
)
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def shops() -> pa.Table:
    """Four shops that their promotion decides: no seasonal naive foresees it."""
    rng = np.random.default_rng(3)
    return pa.concat_tables(pa.table(shop(number, rng, promotion=2.0)) for number in range(4))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTIS_DATA_DIR", str(tmp_path_factory.mktemp("transformer") / "data"))
        yield stored(DatasetSpec(name="shops", freq="h", roles=Roles(futr_exog=("promo",))), shops())


def context_for(settings: Settings, day: int, **more: Any) -> Context[TrainSpec]:
    """A job that trains on what was known on this day of January."""
    spec = TrainSpec(
        dataset="shops", model="demand", h=12, families=("tft",), quantiles=(0.1, 0.5, 0.9), n_windows=1,
        as_of=datetime(2024, 1, day, tzinfo=UTC), tft=TFT, **more,
    )  # fmt: skip
    database = Database(settings.sql_url)
    jobs = Jobs(database)
    return Context(Backend(settings, database), TEAM, jobs.adopt(TEAM, "ann", spec, None).id, spec)


def _said(context: Context[TrainSpec]) -> list[str]:
    return [event.message for event in context.backend.jobs.events(TEAM, context.job_id)]


def _workers() -> list[int]:
    """This process's Ray Train workers."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_text()
    found = []
    for pid, title in titles.items():
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and title.startswith("ray::") and "TrainWorker" in title:
            found.append(pid)
    return found


@contextmanager
def _killing_a_worker(context: Context[TrainSpec], when: str) -> Iterator[list[int]]:
    """SIGKILL for one worker as soon as the job has said this; gives the processes killed."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not killed:
            if any(line.startswith(when) for line in _said(context)):
                for pid in _workers()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def parent(settings: Settings, on_ray: None) -> tuple[Context[TrainSpec], list[int], dict[str, Any]]:
    """A job one of whose workers is killed in the backtest."""
    from jobs.train import work

    context = context_for(settings, 22)
    with _killing_a_worker(context, "tft (backtest): step 100") as killed:
        return context, killed, work(context).model_dump(mode="json")


def test_when_a_worker_is_killed_then_training_goes_on_and_the_registry_has_one_run(
    parent: tuple[Context[TrainSpec], list[int], dict[str, Any]], settings: Settings
) -> None:
    from mlflow import MlflowClient

    context, killed, result = parent
    assert len(killed) == 1
    said = [line for line in _said(context) if line.startswith("tft (backtest): step")]
    assert said[-1].startswith("tft (backtest): step 200 of 200")
    assert sum(line.startswith("tft (backtest): step 10 ") for line in said) == 1, "it began once"
    client = MlflowClient(settings.tracking_uri)
    experiments = [one.experiment_id for one in client.search_experiments() if one.name != "Default"]
    names = [run.info.run_name for run in client.search_runs(experiments)]
    assert sorted(names) == sorted(
        [
            f"leaderboard {context.job_id}",
            "publish tft",
            *(row["model"] for row in result["leaderboard"]["rows"]),
        ]
    )
    row = next(row for row in result["leaderboard"]["rows"] if row["model"] == "tft")
    assert (row["failed"], row["verdict"], row["chosen"]) == (None, "better", True)


def test_when_a_job_goes_on_from_a_model_then_it_begins_with_its_weights_and_its_version_says_from_which(
    parent: tuple[Context[TrainSpec], list[int], dict[str, Any]], settings: Settings
) -> None:
    from jobs.train import work

    first = parent[0].registry.resolve("demand@champion")
    assert (first.version, first.family) == (1, "tft")
    context = context_for(settings, 29, warm_start="demand@champion")
    result = work(context).model_dump(mode="json")
    said = _said(context)
    assert "tft (backtest): goes on from demand:1" in said

    def losses(lines: list[str]) -> list[float]:
        return [float(line.split("loss ")[1]) for line in lines if line.startswith("tft (backtest): step")]

    assert losses(said)[0] < 0.5 * losses(_said(parent[0]))[0]
    version = context.registry.get("demand", result["model"]["version"])
    assert (version.version, version.family) == (2, "tft")
    assert version.lineage is not None
    assert version.lineage.parent == "demand:1"
    assert "| went on from | demand:1 |" in render_card(version, None)
    child = without_calibration(read_bundle(context.registry.download(version)))
    assert isinstance(child, TftForecaster)
    assert child.lineage.parent == "demand:1"
    assert child.lineage.trained_until == datetime(2024, 1, 28, 23, tzinfo=UTC)

"""Scorers killed at random moments: each forecast is moved once, and scored once by each of its actuals."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import update

from cluster.database.tables import ForecastRow
from cluster.model_monitoring.scorer import Scorer
from cluster.model_monitoring.tables import MonitoringTables
from monitoring.accuracy.live import latest_scores
from quantis.panel import DS, ID
from tests.serve.operations.test_scorer import SERIES, arrive, entry, issue

ROOT = Path(__file__).resolve().parents[3]
KEY = ["forecast_id", ID, DS]


def rows_by_key(table: pa.Table, *more: str) -> Counter[tuple[object, ...]]:
    return Counter(zip(*(table[name].to_pylist() for name in (*KEY, *more)), strict=True))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [12, pytest.param(300, marks=pytest.mark.soak)])
def test_when_scorers_are_killed_then_all_is_moved_and_scored_exactly_once(world, kills: int) -> None:
    chance = random.Random(kills)
    tables = MonitoringTables.of_team(world.settings.data_layout, "default")
    registry = world.registry._client.tracking_uri
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.scorer_host", str(world.settings.data_dir), registry],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert host.stdin is not None
    assert host.stdout is not None
    issued = 0
    ds = entry(issue(world))["ds"]
    for life in range(kills):
        for _ in range(chance.randrange(1, 8)):
            issue(world)
            issued += 1
        arrive(world, [ds[chance.randrange(24)]], [float(life)])
        host.stdin.write("on\n")
        host.stdin.flush()
        pid = int(host.stdout.readline().removeprefix("pid "))
        time.sleep(chance.uniform(0.0, 0.5))
        os.kill(pid, signal.SIGKILL)
        while not host.stdout.readline().startswith("end"):
            pass
    host.stdin.close()
    host.wait(60)
    score_all(world)
    vintages, scores = tables.vintages.read(), tables.scores.read()
    assert set(rows_by_key(vintages).values()) == {1}
    assert vintages.num_rows == 24 * (issued + 1)
    assert set(rows_by_key(scores, "dataset_version").values()) == {1}
    at_once = all_over_again(world, tables)
    columns = [*KEY, "y", "naive", "scale", "hindsight"]
    killed = latest_scores(scores).select(columns).sort_by([(name, "ascending") for name in KEY])
    assert killed.equals(at_once.select(columns).sort_by([(name, "ascending") for name in KEY]))
    assert killed.num_rows > issued
    assert set(killed[ID].to_pylist()) == {SERIES}


def all_over_again(world, tables: MonitoringTables) -> pa.Table:
    """Move and score everything in one go, by a scorer that is not killed; return the latest scores."""
    shutil.rmtree(tables.folder)
    with world.services.database.write() as session:
        session.execute(update(ForecastRow).values(batch=None))
    score_all(world)
    return latest_scores(tables.scores.read())


def score_all(world) -> None:
    scorer = Scorer(world.services)
    scorer.score_team("default")
    scorer.close()

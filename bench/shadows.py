"""`python -m bench.shadows`: the latency of forecasts while a challenger runs in the shadow, and while none does.

A daily panel of 50 series, a Theta model and another one as the challenger on every request. Requests of one series go
through an engine of this process, one after another, as a replica answers them; the loop of shadows runs in another
process, beside the scorer, as on the platform. Blocks of requests with the loop at work and at rest take turns, so that
what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.harness import report
from cluster.backend import Backend
from cluster.model_monitoring.scorer import Scorer
from cluster.repositories.operations.online_experiments import StoredExperiment
from cluster.repositories.operations.shadows import Shadows
from cluster.repositories.principals import Author
from cluster.settings import Settings
from features.store.snapshots import snapshot_at
from models.evaluation.promotion_gate import GateDecision
from models.families.theta import Theta
from models.registry.bundle import write_bundle
from quantis.panel import DS, ID, Y, timestamps
from quantis.types.arrays import Floats
from quantis.types.datasets import DatasetSpec
from quantis.types.forecasts import ForecastRequest
from quantis.types.operations.online_experiments import NewOnlineExperiment
from serve.forecasting.deployment import make_engine
from serve.forecasting.engine import Engine
from serve.operations.shadow_forecasts import ShadowForecasts

TEAM, DATASET, MODEL = "default", "sales", "demand"
SERIES, DAYS, H = 50, 400, 28
START = np.datetime64("2024-01-01", "us")
DAY = np.timedelta64(1, "D")
NAMES = [f"s{number:02}" for number in range(SERIES)]
BLOCK, WORK, WORKING = 100, "work", "working"


def prepare(folder: Path) -> Backend:
    """Make a platform with a panel, a champion and a challenger that is like it."""
    settings = Settings(data_dir=folder)
    settings.data_layout.prepare()
    backend = Backend.from_settings(settings)
    backend.database.migrate()
    backend.catalogue.datasets.create(TEAM, "ann", DatasetSpec(name=DATASET, freq="D"))
    times = np.tile(START + np.arange(DAYS) * DAY, SERIES)
    y = np.random.default_rng(1).gamma(2.0, 10.0, len(times))
    panel = pa.table({ID: np.repeat(NAMES, DAYS), DS: timestamps(times), Y: y})
    backend.catalogue.ingest(TEAM, "ann", DATASET, panel, "bench")
    opened = backend.catalogue.open(TEAM, DATASET)
    last = START + (DAYS - 1) * DAY
    as_of = datetime(2025, 6, 1, tzinfo=UTC)
    task = opened.task(as_of, H, (0.1, 0.5, 0.9))
    snapshot = snapshot_at(opened.panel(as_of), last, task)
    bundle = write_bundle(folder / "bundle", Theta.fit(snapshot, task), snapshot)
    gate = GateDecision("Theta", True, 0.5, 0.1, 1.0, 0.3, "Theta: passed")
    registry = backend.registry(TEAM)
    for _ in range(2):
        registry.publish(MODEL, bundle, metrics={}, gate=gate)
    registry.promote(MODEL, 1)
    author = Author("user", "1", "ann")
    new = NewOnlineExperiment(name="trial", model=MODEL, challenger=2)
    backend.online_experiments.create(TEAM, author, new, 1)
    return backend


def make_shadows(folder: Path) -> None:
    """Run the scorer, and the loop of shadows while the file `work` is there; `working` is there meanwhile."""
    backend = Backend.from_settings(Settings(data_dir=folder))
    scorer, shadows = Scorer(backend), ShadowForecasts(backend)
    work, working = folder / WORK, folder / WORKING
    while (folder / "bundle").exists():
        scorer.score_team(TEAM)
        if work.exists():
            working.touch()
            shadows.tick()
        else:
            working.unlink(missing_ok=True)
        time.sleep(1.0)  # as the loops of the platform wait


def latencies(engine: Engine, count: int) -> Floats:
    """Return the milliseconds of requests for one series each."""
    times = np.empty(count)
    for number in range(count):
        request = ForecastRequest.model_validate({"series": [{"unique_id": NAMES[number % SERIES]}]})
        started = time.perf_counter()
        engine.forecast(TEAM, MODEL, request)
        times[number] = time.perf_counter() - started
    return 1000 * times


def wait_for(path: Path, *, there: bool) -> None:
    while path.exists() != there:
        time.sleep(0.01)


def measure(folder: Path, backend: Backend, blocks: int) -> tuple[Floats, Floats]:
    """Return the latencies at rest and with shadows in the making, of as many blocks each."""
    engine = make_engine(backend)
    latencies(engine, BLOCK)  # a warm-up, and work for the loop
    at_rest, with_shadows = [], []
    for _ in range(blocks):
        (folder / WORK).touch()
        wait_for(folder / WORKING, there=True)
        with_shadows.append(latencies(engine, BLOCK))
        (folder / WORK).unlink()
        wait_for(folder / WORKING, there=False)
        at_rest.append(latencies(engine, BLOCK))
    return np.concatenate(at_rest), np.concatenate(with_shadows)


def made_so_far(backend: Backend) -> int:
    stored: list[StoredExperiment] = backend.online_experiments.running()
    return Shadows(backend.database).progress(TEAM, stored[0].experiment.id, MODEL).computed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        make_shadows(options.loop)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backend = prepare(folder)
        loop = subprocess.Popen([sys.executable, "-m", "bench.shadows", "--loop", name])
        try:
            at_rest, with_shadows = measure(folder, backend, 4 if options.quick else 20)
        finally:
            loop.terminate()
            loop.wait(timedelta(seconds=60).total_seconds())
        figures = {
            f"p{level}_ms{label}": round(float(np.percentile(times, level)), 2)
            for level in (50, 95)
            for label, times in (("", at_rest), ("_with_shadows", with_shadows))
        }
        ratios = {
            f"p{level}": figures[f"p{level}_ms"] / figures[f"p{level}_ms_with_shadows"] for level in (50, 95)
        }
        counts = {"requests": len(at_rest) + len(with_shadows), "shadows": made_so_far(backend)}
        report("shadows", figures, {}, ratios, counts, options.json)


if __name__ == "__main__":
    main()

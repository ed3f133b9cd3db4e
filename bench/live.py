"""`python -m bench.live`: new actuals meet standing vintages.

A daily panel, forecast 28 days ahead; a day of 1,000 actuals arrives beside ever more standing vintage rows, and each
time the rows that it completes are scored. The peer joins all vintages with all actuals again by pandas, as a nightly
report would. Seconds, and the memory that the process grew by.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.harness import arguments
from cluster.backend import Backend
from cluster.model_monitoring.scored_dataset import ScoredDataset
from cluster.model_monitoring.tables import LEDGER, MonitoringTables
from cluster.settings import Settings
from monitoring.accuracy.live import LiveScores
from monitoring.accuracy.vintage_rows import VINTAGES
from quantis.panel import DS, ID, TIMESTAMP, Panel, Y, timestamps
from quantis.types.datasets import DatasetSpec

TEAM, DATASET, MODEL = "default", "sales", "demand"
SERIES, H, LEVELS = 1_000, 28, (0.1, 0.25, 0.5, 0.75, 0.9)
START = np.datetime64("2024-01-01", "us")
DAY = np.timedelta64(1, "D")
NAMES = [f"s{number:04}" for number in range(SERIES)]


@dataclass
class Bench:
    backend: Backend
    tables: MonitoringTables
    noise: np.random.Generator
    days: int = 60

    @classmethod
    def in_folder(cls, folder: Path) -> Bench:
        settings = Settings(data_dir=folder)
        settings.data_layout.prepare()
        backend = Backend.from_settings(settings)
        backend.database.migrate()
        backend.catalogue.datasets.create(TEAM, "ann", DatasetSpec(name=DATASET, freq="D"))
        bench = cls(backend, MonitoringTables.of_team(settings.data_layout, TEAM), np.random.default_rng(1))
        backend.catalogue.ingest(TEAM, "ann", DATASET, bench.actuals(0, bench.days), "bench")
        return bench

    def actuals(self, first: int, days: int) -> pa.Table:
        times = np.tile(START + np.arange(first, first + days) * DAY, SERIES)
        y = self.noise.gamma(2.0, 10.0, len(times))
        return pa.table({ID: np.repeat(NAMES, days), DS: timestamps(times), Y: y})

    def arrive(self) -> None:
        """Append one more day of every series."""
        day = self.actuals(self.days, 1)
        empty = pa.table({ID: pa.array([], pa.string()), DS: pa.array([], TIMESTAMP)})
        static = pa.table({ID: pa.array([], pa.string())})
        self.backend.catalogue.append(TEAM, "ann", DATASET, Panel(day, empty, static))
        self.days += 1

    def issue(self, origins: int, batch: int) -> None:
        """Store the vintages of that many daily origins, the last of them the newest day."""
        issued_at = datetime.now(UTC)
        for number in range(origins):
            cutoff = START + (self.days - 1 - number) * DAY
            rows = SERIES * H
            ds = np.tile(cutoff + np.arange(1, H + 1) * DAY, SERIES)
            values = np.sort(self.noise.gamma(2.0, 10.0, (rows, len(LEVELS))), axis=1)
            as_of = issued_at - timedelta(days=number)
            columns = {
                "kind": ["online"] * rows, "scenario": [False] * rows, "learned": [False] * rows,
                "model": [MODEL] * rows, "version": [1] * rows, "method": ["model"] * rows, "dataset": [DATASET] * rows,
                ID: np.repeat(NAMES, H), "cutoff": timestamps(np.repeat(cutoff, rows)), DS: timestamps(ds),
                "step": np.tile(np.arange(1, H + 1), SERIES), "as_of": [as_of] * rows, "issued_at": [issued_at] * rows,
                "mean": values.mean(axis=1), "levels": [list(LEVELS)] * rows, "values": values.tolist(),
                "forecast_id": [f"{batch}-{number}"] * rows, "batch": [batch] * rows,
            }  # fmt: skip
            arrays = [pa.array(columns[field.name], field.type) for field in VINTAGES]
            table = pa.Table.from_arrays(arrays, schema=VINTAGES)
            self.tables.vintages.append(table, {LEDGER: batch, f"origin {batch}": number + 1})

    def score(self, batch: int) -> tuple[int, float]:
        """Score what is new; return the number of scores and the seconds."""
        started, scores = time.perf_counter(), 0
        dataset = ScoredDataset(self.backend, TEAM, self.tables, self.backend.catalogue.open(TEAM, DATASET))
        while (new := dataset.next_scores(batch)) is not None:
            scores += new.num_rows
        return scores, time.perf_counter() - started

    def recompute(self) -> float:
        """Join everything again by pandas; return the seconds."""
        started = time.perf_counter()
        opened = self.backend.catalogue.open(TEAM, DATASET)
        actuals = opened.panel(datetime.now(UTC)).target.select([ID, DS, Y]).to_pandas()
        vintages = self.tables.vintages.read().to_pandas()
        joined = vintages.merge(actuals, on=[ID, DS])
        (joined["mean"] - joined[Y]).abs().groupby(joined["step"]).mean()
        return time.perf_counter() - started


def main() -> None:
    options = arguments(__doc__)
    steps = (1, 4) if options.quick else (1, 4, 36)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.in_folder(Path(folder))
        standing = 0
        sys.stdout.write(
            "standing rows | new actuals | new scores | s | s, all again by pandas | grown, MiB\n"
        )
        for batch, origins in enumerate(steps, start=1):
            bench.issue(origins, batch)
            standing += origins * SERIES * H
            first, seconds = bench.score(batch)
            sys.stdout.write(f"  {first:,} scores of new vintages in {seconds:.2f} s\n")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            times, scores = [], 0
            for _ in range(3):
                bench.arrive()
                scores, took = bench.score(batch)
                times.append(took)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            again = bench.recompute()
            row = (
                f"{standing:,}",
                f"{SERIES:,}",
                f"{scores:,}",
                f"{np.median(times):.2f}",
                f"{again:.2f}",
                f"{grown:.0f}",
            )
            sys.stdout.write(" | ".join(row) + "\n")
        started = time.perf_counter()
        live = LiveScores.from_scores(bench.tables.scores.read())
        figures = live.overall()
        sys.stdout.write(f"live figures of {figures.n:,} points in {time.perf_counter() - started:.2f} s\n")


if __name__ == "__main__":
    main()

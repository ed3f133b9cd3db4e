"""`python -m bench.tft`: training the Temporal Fusion Transformer, ours beside pytorch-forecasting and neuralforecast.

`--quick` measures throughput, (series, origin) pairs per CPU-second on one thread: ours is `fit` from a snapshot,
stock is pytorch-forecasting's dataset (built before the clock starts), loader and Lightning trainer. The rates
come from training twice, short and long, so that nobody's start-up counts. Same windows (168 + 24 hours), batch
(64 pairs), hidden size (64), heads, dropout, quantiles and covariates. `quantis` is the default training, most of
whose steps see a short past; `quantis_whole` sees the past whole in all of them.

The full run trains each system on `BUDGET` windows of a real panel (`bench.load`, QUANTIS_BENCH_DATA says where it
is) with each of `SEEDS`, ours on shares of the budget, and measures the q-risk on held-out windows. What it costs
is the CPU-seconds of training to the q-risk that the peer reaches on the budget, medians over the seeds. Twice and
four times the budget, with `LONG_SEEDS`, show what more windows bring, when training has converged. Ours has the
defaults of a training job at the peers' sizes; these were chosen on earlier weeks (`bench.tft_settings`). It has
the peers' inputs, and, apart from that, as `quantis_lags`, the target a day before as an input known ahead, as the
platform gives it. The run goes on where it was stopped: each training is a line of RUNS; without that file all are
made anew.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import load, peers
from bench.harness import arguments, installed, report
from bench.oracle.library import (
    reference_dataset,
    reference_model,
    reference_trainer,
)
from bench.request import LAYOUT, PAST, QUANTILES, ROLES, panel
from models.families.tft.training import fit
from quantis.types.arrays import Floats
from quantis.types.job_specs import TftParams

BATCH = 64
OURS = TftParams(hidden_size=64, attention_heads=4, dropout=0.1, encoder_length=PAST)
PARAMS = OURS.model_copy(update={"learning_rate": 1e-3, "batch_size": BATCH})
BUDGET, SEEDS, LONG_SEEDS = 24_000, (0, 1, 2), (0, 1, 2, 3, 4)
SHARES = {
    "quantis": (4.0, 2.0, 1.0, 0.5, 0.375, 0.25),
    "quantis_lags": (0.5, 0.25, 0.125),
    "pytorch_forecasting": (1.0, 2.0, 4.0),
    "neuralforecast": (1.0,),
}
RUNS = Path(".quantis/bench/tft.jsonl")
Train = Callable[[int], Any]  # for so many steps


def systems() -> dict[str, Train]:
    snapshot, frame = panel(3000)
    task = load.task().model_copy(update={"roles": ROLES})

    def quantis(**changes: Any) -> Train:
        return lambda steps: fit(snapshot, task, PARAMS.model_copy(update={"steps": steps, **changes}))

    dataset = reference_dataset(frame, LAYOUT)

    def stock(steps: int) -> None:
        loader = dataset.to_dataloader(train=True, batch_size=BATCH, num_workers=0)
        reference_trainer(steps).fit(reference_model(dataset, PARAMS, QUANTILES).train(), loader)

    trainings = {
        "quantis": quantis(),
        "quantis_whole": quantis(short_start=False),
        "quantis_whole_bfloat16": quantis(short_start=False, precision="bfloat16"),
        "quantis_alone": quantis(short_start=False, share_encoder=False),
        "pytorch_forecasting": stock,
    }
    if installed("neuralforecast"):
        trainings["neuralforecast"] = lambda steps: peers.neuralforecast(
            frame, PARAMS, steps, 0, ("price", "temp")
        )
    return trainings


def rate(train: Train, short: int, long: int) -> float:
    """Pairs per CPU-second between `short` and `long` steps."""
    seconds = []
    for steps in (short, long):
        started = time.process_time()
        train(steps)
        seconds.append(time.process_time() - started)
    return (long - short) * BATCH / (seconds[1] - seconds[0])


def throughput(rounds: int, long: int) -> dict[str, float]:
    runs = systems()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, train in runs.items():
            rates[name].append(rate(train, 2, long))
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def cost() -> list[dict[str, Any]]:
    """Return all runs of BUDGET, making those that are missing: system, seed, share, cpu_seconds, q_risk."""
    folder = os.environ.get("QUANTIS_BENCH_DATA")
    if folder is None:
        return []
    frame = load.load(Path(folder))
    y = load.actuals(frame)
    names = [name for name in SHARES if name != "neuralforecast" or installed("neuralforecast")]
    planned = [
        (name, seed, share)
        for seed in LONG_SEEDS
        for name in names
        for share in SHARES[name]
        if seed in SEEDS or share > 1  # accuracies are nearer to each other than costs
    ]
    runs = _finished_runs()
    for name, seed, share in planned:
        if (name, seed, share) in runs:
            continue
        seconds, forecasts = _run(name, frame, seed, round(BUDGET * share))
        line = {
            "system": name,
            "seed": seed,
            "share": share,
            "budget": BUDGET,
            "cpu_seconds": round(seconds, 2),
            "q_risk": round(load.q_risk(forecasts, y), 5),
        }
        RUNS.parent.mkdir(parents=True, exist_ok=True)
        with RUNS.open("a") as file:
            file.write(json.dumps(line) + "\n")
        runs[name, seed, share] = line
    return [runs[key] for key in planned]


def _finished_runs() -> dict[tuple[str, int, float], dict[str, Any]]:
    lines = [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []
    return {(r["system"], r["seed"], r["share"]): r for r in lines if r["budget"] == BUDGET}


def _run(name: str, frame: Any, seed: int, windows: int) -> tuple[float, Floats]:
    """CPU-seconds of training, and forecasts of the held-out windows."""
    if name.startswith("quantis"):
        return quantis_run(frame, OURS.model_copy(update={"seed": seed}), windows, name == "quantis_lags")
    run = peers.stock_run if name == "pytorch_forecasting" else peers.neuralforecast_run
    return run(frame, PARAMS, seed, windows // PARAMS.batch_size)


def quantis_run(
    frame: Any, params: TftParams, windows: int, lags: bool = False, weeks: load.Weeks = load.HELD_OUT
) -> tuple[float, Floats]:
    """CPU-seconds of training, and forecasts of the weeks."""
    snapshot = load.snapshot(frame, weeks.first)
    task = load.task().model_copy(update={"season_lengths": (24,) if lags else (1,)})
    started = time.process_time()
    model = fit(snapshot, task, params.model_copy(update={"steps": windows // params.batch_size}))
    return time.process_time() - started, load.forecasts(model, frame, weeks)


def compare_costs(runs: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the peers' cost over ours at each peer's q-risk, medians over the seeds; and all figures."""
    figures: dict[str, Any] = {}
    for key in sorted({(run["system"], run["share"]) for run in runs}):
        rows = [run for run in runs if (run["system"], run["share"]) == key]
        figures["{} {:g}".format(*key)] = {
            "cpu_seconds": round(statistics.median(row["cpu_seconds"] for row in rows), 1),
            "q_risk": round(statistics.median(row["q_risk"] for row in rows), 5),
            "q_risk_by_seed": [row["q_risk"] for row in rows],
        }
    ratios = {}
    for name, peer in figures.items():
        if not name.endswith(" 1"):  # the budget; more of it is there for the accuracy
            continue
        for system in ("quantis", "quantis_lags"):
            reached = [
                run["cpu_seconds"]
                for key, run in figures.items()
                if key.split()[0] == system and run["q_risk"] <= peer["q_risk"]
            ]
            if not name.startswith("quantis") and reached:
                ratios[f"cost{system[7:]}_vs_{name.split()[0]}"] = peer["cpu_seconds"] / min(reached)
    return ratios, figures


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the trainer's announcements
    rates = throughput(*((3, 16) if options.quick else (5, 30)))
    quantis = {name: rates.pop(name) for name in list(rates) if name.startswith("quantis")}
    ratios = {}
    for peer, peer_rate in rates.items():
        for name, quantis_rate in quantis.items():
            ratios[f"throughput{name[7:]}_vs_{peer}"] = quantis_rate / peer_rate
    accuracy: dict[str, Any] = {}
    if not options.quick:
        costs, accuracy = compare_costs(cost())
        ratios |= costs
    report("tft", quantis, rates, ratios, accuracy, options.json)


if __name__ == "__main__":
    main()

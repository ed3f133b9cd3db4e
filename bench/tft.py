"""`python -m bench.tft`: training the Temporal Fusion Transformer, ours beside pytorch-forecasting and neuralforecast.

`--quick` measures throughput, (series, origin) pairs per CPU-second on one thread: ours is `fit` from a snapshot,
stock is pytorch-forecasting's dataset (built before the clock starts), loader and Lightning trainer. The rates
come from training twice, short and long, so that nobody's start-up counts. Same windows (168 + 24 hours), batch
(64 pairs), hidden size (64), heads, dropout, quantiles and covariates.

The full run trains each system on `BUDGET` windows of a real panel (`bench.load`, QUANTIS_BENCH_DATA says where it
is) with each of `SEEDS`, ours on shares of the budget, and measures the q-risk on held-out windows. What it costs
is the CPU-seconds of training to the q-risk that the peer reaches. Ours has the peers' inputs, and, apart from
that, as `quantis_lags`, the target a day before as an input known ahead, as the platform gives it. The run goes
on where it was stopped: each training is a line of RUNS.
"""

from __future__ import annotations

import importlib.util
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
from bench.harness import arguments, report
from bench.request import LAYOUT, PAST, QUANTILES, ROLES, panel
from models.tft.reference import reference_dataset, stock_model, stock_trainer
from models.tft.training import fit
from quantis.types.jobs import TftParams

BATCH = 64
PARAMS = TftParams(
    hidden_size=64, attention_heads=4, dropout=0.1, encoder_length=PAST, batch_size=BATCH, learning_rate=1e-3
)
OURS = PARAMS.model_copy(update={"learning_rate": 4e-3, "batch_size": 32})
BUDGET, SEEDS = 24_000, (0, 1, 2)
SHARES = {
    "quantis": (1.0, 0.75, 0.5), "quantis_lags": (0.5, 0.25, 0.125),
    "pytorch_forecasting": (1.0,), "neuralforecast": (1.0,),
}  # fmt: skip
RUNS = Path(".quantis/bench/tft.jsonl")
Train = Callable[[int], Any]  # for so many steps


def systems() -> dict[str, Train]:
    snapshot, frame = panel(3000)
    task = load.task().model_copy(update={"roles": ROLES})

    def ours(**changes: Any) -> Train:
        return lambda steps: fit(snapshot, task, PARAMS.model_copy(update={"steps": steps, **changes}))

    dataset = reference_dataset(frame, LAYOUT)

    def stock(steps: int) -> None:
        loader = dataset.to_dataloader(train=True, batch_size=BATCH, num_workers=0)
        stock_trainer(steps).fit(stock_model(dataset, PARAMS, QUANTILES).train(), loader)

    found = {
        "quantis": ours(),
        "quantis_bfloat16": ours(precision="bfloat16"),
        "quantis_alone": ours(share_encoder=False),
        "pytorch_forecasting": stock,
    }
    if _installed():
        found["neuralforecast"] = lambda steps: peers.neuralforecast(
            frame, PARAMS, steps, 0, ("price", "temp")
        )
    return found


def _installed() -> bool:
    return importlib.util.find_spec("neuralforecast") is not None


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
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, train in runs.items():
            found[name].append(rate(train, 2, long))
    return {name: round(statistics.median(values), 1) for name, values in found.items()}


def cost() -> list[dict[str, Any]]:
    """Every run of BUDGET, those that are missing made now: system, seed, share, cpu_seconds, q_risk."""
    folder = os.environ.get("QUANTIS_BENCH_DATA")
    if folder is None:
        return []
    frame = load.load(Path(folder))
    train, y = frame[frame["t"] < load.TRAIN], load.actuals(frame)
    names = [name for name in SHARES if name != "neuralforecast" or _installed()]
    wanted = [(name, seed, share) for seed in SEEDS for name in names for share in SHARES[name]]
    done = _done()
    for name, seed, share in wanted:
        if (name, seed, share) in done:
            continue
        seconds, found = _run(name, train, frame, seed, round(BUDGET * share))
        line = {
            "system": name, "seed": seed, "share": share, "budget": BUDGET,
            "cpu_seconds": round(seconds, 2), "q_risk": round(load.q_risk(found, y), 5),
        }  # fmt: skip
        RUNS.parent.mkdir(parents=True, exist_ok=True)
        with RUNS.open("a") as file:
            file.write(json.dumps(line) + "\n")
        done[name, seed, share] = line
    return [done[key] for key in wanted]


def _done() -> dict[tuple[str, int, float], dict[str, Any]]:
    lines = [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []
    return {(r["system"], r["seed"], r["share"]): r for r in lines if r["budget"] == BUDGET}


def _run(name: str, train: Any, frame: Any, seed: int, windows: int) -> tuple[float, load.Floats]:
    """CPU-seconds of training, and forecasts of the held-out windows."""
    if name.startswith("quantis"):
        params = OURS.model_copy(update={"steps": windows // OURS.batch_size, "seed": seed})
        snapshot = load.snapshot(frame, load.TRAIN)
        lags = (24,) if name == "quantis_lags" else (1,)
        started = time.process_time()
        model = fit(snapshot, load.task().model_copy(update={"season_lengths": lags}), params)
        return time.process_time() - started, load.forecasts(model, frame)
    run = peers.stock_run if name == "pytorch_forecasting" else peers.neuralforecast_run
    return run(train, frame, PARAMS, seed, windows // PARAMS.batch_size)


def compared(runs: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """How many times less ours costs to each peer's q-risk, and every mean."""
    means: dict[tuple[str, float], tuple[float, float]] = {}
    for name, share in {(run["system"], run["share"]) for run in runs}:
        rows = [run for run in runs if (run["system"], run["share"]) == (name, share)]
        means[name, share] = tuple(
            statistics.mean(row[key] for row in rows) for key in ("cpu_seconds", "q_risk")
        )
    ratios = {}
    for (peer, _), (seconds, risk) in means.items():
        for own in ("quantis", "quantis_lags"):
            reached = [mine[0] for (name, _), mine in means.items() if name == own and mine[1] <= risk]
            if not peer.startswith("quantis") and reached:
                ratios[f"cost{own[7:]}_vs_{peer}"] = seconds / min(reached)
    told = {
        f"{name} {share:g}": {"cpu_seconds": round(seconds, 1), "q_risk": round(risk, 5)}
        for (name, share), (seconds, risk) in sorted(means.items())
    }
    return ratios, told


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the trainer's announcements
    rates = throughput(*((3, 16) if options.quick else (5, 30)))
    mine = {name: rates.pop(name) for name in list(rates) if name.startswith("quantis")}
    ratios = {
        f"throughput{name[7:]}_vs_{peer}": own / value
        for peer, value in rates.items()
        for name, own in mine.items()
    }
    accuracy: dict[str, Any] = {}
    if not options.quick:
        costs, accuracy = compared(cost())
        ratios |= costs
    report("tft", mine, rates, ratios, accuracy, options.json)


if __name__ == "__main__":
    main()

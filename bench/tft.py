"""`python -m bench.tft`: training throughput, (series, origin) pairs per CPU-second on one thread.

Ours is `fit` from a snapshot, its encoding included; stock is pytorch-forecasting's dataset (built before the
clock starts), loader and Lightning trainer; neuralforecast's TFT joins where it is installed. Same windows
(168 + 24 hours), batch (64), hidden size (64), heads, dropout, quantiles and covariates. The rates come from
training twice, short and long, so that nobody's start-up counts.
"""

from __future__ import annotations

import importlib.util
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import torch

from bench.harness import arguments, report
from bench.request import LAYOUT, PAST, QUANTILES, ROLES, H, panel
from models.tft.reference import reference_dataset, stock_model, stock_trainer
from models.tft.training import fit
from quantis.panel import Task
from quantis.types.jobs import TftParams

BATCH = 64
PARAMS = TftParams(
    hidden_size=64, attention_heads=4, dropout=0.1, encoder_length=PAST, batch_size=BATCH, learning_rate=1e-3
)
Train = Callable[[int], Any]  # for so many steps


def systems() -> dict[str, Train]:
    snapshot, frame = panel(1000)
    task = Task(
        dataset="bench", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H, roles=ROLES,
        quantiles=QUANTILES,
    )  # fmt: skip

    def ours(precision: str) -> Train:
        return lambda steps: fit(
            snapshot, task, PARAMS.model_copy(update={"steps": steps, "precision": precision})
        )

    dataset = reference_dataset(frame, LAYOUT)

    def stock(steps: int) -> None:
        loader = dataset.to_dataloader(train=True, batch_size=BATCH, num_workers=0)
        stock_trainer(steps).fit(stock_model(dataset, PARAMS, QUANTILES).train(), loader)

    found = {"quantis": ours("float32"), "quantis_bfloat16": ours("bfloat16"), "pytorch_forecasting": stock}
    return found | ({"neuralforecast": _neuralforecast(frame)} if _installed() else {})


def _installed() -> bool:
    return importlib.util.find_spec("neuralforecast") is not None


def _neuralforecast(frame: pd.DataFrame) -> Train:
    from neuralforecast import NeuralForecast  # type: ignore[import-not-found]
    from neuralforecast.losses.pytorch import MQLoss  # type: ignore[import-not-found]
    from neuralforecast.models import TFT  # type: ignore[import-not-found]

    renamed = frame.assign(
        unique_id=frame["id"], ds=pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["t"], unit="h")
    )
    renamed["hour"], renamed["weekday"] = renamed["hour"].astype(float), renamed["weekday"].astype(float)
    columns = ["unique_id", "ds", "y", "price", "temp", "hour", "weekday"]

    def train(steps: int) -> None:
        model = TFT(
            h=H, input_size=PAST, hidden_size=64, n_head=4, dropout=0.1, loss=MQLoss(quantiles=list(QUANTILES)),
            futr_exog_list=["price", "hour", "weekday"], hist_exog_list=["temp"], max_steps=steps,
            windows_batch_size=BATCH, batch_size=3, learning_rate=1e-3, accelerator="cpu", logger=False,
            enable_progress_bar=False, enable_checkpointing=False,
        )  # fmt: skip
        NeuralForecast([model], freq="h").fit(renamed[columns])

    return train


def rate(train: Train, short: int, long: int) -> float:
    """Pairs per CPU-second between `short` and `long` steps."""
    seconds = []
    for steps in (short, long):
        started = time.process_time()
        train(steps)
        seconds.append(time.process_time() - started)
    return (long - short) * BATCH / (seconds[1] - seconds[0])


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the trainer's announcements
    runs = systems()
    rounds, long = (3, 16) if options.quick else (7, 40)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, train in runs.items():
            found[name].append(rate(train, 2, long))
    peers = {name: round(statistics.median(values), 1) for name, values in found.items()}
    ours = {name: peers.pop(name) for name in ("quantis", "quantis_bfloat16")}
    ratios = {
        f"throughput{suffix}_vs_{peer}": ours[name] / value
        for peer, value in peers.items()
        for name, suffix in (("quantis", ""), ("quantis_bfloat16", "_bfloat16"))
    }
    report("tft", ours, peers, ratios, {}, options.json)


if __name__ == "__main__":
    main()

"""`python -m bench.request`: one request, from history in memory to quantiles out, ours and pytorch-forecasting's.

One series, 168 hours of history and 24 ahead, the same network size and inputs; ours goes from a snapshot
through the forecaster, stock from a pandas frame through its dataset and its predict, and through its dataset
and the bare module. CPU-seconds of one thread.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from bench.harness import arguments, interleaved, report
from bench.oracle.library import reference_dataset, reference_model
from bench.oracle.panel import TimeSeriesLayout
from models.families.tft.forecaster import TftForecaster
from models.families.tft.input_encoding import InputEncoding, SeriesScales
from models.families.tft.network import QuantileNetwork
from quantis.panel import DS, ID, Snapshot, Task, Y, timestamps
from quantis.types.datasets import Roles
from quantis.types.job_specs import TftParams

PAST, H, QUANTILES = 168, 24, (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
PARAMS = TftParams(hidden_size=64, attention_heads=4, dropout=0.1, encoder_length=PAST)
ROLES = Roles(futr_exog=("price",), hist_exog=("temp",), stat_exog=("shop",), categorical=("shop",))
LAYOUT = TimeSeriesLayout(
    "t", "y", "id", PAST, PAST, H, H, ("shop",), (), ("hour", "weekday"), ("price",), unknown_reals=("y", "temp"),
    add_encoder_length=False,
)  # fmt: skip


def panel(steps: int) -> tuple[Snapshot, pd.DataFrame]:
    """Three series, the horizon of each behind `steps` hours; the frame holds both."""
    noise, series = np.random.default_rng(0), [f"s{i}" for i in range(3)]
    times = np.datetime64("2024-01-01", "us") + np.arange(steps + H) * np.timedelta64(1, "h")
    tables, frames = [], []
    for name in series:
        columns = {"price": noise.normal(size=steps + H), "temp": noise.normal(size=steps + H)}
        y = noise.gamma(2.0, 10.0, steps + H)
        tables.append(pa.table({ID: [name] * (steps + H), DS: timestamps(times), Y: y, **columns}))
        calendar = {"hour": np.arange(steps + H) % 24, "weekday": np.arange(steps + H) // 24 % 7}
        calendar = {key: values.astype(str) for key, values in calendar.items()}
        frames.append(
            pd.DataFrame({"id": name, "shop": name, "t": np.arange(steps + H), "y": y, **columns, **calendar})
        )
    history = pa.concat_tables([table.slice(0, steps) for table in tables])
    future = pa.concat_tables([table.slice(steps).select([ID, DS, "price"]) for table in tables])
    static = pa.table({ID: series, "shop": series})
    return Snapshot(history, future, static), pd.concat(frames, ignore_index=True)


def systems() -> dict[str, Callable[[], Any]]:
    task = Task(
        dataset="bench", version=1, content_hash="", as_of=datetime.now(UTC), freq="h", h=H, roles=ROLES,
        quantiles=QUANTILES,
    )  # fmt: skip
    learned, frame = panel(400)
    encoding = InputEncoding.from_snapshot(learned, task)
    network = QuantileNetwork(PARAMS, encoding, QUANTILES).eval()
    forecaster = TftForecaster(task, PARAMS, encoding, SeriesScales.from_snapshot(learned, encoding), network)
    request = Snapshot(
        learned.history.slice(400 - PAST, PAST), learned.future.slice(0, H), learned.static.slice(0, 1)
    )
    dataset = reference_dataset(frame, LAYOUT)
    stock = reference_model(dataset, PARAMS, QUANTILES)
    last = frame[frame["id"] == "s0"].tail(PAST + H)

    def quantis() -> pa.Table:
        return forecaster.predict(request)

    def trainer() -> Any:
        return stock.predict(
            last,
            mode="quantiles",
            trainer_kwargs={"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        )

    def module() -> Any:
        request = type(dataset).from_dataset(dataset, last, predict=True, stop_randomization=True)
        x, _ = next(iter(request.to_dataloader(train=False, batch_size=1, num_workers=0)))
        with torch.inference_mode():
            return stock(x)

    return {"quantis": quantis, "pytorch_forecasting": trainer, "pytorch_forecasting_module": module}


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the trainer's announcements
    runs, count = systems(), 10

    def repeated(run: Callable[[], Any]) -> Callable[[], None]:
        def all_of_them() -> None:
            for _ in range(count):
                run()

        return all_of_them

    seconds = interleaved({name: repeated(run) for name, run in runs.items()}, 5 if options.quick else 15)
    millis = {name: round(value / count * 1e3, 3) for name, value in seconds.items()}
    quantis = millis.pop("quantis")
    report(
        "request", {"cpu_milliseconds": quantis}, millis,
        {f"vs_{name}": value / quantis for name, value in millis.items()}, {}, options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""The peers of `bench.tft` as their users run them, on `bench.load`'s panel."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench import load
from bench.oracle.library import (
    reference_dataset,
    reference_model,
    reference_trainer,
)
from bench.request import PAST, QUANTILES, H
from quantis.types.arrays import Floats
from quantis.types.job_specs import TftParams


def stock_run(
    frame: pd.DataFrame, params: TftParams, seed: int, steps: int, weeks: load.Weeks = load.HELD_OUT
) -> tuple[float, Floats]:
    """pytorch-forecasting: CPU-seconds of training, forecasts of the weeks."""
    dataset = reference_dataset(frame[frame["t"] < weeks.first], load.LAYOUT)
    torch.manual_seed(seed)
    model = reference_model(dataset, params, QUANTILES).train()
    loader = dataset.to_dataloader(train=True, batch_size=params.batch_size, num_workers=0)
    started = time.process_time()
    reference_trainer(steps).fit(model, loader)
    seconds = time.process_time() - started
    held = frame[(frame["t"] >= weeks.first - PAST) & (frame["t"] < weeks.end)]
    windows = type(dataset).from_dataset(dataset, held, stop_randomization=True)
    predictions: dict[tuple[int, int], Floats] = {}
    with torch.inference_mode():
        for x, _ in windows.to_dataloader(train=False, batch_size=256, num_workers=0):
            first = x["decoder_time_idx"][:, 0]
            wanted = ((first - weeks.first) % H == 0).nonzero()[:, 0]
            if len(wanted):
                rows = model.eval()(x)["prediction"][wanted].double().numpy()
                keys = zip(first[wanted].tolist(), x["groups"][wanted, 0].tolist(), strict=True)
                predictions |= dict(zip(keys, rows, strict=True))
    ordered = np.stack([predictions[key] for key in sorted(predictions)])  # [origins x zones, h, quantiles]
    return seconds, np.sort(ordered, -1).reshape(len(weeks.origins), -1, len(QUANTILES))


def neuralforecast(
    frame: pd.DataFrame, params: TftParams, steps: int, seed: int, columns: tuple[str, ...]
) -> Any:
    """A fitted NeuralForecast with one TFT; `columns` are numbers known ahead, but `temp` beside others is not."""
    from neuralforecast import NeuralForecast  # type: ignore[import-not-found]
    from neuralforecast.losses.pytorch import MQLoss  # type: ignore[import-not-found]
    from neuralforecast.models import TFT  # type: ignore[import-not-found]

    observed = ["temp"] if len(columns) > 1 else []
    known = [name for name in columns if name not in observed] + ["hour", "weekday"]
    long = neuralforecast_frame(frame, list(columns))
    static = pd.get_dummies(long["unique_id"].drop_duplicates(), prefix="zone", dtype=float)
    static.insert(0, "unique_id", long["unique_id"].drop_duplicates())
    model = TFT(
        h=H, input_size=PAST, hidden_size=params.hidden_size, n_head=params.attention_heads, dropout=params.dropout,
        loss=MQLoss(quantiles=list(QUANTILES)), futr_exog_list=known, hist_exog_list=observed or None,
        stat_exog_list=list(static.columns[1:]), max_steps=steps, windows_batch_size=params.batch_size,
        batch_size=len(static), learning_rate=params.learning_rate, random_seed=seed, val_check_steps=10**9,
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False,
    )  # fmt: skip
    forecaster = NeuralForecast([model], freq="h")
    forecaster.fit(long, static_df=static)
    return forecaster, static


def neuralforecast_frame(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    times = (
        frame["ds"] if "ds" in frame else pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["t"], unit="h")
    )
    renamed = frame.assign(unique_id=frame["id"], ds=times)
    renamed["hour"], renamed["weekday"] = renamed["hour"].astype(float), renamed["weekday"].astype(float)
    return renamed[["unique_id", "ds", "y", *columns, "hour", "weekday"]]


def neuralforecast_run(
    frame: pd.DataFrame, params: TftParams, seed: int, steps: int, weeks: load.Weeks = load.HELD_OUT
) -> tuple[float, Floats]:
    """neuralforecast: CPU-seconds of training, forecasts of the weeks."""
    train = frame[frame["t"] < weeks.first]
    started = time.process_time()
    model, static = neuralforecast(train, params, steps, seed, ("temp",))
    seconds = time.process_time() - started
    forecasts = []
    for origin in weeks.origins:
        past = neuralforecast_frame(frame[(frame["t"] < origin) & (frame["t"] >= origin - PAST)], ["temp"])
        ahead = frame[(frame["t"] >= origin) & (frame["t"] < origin + H)]
        future = neuralforecast_frame(ahead, ["temp"]).drop(columns="y")
        answer = model.predict(df=past, static_df=static, futr_df=future)
        answer = answer.sort_values(["unique_id", "ds"])
        quantiles = answer[[c for c in answer.columns if c.startswith("TFT")]].to_numpy(np.float64)
        forecasts.append(np.sort(quantiles, -1))
    return seconds, np.stack(forecasts)

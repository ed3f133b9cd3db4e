"""Peers of the accuracy benchmark that run where they are installed: AutoGluon and neuralforecast's TFT.

Neither is in the lock: both bring a stack of their own. AutoGluon brings an mlforecast that refuses the gaps in
rossmann_a's statics: install the lock's again after it. Each learns once, from what was known at the first origin,
and is asked at every origin. No model is fetched: AutoGluon's pretrained ones are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.accuracy_peers import by_origin, interpolate_y, to_pandas
from bench.accuracy_sets import Trial
from bench.harness import installed
from quantis.panel import DS, ID, Snapshot, Y

_LIMIT_S = 600
_PRETRAINED = ["Chronos", "Chronos2", "Toto", "Toto2"]
_MAX_VALUES = 10
_OFFSETS = {"MS": "MS", "QS": "QS-OCT", "D": "D", "h": "h"}


def autogluon(trial: Trial) -> pa.Table:
    """AutoGluon's `medium_quality` for ten minutes, scored by WAPE, with every covariate in its role."""
    from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor  # type: ignore[import-not-found]

    task, roles = trial.task, trial.task.roles

    def framed(table: pd.DataFrame, statics: pd.DataFrame | None) -> Any:
        return TimeSeriesDataFrame.from_data_frame(table, ID, DS, static_features_df=statics)

    def history(snapshot: Snapshot) -> Any:
        table = to_pandas(snapshot.history, roles.categorical)[
            [ID, DS, Y, *roles.futr_exog, *roles.hist_exog]
        ]
        statics = to_pandas(snapshot.static, roles.categorical) if roles.stat_exog else None
        return framed(table, statics)

    with tempfile.TemporaryDirectory() as folder:
        predictor = TimeSeriesPredictor(
            prediction_length=task.h, target=Y, freq=_OFFSETS[task.freq], eval_metric="WAPE", path=f"{folder}/fit",
            known_covariates_names=list(roles.futr_exog), verbosity=0,
        )  # fmt: skip
        predictor.fit(
            history(trial.snapshot(trial.tests[0])), presets="medium_quality", time_limit=_LIMIT_S,
            excluded_model_types=_PRETRAINED, random_seed=0,
        )  # fmt: skip

        def at(snapshot: Snapshot) -> np.ndarray:
            known_covariates = None
            if roles.futr_exog:
                known_covariates = framed(
                    to_pandas(snapshot.future, roles.categorical)[[ID, DS, *roles.futr_exog]], None
                )
            predictions = predictor.predict(
                history(snapshot), known_covariates=known_covariates, random_seed=0
            )
            return np.asarray(predictions["mean"].sort_index())

        return by_origin(trial, at)


def neuralforecast_tft(trial: Trial) -> pa.Table:
    """Neuralforecast's TFT, 64 wide, on 64,000 windows, with robust scales and every covariate that is a number.

    It takes no categories: those of few values become a column each, the others would each be a network of their own.
    """
    from neuralforecast import NeuralForecast  # type: ignore[import-not-found]
    from neuralforecast.losses.pytorch import MQLoss  # type: ignore[import-not-found]
    from neuralforecast.models import TFT  # type: ignore[import-not-found]

    task, roles = trial.task, trial.task.roles
    first = trial.snapshot(trial.tests[0])
    values = {name: _values(first, name) for name in roles.categorical}
    known_columns, observed, static = (
        _columns(names, values) for names in (roles.futr_exog, roles.hist_exog, roles.stat_exog)
    )

    def history(snapshot: Snapshot) -> pd.DataFrame:
        coded = _encode(interpolate_y(to_pandas(snapshot.history, ())), values)
        return _fill_numbers(coded[[ID, DS, Y, *known_columns, *observed]])

    statics = _fill_numbers(_encode(to_pandas(first.static, ()), values)[[ID, *static]]) if static else None

    model = TFT(
        h=task.h, input_size=max(2 * task.h, task.season_lengths[-1]), hidden_size=64, max_steps=500,
        windows_batch_size=128, learning_rate=0.005, loss=MQLoss(quantiles=list(task.quantiles)),
        scaler_type="robust", random_seed=0,
        futr_exog_list=known_columns or None, hist_exog_list=observed or None, stat_exog_list=static or None,
        start_padding_enabled=True, accelerator="cpu",
        logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    network = NeuralForecast([model], freq=_OFFSETS[task.freq])
    network.fit(history(first), static_df=statics)

    def at(snapshot: Snapshot) -> np.ndarray:
        future = (
            _fill_numbers(_encode(to_pandas(snapshot.future, ()), values)[[ID, DS, *known_columns]])
            if known_columns
            else None
        )
        predictions = network.predict(history(snapshot), static_df=statics, futr_df=future)
        return predictions.sort_values([ID, DS])["TFT-median"].to_numpy(float)

    return by_origin(trial, at)


def _values(snapshot: Snapshot, name: str) -> list[str]:
    tables = (snapshot.history, snapshot.static)
    return sorted({str(v) for table in tables if name in table.column_names for v in table[name].to_pylist()})


def _columns(names: tuple[str, ...], values: dict[str, list[str]]) -> list[str]:
    """Numbers by their name; categories of few values by name and value."""
    numbers = [name for name in names if name not in values]
    few = [name for name in names if len(values.get(name, ())) in range(2, _MAX_VALUES + 1)]
    return numbers + [f"{name}={value}" for name in few for value in values[name]]


def _encode(frame: pd.DataFrame, values: dict[str, list[str]]) -> pd.DataFrame:
    """Return the frame with a column for every value of a category in the training data."""
    coded = {
        f"{name}={value}": (frame[name].astype(str) == value).astype(float)
        for name, categories in values.items()
        if name in frame
        for value in categories
    }
    return frame.assign(**coded)


def _fill_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill gaps in numbers with a series' last value, else its first, else the median of all."""
    for name in frame.select_dtypes("number"):
        near = frame.groupby(ID)[name].transform(lambda values: values.ffill().bfill())
        frame = frame.assign(**{name: near.fillna(near.median())})
    return frame


OPTIONAL: dict[str, Callable[[Trial], pa.Table]] = {
    module: peer
    for module, peer in (("autogluon", autogluon), ("neuralforecast", neuralforecast_tft))
    if installed(module)
}

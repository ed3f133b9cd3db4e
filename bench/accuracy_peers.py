"""The peers of the accuracy benchmark, each as its own documentation would set it up, with one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.accuracy_sets import Trial
from models.arrays import each_series, interpolate_gaps
from models.evaluation.rolling_origin import join_actuals
from quantis.panel import DS, ID, Snapshot, Y

_LONGEST_FOR_ETS = 24
_KEPT_SEASONS = 6


def statsforecast(trial: Trial) -> pa.Table:
    """The mean of AutoETS, CES and optimised Theta; MSTL in ETS's and CES's place where the seasons are long."""
    from statsforecast.models import MSTL, AutoCES, AutoETS, DynamicOptimizedTheta

    seasons = list(trial.task.season_lengths)
    if len(seasons) > 1:
        models: list[Any] = [MSTL(season_length=seasons), DynamicOptimizedTheta(season_length=seasons[0])]
    else:
        models = [kind(season_length=seasons[0]) for kind in (AutoETS, AutoCES, DynamicOptimizedTheta)]

    def forecast(y: np.ndarray) -> np.ndarray:
        recent = interpolate_gaps(y)[-max(_KEPT_SEASONS * seasons[-1], 200) :]
        forecasts = [np.asarray(model.forecast(y=recent, h=trial.task.h)["mean"]) for model in models]
        return np.maximum(np.mean(forecasts, axis=0), 0.0 if np.nanmin(y) >= 0 else -np.inf)

    return by_origin(trial, lambda snapshot: np.concatenate([forecast(y) for y in _histories(snapshot)]))


def lightgbm(trial: Trial) -> pa.Table:
    """Mlforecast with LightGBM: lags, rolling means, calendar and every covariate; scaled per series."""
    from mlforecast.target_transforms import LocalStandardScaler

    return _mlforecast(trial, [LocalStandardScaler()])


def lightgbm_differences(trial: Trial) -> pa.Table:
    """The same on seasonal differences."""
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    return _mlforecast(trial, [Differences([trial.task.season_lengths[0]]), LocalStandardScaler()])


_FIELDS = {"h": ["hour", "dayofweek"], "D": ["dayofweek", "day", "month"], "MS": ["month"], "QS": ["quarter"]}


def _mlforecast(trial: Trial, transforms: list[Any]) -> pa.Table:
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    task = trial.task
    seasons = [m for m in task.season_lengths if m > 1]
    model = MLForecast(
        models={"lgb": LGBMRegressor(n_estimators=300, learning_rate=0.05, num_threads=1, verbosity=-1)},
        freq=task.freq,
        lags=sorted({1, 2, 3, *seasons, *(m + 1 for m in seasons), *(2 * m for m in seasons)}),
        lag_transforms={1: [RollingMean(seasons[0])], seasons[0]: [RollingMean(seasons[0])]},
        date_features=_FIELDS[task.freq],
        target_transforms=transforms,
    )
    first = _frame(trial, trial.snapshot(trial.tests[0]))
    model.fit(first, static_features=list(task.roles.stat_exog))

    def at(snapshot: Snapshot) -> np.ndarray:
        known_columns = list(task.roles.futr_exog)
        future = (
            to_pandas(snapshot.future, task.roles.categorical)[[ID, DS, *known_columns]]
            if known_columns
            else None
        )
        predictions = model.predict(task.h, new_df=_frame(trial, snapshot), X_df=future)
        values = predictions.sort_values([ID, DS])["lgb"].to_numpy()
        return np.maximum(values, 0.0) if np.nanmin(snapshot.y) >= 0 else values

    return by_origin(trial, at)


def _frame(trial: Trial, snapshot: Snapshot) -> pd.DataFrame:
    """History and statics as mlforecast takes them: no gaps in y, no observed covariates."""
    roles = trial.task.roles
    frame = interpolate_y(to_pandas(snapshot.history, roles.categorical)[[ID, DS, Y, *roles.futr_exog]])
    return frame.merge(to_pandas(snapshot.static, roles.categorical), on=ID) if roles.stat_exog else frame


def interpolate_y(frame: pd.DataFrame) -> pd.DataFrame:
    """Interpolate gaps in y linearly."""
    y = frame.groupby(ID)[Y].transform(lambda y: y.interpolate(limit_direction="both"))
    return frame.assign(**{Y: y})


def to_pandas(table: pa.Table, categorical: tuple[str, ...]) -> pd.DataFrame:
    frame = table.to_pandas()
    if DS in frame:
        frame[DS] = frame[DS].dt.tz_localize(None)
    for name in set(categorical) & set(frame):
        frame[name] = frame[name].astype("category")
    return frame


def _histories(snapshot: Snapshot) -> list[np.ndarray]:
    return [series.y for series in each_series(snapshot)]


def by_origin(trial: Trial, predict: Callable[[Snapshot], np.ndarray]) -> pa.Table:
    windows = []
    for cutoff in trial.tests:
        snapshot = trial.snapshot(cutoff)
        table = snapshot.future.select([ID, DS]).append_column("mean", pa.array(predict(snapshot)))
        windows.append(join_actuals(table, trial.actuals, cutoff))
    return pa.concat_tables(windows)


ALWAYS: dict[str, Callable[[Trial], pa.Table]] = {
    "statsforecast": statsforecast,
    "lightgbm": lightgbm,
    "lightgbm_differences": lightgbm_differences,
}

"""`python -m models.families.tft.pytorch_forecasting.convert CHECKPOINT DATA BUNDLE` converts a checkpoint.

Run it where the checkpoint was made, or in another environment of your own: such checkpoints are pickles, and
opening one runs what its maker put there. DATA (Parquet or CSV) is a frame as the model was trained on, with a
column of times beside its time index; its series give the scales, its last steps the proof: the bundle is
written only if it predicts what the library predicts.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.arrays import floats
from models.families.tft.network import TftNetwork
from models.families.tft.pytorch_forecasting.converted import (
    CategoricalInput,
    ConversionRecipe,
    ConvertedTft,
    Kind,
    NumericInput,
)
from models.families.tft.pytorch_forecasting.reference import ReferenceNames, convert_state
from models.forecaster import quantile_column
from models.registry.bundle import write_bundle
from quantis.errors import InvalidInput, QuantisError
from quantis.frequency import to_datetime
from quantis.panel import DS, ID, Snapshot, Task, Y
from quantis.types.datasets import Roles

_CLOSE = 1e-4  # relative to values above 1


def convert(model: Any, frame: pd.DataFrame, times: str, freq: str) -> tuple[ConvertedTft, Snapshot]:
    """Convert a library's model; also return the snapshot whose horizon is the frame's last steps.

    Raises
    ------
    InvalidInput
        For a model that our network, or a bundle, cannot hold.
    """
    parameters = model.dataset_parameters
    _check(model, parameters)
    frame = _to_panel_columns(frame, parameters, times)
    roles = _roles(model, parameters)
    h = int(parameters["max_prediction_length"])
    task = Task(
        dataset="converted",
        version=1,
        content_hash="",
        as_of=datetime.now(UTC),
        freq=freq,
        h=h,
        roles=roles,
        quantiles=tuple(float(q) for q in model.loss.quantiles),
    )
    recipe = _recipe(model, parameters, frame, task)
    network = TftNetwork(recipe.sizes(len(task.quantiles)))
    names = ReferenceNames(
        tuple(n.name for role in recipe.numbers for n in role),
        tuple(c.name for role in recipe.categories for c in role),
    )
    renamed = {"y": parameters["target"]}
    names = ReferenceNames(tuple(renamed.get(n, n) for n in names.reals), names.codes)
    state = convert_state(model.state_dict(), recipe.sizes(len(task.quantiles)), names)
    network.load_state_dict(state)
    return ConvertedTft(task, recipe, network), _snapshot(frame, roles, h)


def _check(model: Any, parameters: dict[str, Any]) -> None:
    normalizer = parameters["target_normalizer"]
    limits: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("target normalizer", type(normalizer).__name__, ("GroupNormalizer",)),
        ("normalizer method", getattr(normalizer, "method", None), ("standard",)),
        ("transformation", getattr(normalizer, "transformation", None), (None, "softplus", "relu")),
        ("scale_by_group", getattr(normalizer, "scale_by_group", None), (False,)),
        ("lags", parameters["lags"] or None, (None,)),
        ("loss", type(model.loss).__name__, ("QuantileLoss",)),
        ("widths by variable", dict(model.hparams.hidden_continuous_sizes), ({},)),
        ("groups of categories", dict(model.hparams.categorical_groups), ({},)),
        ("shared single-variable networks", model.hparams.share_single_variable_networks, (False,)),
        ("causal attention", model.hparams.causal_attention, (True,)),
    )
    for setting, value, supported in limits:
        if value not in supported:
            options = ", ".join(map(repr, supported))
            raise InvalidInput(f"the checkpoint has {setting} {value!r}; what can be converted has {options}")


def _to_panel_columns(frame: pd.DataFrame, parameters: dict[str, Any], times: str) -> pd.DataFrame:
    """Add unique_id, ds and y, and sort by them; a series of several group columns is called a/b."""
    groups = list(parameters["group_ids"])
    ids = frame[groups].astype(str).agg("/".join, axis=1)
    panel = frame.assign(
        **{ID: ids, DS: pd.to_datetime(frame[times]), Y: frame[parameters["target"]].astype(float)}
    )
    return panel.sort_values([ID, DS], ignore_index=True)


def _roles(model: Any, parameters: dict[str, Any]) -> Roles:
    special = {parameters["time_idx"], "relative_time_idx", "encoder_length", parameters["target"]}
    special |= {f"{parameters['target']}_center", f"{parameters['target']}_scale"}
    p = model.hparams

    def columns(*lists: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in lists for name in names if name not in special))

    futr = columns(p.time_varying_categoricals_decoder, p.time_varying_reals_decoder)
    observed = columns(p.time_varying_categoricals_encoder, p.time_varying_reals_encoder)
    return Roles(
        futr_exog=futr,
        hist_exog=tuple(name for name in observed if name not in futr),
        stat_exog=columns(p.static_categoricals, p.static_reals),
        categorical=columns(p.x_categoricals),
    )


def _recipe(model: Any, parameters: dict[str, Any], frame: pd.DataFrame, task: Task) -> ConversionRecipe:
    p, target = model.hparams, parameters["target"]
    kinds: dict[str, Kind] = {
        target: "target",
        f"{target}_center": "center",
        f"{target}_scale": "spread",
        parameters["time_idx"]: "time",
        "relative_time_idx": "relative_time",
        "encoder_length": "encoder_length",
    }

    def number(name: str) -> NumericInput:
        scaler = parameters["scalers"].get(name)
        mean, spread = (0.0, 1.0) if scaler is None else (float(scaler.mean_[0]), float(scaler.scale_[0]))
        return NumericInput(
            name=Y if name == target else name, kind=kinds.get(name, "column"), mean=mean, spread=spread
        )

    def category(name: str) -> CategoricalInput:
        classes = parameters["categorical_encoders"][name].classes_
        return CategoricalInput(
            name=name, values=tuple(str(v) for v, _ in sorted(classes.items(), key=lambda item: item[1]))
        )

    numbers = _by_role(p.static_reals, p.time_varying_reals_encoder, p.time_varying_reals_decoder)
    codes = _by_role(
        p.static_categoricals, p.time_varying_categoricals_encoder, p.time_varying_categoricals_decoder
    )
    first = frame.iloc[0]
    zero = task.frequency.shift(
        np.array([first[DS].to_datetime64().astype("datetime64[us]")]), -int(first[parameters["time_idx"]])
    )
    return ConversionRecipe(
        encoder_length=int(parameters["max_encoder_length"]),
        min_encoder_length=int(parameters["min_encoder_length"]),
        numbers=tuple(tuple(number(name) for name in role) for role in numbers),  # type: ignore[arg-type]
        categories=tuple(tuple(category(name) for name in role) for role in codes),  # type: ignore[arg-type]
        scales=_scales(parameters, frame),
        otherwise=_missing(parameters["target_normalizer"]),
        transformation=parameters["target_normalizer"].transformation or "none",
        time_zero=to_datetime(zero[0]),
        hidden=int(p.hidden_size),
        continuous=int(p.hidden_continuous_size),
        heads=int(p.attention_head_size),
        embeddings=tuple(
            (int(p.embedding_sizes[name][0]), int(p.embedding_sizes[name][1]))
            for role in codes
            for name in role
        ),
    )


def _by_role(
    static: list[str], encoder: list[str], decoder: list[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return static, known and observed names."""
    return list(static), list(decoder), [name for name in encoder if name not in decoder]


def _scales(parameters: dict[str, Any], frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return center and spread of each series of the frame."""
    normalizer, encoders = parameters["target_normalizer"], parameters["categorical_encoders"]
    series = frame.drop_duplicates(ID)
    keys = pd.DataFrame(
        {
            name: encoders.get(f"__group_id__{name}", encoders.get(name)).transform(series[name].astype(str))
            for name in normalizer.groups
        }
    )
    scales = [_scale(normalizer, tuple(int(code) for code in row)) for row in keys.to_numpy()]
    return dict(zip(series[ID], scales, strict=True))


def _scale(normalizer: Any, key: tuple[int, ...]) -> tuple[float, float]:
    """Return the library's scale of a group; the median group's where training did not have it."""
    label = key if len(key) > 1 else key[0]
    if label in normalizer.norm_.index:
        row = normalizer.norm_.loc[label]
        return float(row["center"]), float(row["scale"])
    return _missing(normalizer)


def _missing(normalizer: Any) -> tuple[float, float]:
    return float(normalizer.missing_["center"]), float(normalizer.missing_["scale"])


def _snapshot(frame: pd.DataFrame, roles: Roles, h: int) -> Snapshot:
    """Split the frame into histories and their last `h` steps, the horizon."""
    in_horizon = frame.groupby(ID).cumcount(ascending=False) < h
    history, future = frame[~in_horizon], frame[in_horizon]

    def table(rows: pd.DataFrame, columns: tuple[str, ...]) -> pa.Table:
        times = pa.array(rows[DS].to_numpy().astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
        values = {c: _column(rows[c], c in roles.categorical) for c in columns}
        return pa.table({ID: pa.array(rows[ID].tolist(), pa.string()), DS: times} | values)

    static = frame.drop_duplicates(ID)
    return Snapshot(
        table(history, (Y, *roles.hist_exog, *roles.futr_exog)),
        table(future, roles.futr_exog),
        table(static, roles.stat_exog).drop_columns([DS]),
    )


def _column(values: pd.Series, category: bool) -> pa.Array:
    return (
        pa.array(values.astype(str).tolist(), pa.string())
        if category
        else pa.array(values.to_numpy(np.float64))
    )


def difference(model: Any, forecaster: ConvertedTft, snapshot: Snapshot, frame: pd.DataFrame) -> float:
    """Return the largest difference between both systems' quantiles, relative for values above 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prediction = model.predict(
            frame,
            mode="quantiles",
            return_index=True,
            trainer_kwargs={"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        )
    groups = list(model.dataset_parameters["group_ids"])
    ids = prediction.index[groups].astype(str).agg("/".join, axis=1).tolist()
    library = {
        name: np.sort(rows, -1)
        for name, rows in zip(ids, prediction.output.double().cpu().numpy(), strict=True)
    }
    converted = forecaster.predict(snapshot)
    columns = [floats(converted[quantile_column(q)]) for q in sorted(forecaster.task.quantiles)]
    values = np.column_stack(columns).reshape(-1, forecaster.task.h, len(columns))
    expected = np.stack([library[name] for name in dict.fromkeys(converted[ID].to_pylist())])
    return float((np.abs(values - expected) / np.maximum(1.0, np.abs(expected))).max())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.families.tft.pytorch_forecasting.convert",
        description=(__doc__ or "").split("\n\n")[0],
    )
    parser.add_argument(
        "checkpoint", type=Path, help="a file that Lightning wrote; only of a maker whom you trust"
    )
    parser.add_argument("data", type=Path, help="Parquet or CSV")
    parser.add_argument("bundle", type=Path, help="the folder to make")
    parser.add_argument("--times", required=True, help="the column of times")
    parser.add_argument("--freq", required=True, help="of the series, such as h or D")
    arguments = parser.parse_args()
    from pytorch_forecasting import TemporalFusionTransformer

    read = pd.read_parquet if arguments.data.suffix == ".parquet" else pd.read_csv
    frame = read(arguments.data)
    model = TemporalFusionTransformer.load_from_checkpoint(
        arguments.checkpoint, map_location="cpu", weights_only=False
    ).eval()
    try:
        forecaster, snapshot = convert(model, frame, arguments.times, arguments.freq)
        gap = difference(model, forecaster, snapshot, frame)
        if not gap <= _CLOSE:
            raise InvalidInput(
                f"the converted model predicts {gap:.2g} off what the library predicts for the last steps of the "
                f"data, allowed are {_CLOSE:g}; bring the data that the model was trained on"
            )
        write_bundle(arguments.bundle, forecaster, snapshot)
    except QuantisError as error:
        sys.stderr.write(f"convert: {error.message}\n")
        return error.exit_code
    sys.stdout.write(f"{arguments.bundle}: predicts as the library does (largest difference {gap:.1g})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

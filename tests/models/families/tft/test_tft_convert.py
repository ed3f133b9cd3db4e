"""A checkpoint that pytorch-forecasting trained becomes a bundle that answers the same."""

from __future__ import annotations

import logging
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from models.arrays import floats
from models.families.tft.pytorch_forecasting import convert
from models.registry.bundle import read_bundle
from quantis.errors import InvalidInput

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore"),
]


def _frame() -> pd.DataFrame:
    noise, parts = np.random.default_rng(0), []
    days = pd.date_range("2020-01-01", periods=60)
    for number in range(4):
        steps = 60 - 13 * number  # the last one is shorter than an encoder
        parts.append(
            pd.DataFrame(
                {
                    "agency": f"a{number % 2}", "sku": f"k{number // 2}", "step": np.arange(60 - steps, 60),
                    "date": days[60 - steps :], "volume": noise.gamma(2, 10 * (number + 1), steps),
                    "price": noise.normal(5, 2, steps), "temp": noise.normal(size=steps),
                    "day": [str(day % 7) for day in range(steps)], "people": float(number),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _checkpoint(folder, frame: pd.DataFrame, normalizer=None, **changes):
    import torch
    from lightning.pytorch import Trainer
    from pytorch_forecasting import GroupNormalizer, TemporalFusionTransformer, TimeSeriesDataSet
    from pytorch_forecasting.metrics import QuantileLoss

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    normalizer = normalizer or GroupNormalizer(groups=["agency", "sku"], transformation="softplus")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        dataset = TimeSeriesDataSet(
            frame, time_idx="step", target="volume", group_ids=["agency", "sku"], max_encoder_length=20,
            min_encoder_length=8, max_prediction_length=5, min_prediction_length=1,
            static_categoricals=["agency", "sku"], static_reals=["people"],
            time_varying_known_categoricals=["day"], time_varying_known_reals=["step", "price"],
            time_varying_unknown_reals=["volume", "temp"], target_normalizer=normalizer,
            add_relative_time_idx=True, add_target_scales=True, add_encoder_length=True,
        )  # fmt: skip
        model = TemporalFusionTransformer.from_dataset(
            dataset, hidden_size=8, attention_head_size=2, hidden_continuous_size=4, output_size=3,
            loss=QuantileLoss([0.1, 0.5, 0.9]), learning_rate=0.03, **changes,
        )  # fmt: skip
        trainer = Trainer(
            max_steps=10, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(model, dataset.to_dataloader(train=True, batch_size=16))
    trainer.save_checkpoint(folder / "m.ckpt")
    return model.eval()


def test_when_a_checkpoint_is_converted_then_the_bundle_predicts_what_the_library_does(
    tmp_path, monkeypatch, capsys
):
    frame = _frame()
    model = _checkpoint(tmp_path, frame)
    frame.to_parquet(tmp_path / "frame.parquet")
    paths = [str(tmp_path / name) for name in ("m.ckpt", "frame.parquet", "bundle")]
    monkeypatch.setattr(sys, "argv", ["convert", *paths, "--times", "date", "--freq", "D"])
    assert convert.main() == 0
    assert "predicts as the library does" in capsys.readouterr().out
    found = read_bundle(tmp_path / "bundle")
    forecaster, snapshot = convert.convert(model, frame, "date", "D")
    ours, restored = forecaster.predict(snapshot), found.predict(snapshot)
    assert np.allclose(floats(ours["q0.5"]), floats(restored["q0.5"]), rtol=1e-5)
    assert convert.difference(model, forecaster, snapshot, frame) < 1e-4
    assert ours["unique_id"].to_pylist()[::5] == ["a0/k0", "a0/k1", "a1/k0", "a1/k1"]


def test_when_a_checkpoint_cannot_be_held_then_it_says_what_is_in_the_way(tmp_path):
    from pytorch_forecasting import EncoderNormalizer

    frame = _frame()
    model = _checkpoint(tmp_path, frame, EncoderNormalizer())
    with pytest.raises(InvalidInput, match="has target normalizer 'EncoderNormalizer'"):
        convert.convert(model, frame, "date", "D")
    with pytest.raises(InvalidInput, match="several LSTM layers"):
        convert.convert(_checkpoint(tmp_path, frame, lstm_layers=2), frame, "date", "D")

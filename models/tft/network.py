"""pytorch-forecasting's Temporal Fusion Transformer, built from explicit sizes instead of a TimeSeriesDataSet."""

from __future__ import annotations

import warnings

import torch
from pytorch_forecasting.metrics import QuantileLoss
from pytorch_forecasting.models import TemporalFusionTransformer
from torch import nn

from models.tft.encoding import Encoding
from models.tft.windows import Batch
from quantis.types.jobs import TftParams


class QuantileNetwork(nn.Module):
    """The transformer with one plain tensor as its output, which DistributedDataParallel can follow.

    Source: Lim et al., Temporal Fusion Transformers for interpretable multi-horizon forecasting, 2021.
    """

    def __init__(self, params: TftParams, encoding: Encoding, quantiles: tuple[float, ...]) -> None:
        super().__init__()
        with warnings.catch_warnings():  # about hyperparameters that are modules; none is saved as such here
            warnings.filterwarnings("ignore", message="Attribute '.*' is an instance of `nn.Module`")
            self.transformer = _transformer(params, encoding, quantiles)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Scaled quantiles. Shape [batch, h, quantiles]."""
        prediction: torch.Tensor = self.transformer(batch)["prediction"]
        return prediction


def quantile_loss(quantiles: tuple[float, ...], forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """pytorch-forecasting's QuantileLoss, averaged over the observed targets. `forecast` [batch, h, quantiles]."""
    observed = torch.isfinite(target)
    losses: torch.Tensor = QuantileLoss(list(quantiles)).loss(forecast, torch.nan_to_num(target))
    return losses[observed].mean()


def _transformer(params: TftParams, encoding: Encoding, quantiles: tuple[float, ...]) -> nn.Module:
    # Columns may be called anything; torch's module names may not.
    reals = {name: f"real{index}" for index, name in enumerate(encoding.reals.all)}
    codes = {name: f"code{index}" for index, name in enumerate(encoding.codes.all)}
    sizes = dict(zip(codes.values(), encoding.code_sizes, strict=True))
    network: nn.Module = TemporalFusionTransformer(
        hidden_size=params.hidden_size,
        hidden_continuous_size=max(2, params.hidden_size // 2),
        attention_head_size=params.attention_heads,
        dropout=params.dropout,
        max_encoder_length=params.encoder_length,
        output_size=len(quantiles),
        loss=QuantileLoss(list(quantiles)),
        logging_metrics=nn.ModuleList(),
        output_transformer=_as_it_is,
        x_reals=list(reals.values()),
        x_categoricals=list(codes.values()),
        embedding_sizes={name: (size, min(size, params.hidden_size)) for name, size in sizes.items()},
        static_reals=[reals[name] for name in encoding.reals.static],
        static_categoricals=[codes[name] for name in encoding.codes.static],
        time_varying_reals_decoder=[reals[name] for name in encoding.reals.known],
        time_varying_reals_encoder=[reals[n] for n in encoding.reals.known + encoding.reals.observed],
        time_varying_categoricals_decoder=[codes[name] for name in encoding.codes.known],
        time_varying_categoricals_encoder=[codes[n] for n in encoding.codes.known + encoding.codes.observed],
    )
    return network


def _as_it_is(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["prediction"]

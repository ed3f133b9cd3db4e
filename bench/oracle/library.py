"""pytorch-forecasting as its users run it: its datasets, loaders, transformer and trainer, at the sizes of ours.

Only tests and benchmarks call it; the platform itself reads the library's weights (`reference.convert_state`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bench.oracle.panel import TimeSeriesLayout
from models.families.tft.network import NetworkSizes
from models.families.tft.pytorch_forecasting.reference import ROLE_SPANS, ReferenceNames
from quantis.types.job_specs import TftParams


def reference_network(sizes: NetworkSizes, encoder_length: int, quantiles: Sequence[float]) -> nn.Module:
    """Build the library's module of these sizes; its prediction is the network's own output."""
    from pytorch_forecasting.metrics import QuantileLoss
    from pytorch_forecasting.models import TemporalFusionTransformer

    names = ReferenceNames.numbered(sizes)
    roles = {role: names.of_roles(sizes, *span) for role, span in ROLE_SPANS.items()}
    with warnings.catch_warnings():  # about hyperparameters that are modules; none is saved as such here
        warnings.filterwarnings("ignore", message="Attribute '.*' is an instance of `nn.Module`")
        network: nn.Module = TemporalFusionTransformer(
            hidden_size=sizes.hidden,
            hidden_continuous_size=sizes.continuous,
            attention_head_size=sizes.heads,
            dropout=sizes.dropout,
            max_encoder_length=encoder_length,
            output_size=sizes.quantiles,
            loss=QuantileLoss(list(quantiles)),
            logging_metrics=nn.ModuleList(),
            output_transformer=_prediction,
            x_reals=list(names.reals),
            x_categoricals=list(names.codes),
            embedding_sizes=dict(zip(names.codes, sizes.codes, strict=True)),
            static_reals=roles["static"][0],
            static_categoricals=roles["static"][1],
            time_varying_reals_decoder=roles["decoder"][0],
            time_varying_reals_encoder=roles["encoder"][0],
            time_varying_categoricals_decoder=roles["decoder"][1],
            time_varying_categoricals_encoder=roles["encoder"][1],
        )
    return network


def _prediction(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["prediction"]


def reference_loader(frame: Any, layout: TimeSeriesLayout, batch_size: int, train: bool = False) -> Any:
    """Build the library's loader over a pandas frame, in the order of its index unless `train`."""
    return reference_dataset(frame, layout).to_dataloader(train=train, batch_size=batch_size, num_workers=0)


def reference_dataset(frame: Any, layout: TimeSeriesLayout) -> Any:
    from pytorch_forecasting import GroupNormalizer, TimeSeriesDataSet

    return TimeSeriesDataSet(
        frame,
        time_idx=layout.time_idx,
        target=layout.target,
        group_ids=[layout.group_id],
        max_encoder_length=layout.max_encoder_length,
        min_encoder_length=layout.min_encoder_length,
        max_prediction_length=layout.max_prediction_length,
        min_prediction_length=layout.min_prediction_length,
        static_categoricals=list(layout.static_categoricals),
        static_reals=list(layout.static_reals),
        time_varying_known_categoricals=list(layout.known_categoricals),
        time_varying_known_reals=list(layout.known_reals),
        time_varying_unknown_categoricals=list(layout.unknown_categoricals),
        time_varying_unknown_reals=list(layout.unknown_reals),
        target_normalizer=GroupNormalizer(groups=[layout.group_id]),
        allow_missing_timesteps=layout.allow_missing_timesteps,
        add_relative_time_idx=layout.add_relative_time_idx,
        add_target_scales=layout.add_target_scales,
        add_encoder_length=layout.add_encoder_length,
    )


def reference_model(dataset: Any, params: TftParams, quantiles: Sequence[float]) -> Any:
    """Build the library's transformer as its users do, of the same size as ours."""
    from pytorch_forecasting import TemporalFusionTransformer
    from pytorch_forecasting.metrics import QuantileLoss

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attribute '.*' is an instance of `nn.Module`")
        return TemporalFusionTransformer.from_dataset(
            dataset,
            hidden_size=params.hidden_size,
            hidden_continuous_size=max(2, params.hidden_size // 2),
            attention_head_size=params.attention_heads,
            dropout=params.dropout,
            learning_rate=params.learning_rate,
            output_size=len(quantiles),
            loss=QuantileLoss(list(quantiles)),
            logging_metrics=nn.ModuleList(),
        ).eval()


def reference_trainer(steps: int) -> Any:
    """Build a silent Lightning trainer for so many steps on CPU."""
    from lightning.pytorch import Trainer

    return Trainer(
        max_steps=steps,
        accelerator="cpu",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

"""pytorch-forecasting's Temporal Fusion Transformer: the reference, and how its weights become ours.

Bundles written before our own network hold that library's names; `convert_state` reads them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.families.tft.network import NetworkSizes
from models.families.tft.pytorch_forecasting.panel import TimeSeriesLayout
from quantis.errors import InvalidInput
from quantis.types.job_specs import TftParams

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class ReferenceNames:
    """The reference's names of the inputs, in our order: static, known, observed."""

    reals: tuple[str, ...]
    codes: tuple[str, ...]

    @classmethod
    def numbered(cls, sizes: NetworkSizes) -> ReferenceNames:
        """As bundles have them: columns may be called anything, torch's module names may not."""
        reals, codes = sum(sizes.reals), len(sizes.codes)
        return cls(tuple(f"real{i}" for i in range(reals)), tuple(f"code{i}" for i in range(codes)))

    def of_roles(self, sizes: NetworkSizes, first: int, last: int) -> tuple[list[str], list[str]]:
        """Numbers and codes of the roles from `first` to before `last`."""
        reals, codes = (
            slice(sum(counts[:first]), sum(counts[:last])) for counts in (sizes.reals, sizes.codes_by_role)
        )
        return list(self.reals[reals]), list(self.codes[codes])


def reference_network(sizes: NetworkSizes, encoder_length: int, quantiles: Sequence[float]) -> nn.Module:
    """The library's own module of these sizes, its prediction as it comes out of the network."""
    from pytorch_forecasting.metrics import QuantileLoss
    from pytorch_forecasting.models import TemporalFusionTransformer

    names = ReferenceNames.numbered(sizes)
    roles = {role: names.of_roles(sizes, *span) for role, span in _SPANS.items()}
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
            output_transformer=_as_it_is,
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


def convert_state(
    state: StateDict, sizes: NetworkSizes, names: ReferenceNames | None = None
) -> dict[str, torch.Tensor]:
    """The state of our `TftNetwork` from the state of the library's transformer.

    InvalidInput when it is a variant that our network does not have.
    """
    names = names or ReferenceNames.numbered(sizes)
    if any("_l1" in name for name in state) or "output_layer.0.weight" in state:
        raise InvalidInput(
            "the checkpoint has several LSTM layers or targets; only one layer and one target can be converted"
        )
    found = {
        f"embeddings.{i}": state[f"input_embeddings.embeddings.{n}.weight"] for i, n in enumerate(names.codes)
    }
    found["slope"] = torch.stack([state[f"prescalers.{n}.weight"][:, 0] for n in names.reals])
    found["level"] = torch.stack([state[f"prescalers.{n}.bias"] for n in names.reals])
    for side, span in _SPANS.items():
        reals, codes = names.of_roles(sizes, *span)
        found |= _selection(state, f"{side}_variable_selection", f"{side}_selection", reals, codes)
    for old, new in _BLOCKS.items():
        found |= _block(state, old, new)
    if sum(sizes.reals[1:]) + sum(sizes.codes_by_role[1:]) == 1:
        found = {name: value for name, value in found.items() if not name.startswith("selection_context.")}
    return found | _attention(state)


_SPANS = {"static": (0, 1), "encoder": (1, 3), "decoder": (1, 2)}
_BLOCKS = {
    "static_context_variable_selection": "selection_context",
    "static_context_initial_hidden_lstm": "initial_hidden",
    "static_context_initial_cell_lstm": "initial_cell",
    "static_context_enrichment": "enrichment_context",
    "lstm_encoder": "encoder_lstm",
    "lstm_decoder": "decoder_lstm",
    "post_lstm_gate_encoder.fc": "local_gate.glu",
    "post_lstm_add_norm_encoder.norm": "local_gate.norm",
    "static_enrichment": "enrichment",
    "post_attn_gate_norm": "attention_gate",
    "pos_wise_ff": "feed_forward",
    "pre_output_gate_norm": "last_gate",
    "output_layer": "output",
}
_INNER = {
    "gate_norm.glu.fc": "gate.glu",
    "gate_norm.add_norm.norm": "gate.norm",
    "glu.fc": "glu",
    "add_norm.norm": "norm",
}
_OF_NUMBERS = {
    "fc1.weight": "fc1", "fc1.bias": "bias1", "fc2.weight": "fc2", "fc2.bias": "bias2",
    "gate_norm.glu.fc.weight": "glu", "gate_norm.glu.fc.bias": "bias_glu",
    "gate_norm.add_norm.norm.weight": "gamma", "gate_norm.add_norm.norm.bias": "beta",
    "resample_norm.mask": "skip_mask",
    "resample_norm.norm.weight": "skip_gamma", "resample_norm.norm.bias": "skip_beta",
}  # fmt: skip
_OF_CODES = {"mask": "mask", "norm.weight": "gamma", "norm.bias": "beta"}


def _block(state: StateDict, old: str, new: str) -> dict[str, torch.Tensor]:
    """Everything under `old`, renamed."""
    found = {}
    for name, value in state.items():
        if not name.startswith(f"{old}."):
            continue
        inner = name[len(old) + 1 :]
        for theirs, ours in _INNER.items():
            if inner.startswith(f"{theirs}."):
                inner = ours + inner[len(theirs) :]
                break
        found[f"{new}.{inner}"] = value
    return found


def _selection(
    state: StateDict, old: str, new: str, reals: list[str], codes: list[str]
) -> dict[str, torch.Tensor]:
    found = {}
    for names, inner, ours in ((reals, _OF_NUMBERS, "of_numbers"), (codes, _OF_CODES, "of_codes")):
        for theirs, name in inner.items() if names else ():
            keys = [f"{old}.single_variable_grns.{variable}.{theirs}" for variable in names]
            if keys[0] in state:
                found[f"{new}.{ours}.{name}"] = torch.stack([state[key] for key in keys])
    weights = _block(state, f"{old}.flattened_grn", f"{new}.weights")
    for name, value in weights.items():
        found[name.replace("resample_norm.mask", "skip_mask").replace("resample_norm.norm", "skip_norm")] = (
            value
        )
    return found


def _attention(state: StateDict) -> dict[str, torch.Tensor]:
    found = {"attention.out.weight": state["multihead_attn.w_h.weight"]}
    heads = range(sum(n.startswith("multihead_attn.q_layers.") and n.endswith(".weight") for n in state))
    for kind in ("weight", "bias"):
        queries, keys = (
            [state[f"multihead_attn.{letter}_layers.{head}.{kind}"] for head in heads] for letter in "qk"
        )
        found[f"attention.query.{kind}"] = torch.cat(queries)
        found[f"attention.key_value.{kind}"] = torch.cat([*keys, state[f"multihead_attn.v_layer.{kind}"]])
    return found


def _as_it_is(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["prediction"]


def reference_loader(frame: Any, layout: TimeSeriesLayout, batch_size: int, train: bool = False) -> Any:
    """The library's own loader over a pandas frame, in the order of its index unless `train`."""
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
    """The library's transformer as its users build it, of the same size as ours."""
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
    """A silent Lightning trainer for so many steps on CPU."""
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

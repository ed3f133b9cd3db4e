"""The weights of pytorch-forecasting's Temporal Fusion Transformer, the reference, converted to our network's.

Bundles written before our own network hold that library's names; `convert_state` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from models.families.tft.network import NetworkSizes
from quantis.errors import InvalidInput

StateDict = Mapping[str, torch.Tensor]
# roles are static, known and observed; the first that a variable selection reads, and the one after its last
ROLE_SPANS = {"static": (0, 1), "encoder": (1, 3), "decoder": (1, 2)}


@dataclass(frozen=True)
class ReferenceNames:
    """Names of the inputs in the reference, in our order: static, known, observed."""

    reals: tuple[str, ...]
    codes: tuple[str, ...]

    @classmethod
    def numbered(cls, sizes: NetworkSizes) -> ReferenceNames:
        """Return numbered names, as in older bundles: a column's name may not be a legal name of a torch module."""
        reals, codes = sum(sizes.reals), len(sizes.codes)
        return cls(tuple(f"real{i}" for i in range(reals)), tuple(f"code{i}" for i in range(codes)))

    def of_roles(self, sizes: NetworkSizes, first: int, last: int) -> tuple[list[str], list[str]]:
        """Return names of numbers and codes of the roles from `first` to before `last`."""
        reals, codes = (
            slice(sum(counts[:first]), sum(counts[:last])) for counts in (sizes.reals, sizes.codes_by_role)
        )
        return list(self.reals[reals]), list(self.codes[codes])


def convert_state(
    state: StateDict, sizes: NetworkSizes, names: ReferenceNames | None = None
) -> dict[str, torch.Tensor]:
    """Return the state of our `TftNetwork` from the state of the library's transformer.

    Raises
    ------
    InvalidInput
        For a variant that our network does not have.
    """
    names = names or ReferenceNames.numbered(sizes)
    if any("_l1" in name for name in state) or "output_layer.0.weight" in state:
        raise InvalidInput(
            "the checkpoint has several LSTM layers or targets; only one layer and one target can be converted"
        )
    converted = {
        f"embeddings.{i}": state[f"input_embeddings.embeddings.{n}.weight"] for i, n in enumerate(names.codes)
    }
    converted["slope"] = torch.stack([state[f"prescalers.{n}.weight"][:, 0] for n in names.reals])
    converted["level"] = torch.stack([state[f"prescalers.{n}.bias"] for n in names.reals])
    for side, span in ROLE_SPANS.items():
        reals, codes = names.of_roles(sizes, *span)
        converted |= _selection(state, f"{side}_variable_selection", f"{side}_selection", reals, codes)
    for old, new in _BLOCKS.items():
        converted |= _block(state, old, new)
    if sum(sizes.reals[1:]) + sum(sizes.codes_by_role[1:]) == 1:
        converted = {
            name: value for name, value in converted.items() if not name.startswith("selection_context.")
        }
    return converted | _attention(state)


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
_NUMERIC = {
    "fc1.weight": "fc1", "fc1.bias": "bias1", "fc2.weight": "fc2", "fc2.bias": "bias2",
    "gate_norm.glu.fc.weight": "glu", "gate_norm.glu.fc.bias": "bias_glu",
    "gate_norm.add_norm.norm.weight": "gamma", "gate_norm.add_norm.norm.bias": "beta",
    "resample_norm.mask": "skip_mask",
    "resample_norm.norm.weight": "skip_gamma", "resample_norm.norm.bias": "skip_beta",
}  # fmt: skip
_CATEGORICAL = {"mask": "mask", "norm.weight": "gamma", "norm.bias": "beta"}


def _block(state: StateDict, old: str, new: str) -> dict[str, torch.Tensor]:
    """Return the tensors under `old`, renamed to ours under `new`."""
    converted = {}
    for name, value in state.items():
        if not name.startswith(f"{old}."):
            continue
        inner = name[len(old) + 1 :]
        for library_name, own_name in _INNER.items():
            if inner.startswith(f"{library_name}."):
                inner = own_name + inner[len(library_name) :]
                break
        converted[f"{new}.{inner}"] = value
    return converted


def _selection(
    state: StateDict, old: str, new: str, reals: list[str], codes: list[str]
) -> dict[str, torch.Tensor]:
    """Stack the networks of single variables by kind, and rename the network over all of them."""
    converted = {}
    for names, inner, own_name in ((reals, _NUMERIC, "of_numbers"), (codes, _CATEGORICAL, "of_codes")):
        for library_name, name in inner.items() if names else ():
            keys = [f"{old}.single_variable_grns.{variable}.{library_name}" for variable in names]
            if keys[0] in state:
                converted[f"{new}.{own_name}.{name}"] = torch.stack([state[key] for key in keys])
    weights = _block(state, f"{old}.flattened_grn", f"{new}.weights")
    for name, value in weights.items():
        converted[
            name.replace("resample_norm.mask", "skip_mask").replace("resample_norm.norm", "skip_norm")
        ] = value
    return converted


def _attention(state: StateDict) -> dict[str, torch.Tensor]:
    """Join the heads' separate layers, keys and the shared value in one."""
    converted = {"attention.out.weight": state["multihead_attn.w_h.weight"]}
    heads = range(sum(n.startswith("multihead_attn.q_layers.") and n.endswith(".weight") for n in state))
    for kind in ("weight", "bias"):
        queries, keys = (
            [state[f"multihead_attn.{letter}_layers.{head}.{kind}"] for head in heads] for letter in "qk"
        )
        converted[f"attention.query.{kind}"] = torch.cat(queries)
        converted[f"attention.key_value.{kind}"] = torch.cat([*keys, state[f"multihead_attn.v_layer.{kind}"]])
    return converted

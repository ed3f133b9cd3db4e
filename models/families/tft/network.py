"""The Temporal Fusion Transformer: pytorch-forecasting's arithmetic with less work (`reference.py` maps its weights).

Source: Lim et al., Temporal Fusion Transformers for interpretable multi-horizon forecasting, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import nn

from models.families.tft.input_encoding import InputEncoding
from models.families.tft.layers import (
    GatedAddNorm,
    GatedResidualNetwork,
    InterpretableAttention,
    SegmentedLstm,
)
from models.families.tft.shared_encoder import UNSHARED, OriginSharing
from models.families.tft.variable_selection import VariableSelection
from quantis.types.job_specs import TftParams

Batch = dict[str, torch.Tensor]
_INITIAL_OUTPUT_SCALE = 0.1


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of all layers; `codes` are (codes, embedding) of every categorical input, static ones first."""

    hidden: int
    continuous: int
    heads: int
    dropout: float
    quantiles: int
    reals: tuple[int, int, int]  # static, known, observed
    codes_by_role: tuple[int, int, int]
    codes: tuple[tuple[int, int], ...]

    @classmethod
    def from_params(
        cls, params: TftParams, encoding: InputEncoding, quantiles: tuple[float, ...]
    ) -> NetworkSizes:
        reals, codes = (
            (len(inputs.static), len(inputs.known), len(inputs.observed))
            for inputs in (encoding.reals, encoding.codes)
        )
        embeddings = tuple((size, min(size, params.hidden_size)) for size in encoding.code_sizes)
        return cls(
            params.hidden_size,
            max(2, params.hidden_size // 2),
            params.attention_heads,
            params.dropout,
            len(quantiles),
            reals,
            codes,
            embeddings,
        )


@dataclass(frozen=True)
class NetworkOutput:
    """Quantiles with the weights behind them; these are by variable, categories first.

    quantiles [batch, h, quantiles], attention [batch, h, heads, encoder + h], static [batch, variables],
    encoder [batch, encoder, variables], decoder [batch, h, variables].
    """

    quantiles: torch.Tensor
    attention: torch.Tensor
    static: torch.Tensor
    encoder: torch.Tensor
    decoder: torch.Tensor


class TftNetwork(nn.Module):
    """The transformer from explicit sizes; horizons are all of one length, histories may be shorter."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, dropout = sizes.hidden, sizes.dropout
        self.embeddings = nn.ParameterList([torch.randn(size) for size in sizes.codes])
        self.slope = nn.Parameter(torch.empty(sum(sizes.reals), sizes.continuous).uniform_(-1, 1))
        self.level = nn.Parameter(torch.empty(sum(sizes.reals), sizes.continuous).uniform_(-1, 1))
        self.static_selection, self.encoder_selection, self.decoder_selection = (
            self._selection(first, last) for first, last in ((0, 1), (1, 3), (1, 2))
        )
        self.selection_context = (
            GatedResidualNetwork(hidden, dropout) if self.encoder_selection.count > 1 else None
        )
        self.initial_hidden, self.initial_cell = (
            GatedResidualNetwork(hidden, dropout),
            GatedResidualNetwork(hidden, dropout),
        )
        self.enrichment_context = GatedResidualNetwork(hidden, dropout)
        self.encoder_lstm, self.decoder_lstm = SegmentedLstm(hidden), SegmentedLstm(hidden)
        self.local_gate = GatedAddNorm(hidden, hidden, dropout)
        self.enrichment = GatedResidualNetwork(hidden, dropout, context=True)
        self.attention = InterpretableAttention(hidden, sizes.heads, dropout)
        self.attention_gate = GatedAddNorm(hidden, hidden, dropout)
        self.feed_forward = GatedResidualNetwork(hidden, dropout)
        self.last_gate = GatedAddNorm(hidden, hidden, None)
        self.output = nn.Linear(hidden, sizes.quantiles)

    def _selection(self, first: int, last: int) -> VariableSelection:
        """Return a selection over the inputs of the roles from `first` to before `last`."""
        sizes = self.sizes
        embeddings = [width for _, width in sizes.codes[_span(sizes.codes_by_role, first, last)]]
        return VariableSelection(
            embeddings,
            sum(sizes.reals[first:last]),
            sizes.continuous,
            sizes.hidden,
            sizes.dropout,
            context=first > 0,
        )

    def forward(self, batch: Batch, sharing: OriginSharing = UNSHARED) -> torch.Tensor:
        """Return scaled quantiles. Shape [batch x origins, h, quantiles]."""
        local, steps, span, before, _ = self._before_attention(batch, sharing)
        horizon = span.by_origin(steps)
        attended = self.attention(
            horizon, span.by_encoder(self.attention.key_value(steps)), span.attention_mask(before)
        )
        return self._after_attention(attended, horizon, local, span)

    def forward_with_weights(self, batch: Batch) -> NetworkOutput:
        """Return the quantiles with the weights of variables and attention, for unshared windows."""
        local, steps, span, before, weights = self._before_attention(batch, UNSHARED)
        horizon = span.by_origin(steps)
        attended, attention = self.attention.forward_with_weights(
            horizon, self.attention.key_value(steps), span.attention_mask(before)
        )
        return NetworkOutput(self._after_attention(attended, horizon, local, span), attention, *weights)

    def _before_attention(
        self, batch: Batch, sharing: OriginSharing
    ) -> tuple[torch.Tensor, torch.Tensor, _Span, torch.Tensor, list[torch.Tensor]]:
        """Return the steps after LSTM and enrichment, their span, the padding in front, and variable weights."""
        context_length = batch["encoder_cont"].shape[1] - sharing.reach
        before = context_length - batch["encoder_lengths"]
        static, static_weights = self._static(batch)
        context = None if self.selection_context is None else self.selection_context(static)
        encoded, encoder_weights = self._select(self.encoder_selection, batch, "encoder", 3, context)
        decoded, decoder_weights = self._select(self.decoder_selection, batch, "decoder", 2, context)
        span = _Span(len(static), context_length, decoded.shape[1] - sharing.reach, sharing)
        selected = torch.cat([encoded, span.horizons(decoded)], dim=1)
        local = self.local_gate(self._recurrent(selected, static, before, span), selected)
        steps = self.enrichment(local, self.enrichment_context(static))
        return local, steps, span, before, [static_weights, encoder_weights, decoder_weights]

    def _after_attention(
        self, attended: torch.Tensor, horizon: torch.Tensor, local: torch.Tensor, span: _Span
    ) -> torch.Tensor:
        mixed = self.feed_forward(self.attention_gate(attended, horizon))
        quantiles: torch.Tensor = self.output(self.last_gate(mixed, span.by_origin(local)))
        return quantiles

    def _static(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a vector per sample and its weights. Shapes [batch, hidden] and [batch, variables]."""
        x, codes = batch["static_cont"][:, None], batch["static_cat"][:, None]
        rows = list(self.embeddings)[: self.sizes.codes_by_role[0]]
        if self.training:  # a batch has fewer rows than there are codes, of series above all
            rows = [row[codes[:, 0, i]] for i, row in enumerate(rows)]
            codes = torch.arange(len(x), device=x.device)[:, None, None].expand(-1, 1, len(rows))
        folded = self.static_selection.folded(rows, *self._affine(0, 1))
        selected, weights = self.static_selection(x, codes, rows, folded)
        return selected[:, 0], weights[:, 0]

    def _select(
        self, selection: VariableSelection, batch: Batch, side: str, last: int, context: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        reals, codes = (_span(by_role, 1, last) for by_role in (self.sizes.reals, self.sizes.codes_by_role))
        x = batch[f"{side}_cont"][..., : reals.stop - reals.start]
        side_codes = batch[f"{side}_cat"][..., : codes.stop - codes.start]
        rows = list(self.embeddings)[codes]
        folded = selection.folded(rows, *self._affine(1, last))
        selected, weights = selection(x, side_codes, rows, folded, context)
        return selected, weights

    def _affine(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return slope and level, [numbers, continuous] each, by which the numbers of these roles enter."""
        reals = _span(self.sizes.reals, first, last)
        return self.slope[reals], self.level[reals]

    def _recurrent(
        self, selected: torch.Tensor, static: torch.Tensor, before: torch.Tensor, span: _Span
    ) -> torch.Tensor:
        """Run both LSTMs over `selected` [batch, encoder + reach + origins x h, hidden]. Shape as `selected`."""
        state = (self.initial_hidden(static)[None], self.initial_cell(static)[None])
        encoder, state = self.encoder_lstm.run(selected[:, : span.encoder], state, before, span.stops)
        decoder, _ = self.decoder_lstm(span.by_origin(selected), state)
        return torch.cat([encoder, decoder.reshape(span.batch, -1, encoder.shape[2])], dim=1)


@dataclass(frozen=True)
class _Span:
    """Positions of origins and horizons among the steps: `context` before the first origin, `h` after each."""

    batch: int
    context: int
    h: int
    sharing: OriginSharing

    @property
    def encoder(self) -> int:
        """Number of steps until the last origin."""
        return self.context + self.sharing.reach

    @property
    def stops(self) -> range:
        """Origins as steps of the encoder."""
        return range(self.context, self.encoder + 1, self.sharing.stride)

    def horizons(self, decoded: torch.Tensor) -> torch.Tensor:
        """Lay out [batch, reach + h, n] as one horizon after the other: [batch, origins x h, n]."""
        if self.sharing.origins == 1:
            return decoded
        return decoded.unfold(1, self.h, self.sharing.stride).transpose(2, 3).flatten(1, 2)

    def by_origin(self, steps: torch.Tensor) -> torch.Tensor:
        """Return the horizons of [batch, encoder + origins x h, n]. Shape [batch x origins, h, n]."""
        return steps[:, self.encoder :].reshape(-1, self.h, steps.shape[2])

    def by_encoder(self, steps: torch.Tensor) -> torch.Tensor:
        """Return each origin's own encoder and horizon. Shape [batch x origins, context + h, n]."""
        if self.sharing.origins == 1:
            return steps
        before = steps[:, : self.encoder].unfold(1, self.context, self.sharing.stride).transpose(2, 3)
        return torch.cat([before.flatten(0, 1), self.by_origin(steps)], dim=1)

    def attention_mask(self, before: torch.Tensor) -> torch.Tensor:
        """Mask padding, the step itself and all later ones. Shape [batch x origins or 1, h, context + h]."""
        device = before.device
        not_earlier = torch.ones(self.h, self.h, dtype=torch.bool, device=device).triu()
        origins = torch.arange(self.sharing.origins, device=device) * self.sharing.stride
        unused = (before[:, None] - origins).flatten()[:, None, None]
        padding = torch.arange(self.context, device=device) < unused  # [batch x origins, 1, context]
        if not bool(before.any()):  # one mask serves the whole batch
            padding = padding[:1]
        return torch.cat([padding.expand(-1, self.h, -1), not_earlier.expand(len(padding), -1, -1)], dim=2)


class QuantileNetwork(TftNetwork):
    """The network of a task; before training its output is close to the quantiles of a standard normal target."""

    def __init__(self, params: TftParams, encoding: InputEncoding, quantiles: tuple[float, ...]) -> None:
        super().__init__(NetworkSizes.from_params(params, encoding, quantiles))
        with torch.no_grad():
            self.output.weight.mul_(_INITIAL_OUTPUT_SCALE)
            self.output.bias.copy_(torch.tensor([NormalDist().inv_cdf(level) for level in quantiles]))


def pinball(quantiles: tuple[float, ...], forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return twice the pinball loss, summed over observed targets and averaged over quantiles.

    `forecast` [batch, h, quantiles], `target` [batch, h].
    """
    levels = torch.tensor(quantiles, dtype=forecast.dtype, device=forecast.device)
    errors = (target[..., None] - forecast).nan_to_num(0.0)
    return 2 / len(quantiles) * torch.maximum((levels - 1) * errors, levels * errors).sum()


def _span(counts: tuple[int, int, int], first: int, last: int) -> slice:
    return slice(sum(counts[:first]), sum(counts[:last]))

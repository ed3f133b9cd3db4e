"""The Temporal Fusion Transformer: pytorch-forecasting's arithmetic with less work (`reference.py` maps its weights).

Source: Lim et al., Temporal Fusion Transformers for interpretable multi-horizon forecasting, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.tft.encoding import Encoding
from models.tft.layers import Attention, Gate, GatedResidual, Recurrence
from models.tft.selection import Selection
from models.tft.windows import Batch
from quantis.types.jobs import TftParams


@dataclass(frozen=True)
class Sizes:
    """How wide everything is; `codes` are (how many, embedding) of every categorical input, static ones first."""

    hidden: int
    continuous: int
    heads: int
    dropout: float
    quantiles: int
    reals: tuple[int, int, int]  # static, known, observed
    codes_by_role: tuple[int, int, int]
    codes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, params: TftParams, encoding: Encoding, quantiles: tuple[float, ...]) -> Sizes:
        reals, codes = (
            (len(inputs.static), len(inputs.known), len(inputs.observed))
            for inputs in (encoding.reals, encoding.codes)
        )
        embeddings = tuple((size, min(size, params.hidden_size)) for size in encoding.code_sizes)
        return cls(
            params.hidden_size, max(2, params.hidden_size // 2), params.attention_heads, params.dropout,
            len(quantiles), reals, codes, embeddings,
        )  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the network says and what it looked at; weights are by variable, categories first.

    quantiles [batch, h, quantiles], attention [batch, h, heads, encoder + h], static [batch, variables],
    encoder [batch, encoder, variables], decoder [batch, h, variables].
    """

    quantiles: torch.Tensor
    attention: torch.Tensor
    static: torch.Tensor
    encoder: torch.Tensor
    decoder: torch.Tensor


class Network(nn.Module):
    """The transformer from explicit sizes; horizons are all of one length, histories may be shorter."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, dropout = sizes.hidden, sizes.dropout
        self.embeddings = nn.ParameterList([torch.randn(size) for size in sizes.codes])
        self.slope = nn.Parameter(torch.empty(sum(sizes.reals), sizes.continuous).uniform_(-1, 1))
        self.level = nn.Parameter(torch.empty(sum(sizes.reals), sizes.continuous).uniform_(-1, 1))
        self.static_selection, self.encoder_selection, self.decoder_selection = (
            self._selection(first, last) for first, last in ((0, 1), (1, 3), (1, 2))
        )
        self.selection_context = GatedResidual(hidden, dropout) if self.encoder_selection.count > 1 else None
        self.initial_hidden, self.initial_cell = (
            GatedResidual(hidden, dropout),
            GatedResidual(hidden, dropout),
        )
        self.enrichment_context = GatedResidual(hidden, dropout)
        self.encoder_lstm, self.decoder_lstm = Recurrence(hidden), Recurrence(hidden)
        self.local_gate = Gate(hidden, hidden, dropout)
        self.enrichment = GatedResidual(hidden, dropout, context=True)
        self.attention = Attention(hidden, sizes.heads, dropout)
        self.attention_gate = Gate(hidden, hidden, dropout)
        self.feed_forward = GatedResidual(hidden, dropout)
        self.last_gate = Gate(hidden, hidden, None)
        self.output = nn.Linear(hidden, sizes.quantiles)

    def _selection(self, first: int, last: int) -> Selection:
        """Over the inputs of the roles from `first` to before `last`."""
        sizes = self.sizes
        embeddings = [width for _, width in sizes.codes[_span(sizes.codes_by_role, first, last)]]
        return Selection(
            embeddings, sum(sizes.reals[first:last]), sizes.continuous, sizes.hidden, sizes.dropout,
            context=first > 0,
        )  # fmt: skip

    def forward(self, batch: Batch) -> torch.Tensor:
        """Scaled quantiles. Shape [batch, h, quantiles]."""
        return self.look(batch).quantiles

    def look(self, batch: Batch) -> Answer:
        """The quantiles, and where they come from."""
        lengths, past = batch["encoder_lengths"], batch["encoder_cont"].shape[1]
        static, static_weights = self._static(batch)
        context = None if self.selection_context is None else self.selection_context(static)
        encoded, encoder_weights = self._select(self.encoder_selection, batch, "encoder", 3, context)
        decoded, decoder_weights = self._select(self.decoder_selection, batch, "decoder", 2, context)
        chosen = torch.cat([encoded, decoded], dim=1)
        local = self.local_gate(self._recurrent(encoded, decoded, static, lengths), chosen)
        steps = self.enrichment(local, self.enrichment_context(static))
        ahead = steps[:, past:]
        found, attention = self.attention(ahead, steps, _hidden(lengths, past, ahead.shape[1]))
        mixed = self.feed_forward(self.attention_gate(found, ahead))
        quantiles = self.output(self.last_gate(mixed, local[:, past:]))
        return Answer(quantiles, attention, static_weights, encoder_weights, decoder_weights)

    def _static(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """One vector per sample. Shapes [batch, hidden] and [batch, variables]."""
        reals, codes = self.sizes.reals[0], self.sizes.codes_by_role[0]
        x = batch["static_cont"][:, None]
        places = torch.arange(len(x), device=x.device)[:, None, None].expand(-1, 1, codes)
        rows = [self.embeddings[i][batch["static_cat"][:, i]] for i in range(codes)]
        found, weights = self.static_selection(x, places, rows, self.slope[:reals], self.level[:reals])
        return found[:, 0], weights[:, 0]

    def _select(
        self, selection: Selection, batch: Batch, side: str, last: int, context: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        reals, codes = (_span(by_role, 1, last) for by_role in (self.sizes.reals, self.sizes.codes_by_role))
        x = batch[f"{side}_cont"][..., : reals.stop - reals.start]
        given = batch[f"{side}_cat"][..., : codes.stop - codes.start]
        rows = list(self.embeddings)[codes]
        chosen, weights = selection(x, given, rows, self.slope[reals], self.level[reals], context)
        return chosen, weights

    def _recurrent(
        self, encoded: torch.Tensor, decoded: torch.Tensor, static: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Shape [batch, encoder + h, hidden]."""
        state = (self.initial_hidden(static)[None], self.initial_cell(static)[None])
        short = (lengths < encoded.shape[1]).nonzero()[:, 0]
        before, state = self.encoder_lstm.run(encoded, state, short, lengths)
        after, _ = self.decoder_lstm(decoded, state)
        return torch.cat([before, after], dim=1)


class QuantileNetwork(Network):
    """The network of a task."""

    def __init__(self, params: TftParams, encoding: Encoding, quantiles: tuple[float, ...]) -> None:
        super().__init__(Sizes.of(params, encoding, quantiles))


def quantile_loss(quantiles: tuple[float, ...], forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Twice the pinball loss, averaged over quantiles and observed targets. `forecast` [batch, h, quantiles]."""
    observed = torch.isfinite(target)
    levels = torch.tensor(quantiles, dtype=forecast.dtype, device=forecast.device)
    errors = torch.nan_to_num(target)[..., None] - forecast
    return 2 * torch.maximum((levels - 1) * errors, levels * errors)[observed].mean()


def _span(counts: tuple[int, int, int], first: int, last: int) -> slice:
    return slice(sum(counts[:first]), sum(counts[:last]))


def _hidden(lengths: torch.Tensor, past: int, h: int) -> torch.Tensor:
    """Where not to look: padding, the step itself and all after it. Shape [batch, h, past + h]."""
    padding = torch.arange(past, device=lengths.device) >= lengths[:, None]
    ahead = torch.ones(h, h, dtype=torch.bool, device=lengths.device).triu()
    return torch.cat([padding[:, None].expand(-1, h, -1), ahead.expand(len(lengths), -1, -1)], dim=2)

"""Variable selection: the same numbers as one gated residual network per variable, with less work.

A number enters through an affine map of one scalar, so every affine map behind it is folded into that one,
and the layer norm of an affine function of a scalar needs only its square. A category's path depends on
its code alone: it is computed once per code and gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

from models.families.tft.layers import FastDropout, GatedAddNorm, glu, interpolation_matrix

_EPS = 1e-5


class NumericVariableNetworks(nn.Module):
    """Gated residual networks of `count` numeric variables, computed together."""

    stretch: torch.Tensor

    def __init__(self, count: int, inputs: int, size: int, dropout: float) -> None:
        super().__init__()
        hidden = min(inputs, size)
        self.fc1, self.bias1 = _weights(count, hidden, inputs), _zeros(count, hidden)
        self.fc2, self.bias2 = _weights(count, hidden, hidden), _zeros(count, hidden)
        self.glu, self.bias_glu = _weights(count, 2 * size, hidden, xavier=True), _zeros(count, 2 * size)
        self.gamma, self.beta = nn.Parameter(torch.ones(count, size)), _zeros(count, size)
        self.dropout = FastDropout(dropout)
        self.stretched = inputs != size
        if self.stretched:
            self.skip_mask = _zeros(count, size)
            self.skip_gamma, self.skip_beta = nn.Parameter(torch.ones(count, size)), _zeros(count, size)
        self.register_buffer("stretch", interpolation_matrix(inputs, size), persistent=False)

    def fold(self, slope: torch.Tensor, level: torch.Tensor) -> list[torch.Tensor]:
        """Compute all that does not depend on the numbers, which enter as slope * x + level, [count, inputs] each."""
        slope1 = (self.fc1 @ slope[..., None])[..., 0]
        level1 = (self.fc1 @ level[..., None])[..., 0] + self.bias1
        if not self.stretched:
            return [slope1[:, None], level1[:, None], slope[:, None], level[:, None]]
        scale = 2 * torch.sigmoid(self.skip_mask)
        a, c = (slope @ self.stretch.T) * scale, (level @ self.stretch.T) * scale
        a, c = a - a.mean(-1, keepdim=True), c - c.mean(-1, keepdim=True)
        squares = [(left * right).mean(-1)[:, None, None] for left, right in ((a, a), (2 * a, c), (c, c))]
        rows = torch.stack([a * self.skip_gamma, c * self.skip_gamma, self.skip_beta], dim=1)
        return [slope1[:, None], level1[:, None], rows, *squares]

    def forward(self, x: torch.Tensor, folded: list[torch.Tensor]) -> torch.Tensor:
        """`x` [count, n, 1]. Shape [count, n, size]."""
        slope1, level1, *skip = folded
        hidden = functional.elu(torch.addcmul(level1, x, slope1), inplace=True)
        hidden = self.dropout(torch.baddbmm(self.bias2[:, None], hidden, self.fc2.mT))
        gated = glu(torch.baddbmm(self.bias_glu[:, None], hidden, self.glu.mT))
        normed = functional.layer_norm(self._add_skip(gated, x, *skip), gated.shape[-1:], eps=_EPS)
        return torch.addcmul(self.beta[:, None], normed, self.gamma[:, None])

    def _add_skip(self, gated: torch.Tensor, x: torch.Tensor, *folded: torch.Tensor) -> torch.Tensor:
        """Add the normed residual: with a, c centred, (a x + c) / sqrt(var), where var is quadratic in x."""
        if not self.stretched:
            slope, level = folded
            return gated + torch.addcmul(level, x, slope)
        rows, aa, ac, cc = folded
        by = torch.rsqrt(((aa * x + ac) * x + cc).clamp_min(0) + _EPS)  # [count, n, 1]
        return torch.baddbmm(gated, torch.cat([by * x, by, torch.ones_like(by)], dim=-1), rows)


class CategoricalVariableNetworks(nn.Module):
    """Vectors of all codes of `len(sizes)` categorical variables: interpolated, gated, normed."""

    def __init__(self, sizes: Sequence[int], size: int) -> None:
        super().__init__()
        self.mask = _zeros(len(sizes), size)
        self.gamma, self.beta = nn.Parameter(torch.ones(len(sizes), size)), _zeros(len(sizes), size)
        for index, inputs in enumerate(sizes):
            self.register_buffer(f"stretch{index}", interpolation_matrix(inputs, size), persistent=False)

    def forward(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """`rows` are the embeddings by variable, [codes, embedding] each. Shape [all codes, size]."""
        stretched = [r @ self.get_buffer(f"stretch{index}").T for index, r in enumerate(rows)]
        variable = torch.repeat_interleave(
            torch.tensor([len(r) for r in rows], device=rows[0].device), output_size=sum(len(r) for r in rows)
        )
        scaled = torch.cat(stretched) * (2 * torch.sigmoid(self.mask))[variable]
        normed = functional.layer_norm(scaled, scaled.shape[-1:], eps=_EPS)
        return torch.addcmul(self.beta[variable], normed, self.gamma[variable])


class SelectionWeights(nn.Module):
    """Weights of the variables: the gated residual network over all of them together, and a softmax.

    Its first layer and its residual are linear in the inputs, so both are folded into one product for the
    numbers and one sum of gathered rows for the categories.
    """

    stretch: torch.Tensor

    def __init__(
        self, sizes: Sequence[int], numbers: int, inputs: int, size: int, dropout: float, *, context: bool
    ) -> None:
        super().__init__()
        self.sizes, self.numbers, self.inputs = tuple(sizes), numbers, inputs
        count, total = len(sizes) + numbers, sum(sizes) + numbers * inputs
        self.hidden = min(size, count)
        self.fc1, self.fc2 = nn.Linear(total, self.hidden), nn.Linear(self.hidden, self.hidden)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
        self.context = nn.Linear(size, self.hidden, bias=False) if context else None
        if self.context is not None:
            nn.init.xavier_uniform_(self.context.weight)
        self.gate = GatedAddNorm(self.hidden, count, dropout)
        self.stretched = total != count
        if self.stretched:
            self.skip_mask, self.skip_norm = nn.Parameter(torch.zeros(count)), nn.LayerNorm(count)
        self.register_buffer("stretch", interpolation_matrix(total, count), persistent=False)

    def fold(
        self, rows: Sequence[torch.Tensor], slope: torch.Tensor, level: torch.Tensor
    ) -> list[torch.Tensor]:
        """Fold first layer and residual into a constant, a factor for the numbers and a table for the codes."""
        first = torch.cat([self.fc1.weight, self.stretch])  # [hidden + variables, total]
        *by_category, numeric = torch.split(first, [*self.sizes, self.numbers * self.inputs], dim=1)
        by_number = numeric.view(len(first), self.numbers, self.inputs)
        constant = (by_number * level).sum((1, 2)) + functional.pad(self.fc1.bias, (0, len(self.stretch)))
        tables = (
            [torch.cat([r @ part.T for r, part in zip(rows, by_category, strict=True)])] if len(rows) else []
        )
        return [constant, (by_number * slope).sum(-1).T, *tables]

    def forward(
        self, x: torch.Tensor, codes: torch.Tensor, folded: list[torch.Tensor], context: torch.Tensor | None
    ) -> torch.Tensor:
        """`x` [n, numbers], `codes` [n, categories] into all rows, `context` [batch, size]. Shape [n, variables]."""
        constant, by_number, *tables = folded
        sums = torch.addmm(constant, x, by_number)
        for table in tables:
            sums = sums + functional.embedding(codes, table).sum(1)
        hidden, skip = torch.split(sums, [self.hidden, len(self.stretch)], dim=-1)
        if self.context is not None and context is not None:
            hidden = (hidden.view(len(context), -1, self.hidden) + self.context(context)[:, None]).flatten(
                0, 1
            )
        if self.stretched:
            skip = self.skip_norm(skip * (2 * torch.sigmoid(self.skip_mask)))
        weights: torch.Tensor = self.gate(self.fc2(functional.elu(hidden)), skip)
        return weights.T.contiguous().softmax(0).T  # along the first dimension it is 20 times as fast


@dataclass(frozen=True)
class FoldedSelection:
    """Results of variable selection that depend on its weights alone; `codes` [all codes, size]."""

    numbers: list[torch.Tensor]
    codes: torch.Tensor | None
    weights: list[torch.Tensor]


class VariableSelection(nn.Module):
    """A weighted sum of the variables' own networks. Paper: equations 6-8."""

    def __init__(
        self, sizes: Sequence[int], numbers: int, inputs: int, size: int, dropout: float, *, context: bool
    ) -> None:
        super().__init__()
        count = len(sizes) + numbers
        self.count, self.categories, self.size = count, len(sizes), size
        self.of_numbers = NumericVariableNetworks(numbers, inputs, size, dropout) if numbers else None
        self.of_codes = CategoricalVariableNetworks(sizes, size) if sizes else None
        self.weights = (
            SelectionWeights(sizes, numbers, inputs, size, dropout, context=context) if count > 1 else None
        )
        self._cached: FoldedSelection | None = None

    def train(self, mode: bool = True) -> Self:
        self._cached = None
        return super().train(mode)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._cached = None
        super()._load_from_state_dict(*arguments)

    def fold(self, rows: Sequence[torch.Tensor], slope: torch.Tensor, level: torch.Tensor) -> FoldedSelection:
        """Compute what depends on the weights alone."""
        return FoldedSelection(
            self.of_numbers.fold(slope, level) if self.of_numbers is not None else [],
            self.of_codes(rows) if self.of_codes is not None else None,
            self.weights.fold(rows, slope, level) if self.weights is not None else [],
        )

    def folded(
        self, rows: Sequence[torch.Tensor], slope: torch.Tensor, level: torch.Tensor
    ) -> FoldedSelection:
        """Return what `fold` does, cached while there is no training."""
        if self.training or torch.is_grad_enabled():
            return self.fold(rows, slope, level)
        if self._cached is None:
            self._cached = self.fold(rows, slope, level)
        return self._cached

    def forward(
        self,
        x: torch.Tensor,
        codes: torch.Tensor,
        rows: Sequence[torch.Tensor],
        folded: FoldedSelection,
        context: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`x` [batch, steps, numbers], `codes` [batch, steps, categories], `rows` the embeddings by variable.

        Shapes [batch, steps, size] and, the weights, [batch, steps, variables]; categories come first.
        """
        batch, steps = x.shape[:2]
        x, codes = x.flatten(0, 1), self._into_all_rows(codes.flatten(0, 1), rows)
        if self.weights is None:
            weights = x.new_ones(len(x), self.count)
        else:
            weights = self.weights(x, codes, folded.weights, context)
        selected = self._sum(x, codes, folded, weights)
        return selected.view(batch, steps, self.size), weights.view(batch, steps, self.count)

    def _sum(
        self, x: torch.Tensor, codes: torch.Tensor, folded: FoldedSelection, weights: torch.Tensor
    ) -> torch.Tensor:
        parts = []
        if folded.codes is not None:
            table, shares = folded.codes, weights[:, : self.categories].contiguous()
            parts.append(
                functional.embedding_bag(codes, table, per_sample_weights=shares.to(table.dtype), mode="sum")
            )
        if self.of_numbers is not None:
            shares = weights[:, self.categories :].T[..., None]
            parts.append((self.of_numbers(x.T[..., None], folded.numbers) * shares).sum(0))
        return sum(parts[1:], parts[0]) if parts else x.new_zeros(len(x), self.size)

    def _into_all_rows(self, codes: torch.Tensor, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(rows) < 2:
            return codes
        starts = torch.tensor([0, *(len(r) for r in rows[:-1])], device=codes.device).cumsum(0)
        return codes + starts


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))


def _weights(count: int, outputs: int, inputs: int, xavier: bool = False) -> nn.Parameter:
    weights = torch.empty(count, outputs, inputs)
    for matrix in weights:
        nn.init.xavier_uniform_(matrix) if xavier else nn.init.kaiming_normal_(
            matrix, nonlinearity="leaky_relu"
        )
    return nn.Parameter(weights)

"""Variable selection: the same numbers as one gated residual network per variable, with less work.

A number enters through an affine map of one scalar, so every affine map behind it is folded into that one,
and the layer norm of an affine function of a scalar needs only its square. A category's path depends on
its code alone: it is computed once per code and gathered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from models.tft.layers import Dropout, Gate, glu, interpolation

_EPS = 1e-5


class Numbers(nn.Module):
    """The gated residual networks of `count` numeric variables, all at once."""

    stretch: torch.Tensor

    def __init__(self, count: int, inputs: int, size: int, dropout: float) -> None:
        super().__init__()
        hidden = min(inputs, size)
        self.fc1, self.bias1 = _weights(count, hidden, inputs), _zeros(count, hidden)
        self.fc2, self.bias2 = _weights(count, hidden, hidden), _zeros(count, hidden)
        self.glu, self.bias_glu = _weights(count, 2 * size, hidden, xavier=True), _zeros(count, 2 * size)
        self.gamma, self.beta = nn.Parameter(torch.ones(count, size)), _zeros(count, size)
        self.dropout = Dropout(dropout)
        self.stretched = inputs != size
        if self.stretched:
            self.skip_mask = _zeros(count, size)
            self.skip_gamma, self.skip_beta = nn.Parameter(torch.ones(count, size)), _zeros(count, size)
        self.register_buffer("stretch", interpolation(inputs, size), persistent=False)

    def forward(self, x: torch.Tensor, slope: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """`x` [count, n, 1] enters as slope * x + level, [count, inputs] each. Shape [count, n, size]."""
        slope1 = (self.fc1 @ slope[..., None])[..., 0]
        level1 = (self.fc1 @ level[..., None])[..., 0] + self.bias1
        hidden = functional.elu(torch.addcmul(level1[:, None], x, slope1[:, None]), inplace=True)
        hidden = self.dropout(torch.baddbmm(self.bias2[:, None], hidden, self.fc2.mT))
        gated = glu(torch.baddbmm(self.bias_glu[:, None], hidden, self.glu.mT))
        normed = functional.layer_norm(self._add_skip(gated, x, slope, level), gated.shape[-1:], eps=_EPS)
        return torch.addcmul(self.beta[:, None], normed, self.gamma[:, None])

    def _add_skip(
        self, gated: torch.Tensor, x: torch.Tensor, slope: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        """Plus the normed residual: with a, c centred, (a x + c) / sqrt(var), and var is quadratic in x."""
        if not self.stretched:
            return gated + torch.addcmul(level[:, None], x, slope[:, None])
        scale = 2 * torch.sigmoid(self.skip_mask)
        a, c = (slope @ self.stretch.T) * scale, (level @ self.stretch.T) * scale
        a, c = a - a.mean(-1, keepdim=True), c - c.mean(-1, keepdim=True)
        aa, ac, cc = ((one * two).mean(-1)[:, None, None] for one, two in ((a, a), (a, c), (c, c)))
        by = torch.rsqrt(((aa * x + 2 * ac) * x + cc).clamp_min(0) + _EPS)  # [count, n, 1]
        factors = torch.cat([by * x, by, torch.ones_like(by)], dim=-1)
        rows = torch.stack([a * self.skip_gamma, c * self.skip_gamma, self.skip_beta], dim=1)
        return torch.baddbmm(gated, factors, rows)


class Codes(nn.Module):
    """What each code of `len(sizes)` categorical variables becomes: stretched, gated, normed."""

    def __init__(self, sizes: Sequence[int], size: int) -> None:
        super().__init__()
        self.mask = _zeros(len(sizes), size)
        self.gamma, self.beta = nn.Parameter(torch.ones(len(sizes), size)), _zeros(len(sizes), size)
        for index, inputs in enumerate(sizes):
            self.register_buffer(f"stretch{index}", interpolation(inputs, size), persistent=False)

    def forward(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """`rows` are the embeddings by variable, [codes, embedding] each. Shape [all codes, size]."""
        stretched = [r @ self.get_buffer(f"stretch{index}").T for index, r in enumerate(rows)]
        variable = torch.repeat_interleave(
            torch.tensor([len(r) for r in rows], device=rows[0].device), output_size=sum(len(r) for r in rows)
        )
        scaled = torch.cat(stretched) * (2 * torch.sigmoid(self.mask))[variable]
        normed = functional.layer_norm(scaled, scaled.shape[-1:], eps=_EPS)
        return torch.addcmul(self.beta[variable], normed, self.gamma[variable])


class Weights(nn.Module):
    """How much each variable counts: the gated residual network over all of them together, and a softmax.

    Its first layer and its residual are linear in the inputs, so both are folded into one product for the
    numbers and one sum of gathered rows for the categories.
    """

    stretch: torch.Tensor

    def __init__(
        self, sizes: Sequence[int], numbers: int, inputs: int, size: int, dropout: float, context: bool
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
        self.gate = Gate(self.hidden, count, dropout)
        self.stretched = total != count
        if self.stretched:
            self.skip_mask, self.skip_norm = nn.Parameter(torch.zeros(count)), nn.LayerNorm(count)
        self.register_buffer("stretch", interpolation(total, count), persistent=False)

    def forward(
        self, x: torch.Tensor, codes: torch.Tensor, rows: Sequence[torch.Tensor], slope: torch.Tensor,
        level: torch.Tensor, context: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        """`x` [n, numbers], `codes` [n, categories] into all rows, `context` [batch, size]. Shape [n, variables]."""
        first = torch.cat([self.fc1.weight, self.stretch])  # [hidden + variables, total]
        *parts, rest = torch.split(first, [*self.sizes, self.numbers * self.inputs], dim=1)
        by_number = rest.view(len(first), self.numbers, self.inputs)
        constant = (by_number * level).sum((1, 2)) + functional.pad(self.fc1.bias, (0, len(self.stretch)))
        both = torch.addmm(constant, x, (by_number * slope).sum(-1).T)
        if len(rows):
            table = torch.cat([r @ part.T for r, part in zip(rows, parts, strict=True)])
            both = both + functional.embedding(codes, table).sum(1)
        hidden, skip = torch.split(both, [self.hidden, len(self.stretch)], dim=-1)
        if self.context is not None and context is not None:
            hidden = (hidden.view(len(context), -1, self.hidden) + self.context(context)[:, None]).flatten(
                0, 1
            )
        if self.stretched:
            skip = self.skip_norm(skip * (2 * torch.sigmoid(self.skip_mask)))
        weights: torch.Tensor = self.gate(self.fc2(functional.elu(hidden)), skip)
        return weights.T.contiguous().softmax(0).T  # along the first dimension it is 20 times as fast


class Selection(nn.Module):
    """A weighted sum of the variables' own networks. Paper: equations 6-8."""

    def __init__(
        self, sizes: Sequence[int], numbers: int, inputs: int, size: int, dropout: float, context: bool
    ) -> None:
        super().__init__()
        count = len(sizes) + numbers
        self.count, self.categories, self.size = count, len(sizes), size
        self.of_numbers = Numbers(numbers, inputs, size, dropout) if numbers else None
        self.of_codes = Codes(sizes, size) if sizes else None
        self.weights = Weights(sizes, numbers, inputs, size, dropout, context) if count > 1 else None

    def forward(
        self, x: torch.Tensor, codes: torch.Tensor, rows: Sequence[torch.Tensor], slope: torch.Tensor,
        level: torch.Tensor, context: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """`x` [batch, steps, numbers], `codes` [batch, steps, categories], `rows` the embeddings by variable.

        Shapes [batch, steps, size] and, the weights, [batch, steps, variables]; categories come first.
        """
        batch, steps = x.shape[:2]
        x, codes = x.flatten(0, 1), self._into_all_rows(codes.flatten(0, 1), rows)
        if self.weights is None:
            weights = x.new_ones(len(x), self.count)
        else:
            weights = self.weights(x, codes, rows, slope, level, context)
        found = self._sum(x, codes, rows, slope, level, weights)
        return found.view(batch, steps, self.size), weights.view(batch, steps, self.count)

    def _sum(
        self, x: torch.Tensor, codes: torch.Tensor, rows: Sequence[torch.Tensor], slope: torch.Tensor,
        level: torch.Tensor, weights: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        parts = []
        if self.of_codes is not None:
            table, shares = self.of_codes(rows), weights[:, : self.categories].contiguous()
            parts.append(
                functional.embedding_bag(codes, table, per_sample_weights=shares.to(table.dtype), mode="sum")
            )
        if self.of_numbers is not None:
            shares = weights[:, self.categories :].T[..., None]
            parts.append((self.of_numbers(x.T[..., None], slope, level) * shares).sum(0))
        return sum(parts[1:], parts[0]) if parts else x.new_zeros(len(x), self.size)

    def _into_all_rows(self, codes: torch.Tensor, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(rows) < 2:
            return codes
        starts = torch.tensor([0, *(len(r) for r in rows[:-1])], device=codes.device).cumsum(0)
        return codes + starts


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))


def _weights(count: int, outputs: int, inputs: int, xavier: bool = False) -> nn.Parameter:
    drawn = torch.empty(count, outputs, inputs)
    for one in drawn:
        nn.init.xavier_uniform_(one) if xavier else nn.init.kaiming_normal_(one, nonlinearity="leaky_relu")
    return nn.Parameter(drawn)

"""The blocks of the Temporal Fusion Transformer, in the arithmetic of pytorch-forecasting.

Source: Lim et al., Temporal Fusion Transformers for interpretable multi-horizon forecasting, 2021.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_LEVELS = 1 << 16
_NEVER = -1e9


class FastDropout(nn.Module):
    """Dropout with a share p, rounded to 1/65536; one random 64-bit number serves four values."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.threshold = round(p * _LEVELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.threshold:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws.random_(-(1 << 63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        mask = (bits >= self.threshold - _LEVELS // 2).to(x.dtype)
        return x * mask.mul_(1 / (1 - self.threshold / _LEVELS))


def glu(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return functional.glu(x, dim)


class GatedAddNorm(nn.Module):
    """Dropout, a gated linear unit, a residual and a layer norm. Paper: equation 5, and LayerNorm around it."""

    def __init__(self, inputs: int, outputs: int, dropout: float | None) -> None:
        super().__init__()
        self.dropout = FastDropout(dropout or 0.0)
        self.glu = nn.Linear(inputs, 2 * outputs)
        self.norm = nn.LayerNorm(outputs)
        nn.init.xavier_uniform_(self.glu.weight)
        nn.init.zeros_(self.glu.bias)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(glu(self.glu(self.dropout(x))) + residual)
        return normed


class GatedResidualNetwork(nn.Module):
    """A gated residual network of one width. Paper: equations 2-4. `context` is added once per sample."""

    def __init__(self, size: int, dropout: float, context: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, size), nn.Linear(size, size)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
        self.gate = GatedAddNorm(size, size, dropout)
        self.context = nn.Linear(size, size, bias=False) if context else None
        if self.context is not None:
            nn.init.xavier_uniform_(self.context.weight)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """`x` [batch, (time,) size], `context` [batch, size]. Shape as `x`."""
        hidden = self.fc1(x)
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)[:, None]
        gated: torch.Tensor = self.gate(self.fc2(functional.elu(hidden, inplace=True)), x)
        return gated


class InterpretableAttention(nn.Module):
    """Interpretable multi-head attention: heads share their values. Paper: equations 13-16."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.width = heads, size // heads
        self.query = nn.Linear(size, heads * self.width)
        self.key_value = nn.Linear(size, (heads + 1) * self.width)  # the keys of every head, one value
        self.out = nn.Linear(self.width, size, bias=False)
        self.dropout = FastDropout(dropout)
        for layer in (self.query, self.key_value):
            for block in torch.split(layer.weight.data, self.width):
                nn.init.xavier_uniform_(block)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, horizon: torch.Tensor, key_value: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Attend from each step of the horizon to the steps that are not hidden.

        horizon [batch, h, size], key_value [batch, time, ...] projected, hidden [batch or 1, h, time] True where
        attention is forbidden. Shape [batch, h, size].
        """
        query, key, value = self._project(horizon, key_value)
        mask = torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, _NEVER)
        values = value[:, None].expand(-1, self.heads, -1, -1)
        # in half precision this kernel is slower, and less exact
        with torch.autocast(horizon.device.type, enabled=False):
            attended = functional.scaled_dot_product_attention(
                query.float(), key.float(), values.float(), attn_mask=mask[:, None], scale=1.0
            )
        return self._merge_heads(attended)

    def forward_with_weights(
        self, horizon: torch.Tensor, key_value: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `forward` does, and the weights [batch, h, heads, time]."""
        query, key, value = self._project(horizon, key_value)
        weights = (query @ key.mT).masked_fill(hidden[:, None], _NEVER).softmax(-1)  # [batch, heads, h, time]
        return self._merge_heads(weights @ value[:, None]), weights.transpose(1, 2)

    def _project(
        self, horizon: torch.Tensor, key_value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries and keys by head [batch, heads, steps, width], and the value that all heads share."""
        query = self._split(self.query(horizon)).transpose(1, 2) / math.sqrt(self.width)
        key, value = torch.split(key_value, [self.heads * self.width, self.width], dim=-1)
        return query, self._split(key).transpose(1, 2), value

    def _merge_heads(self, attended: torch.Tensor) -> torch.Tensor:
        merged: torch.Tensor = self.dropout(self.out(self.dropout(attended).mean(1)))
        return merged

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:-1], self.heads, self.width)


class SegmentedLstm(nn.LSTM):
    """An LSTM that is run in segments: rows may begin late, and its state is returned at several steps."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, batch_first=True)

    def run(
        self,
        x: torch.Tensor,
        state: tuple[torch.Tensor, torch.Tensor],
        begins: torch.Tensor,
        stops: range,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return outputs [batch, time, size] and, for hidden and cell, states [1, batch x stops, size].

        `begins` [batch] is each row's first step, where it has `state`; the states are those before the steps
        `stops`.
        """
        initial, late = state, set(begins.tolist()) - {0}
        outputs, states, start = [], [], 0
        for bound in sorted(late | set(stops)):
            output, state = self(x[:, start:bound], state)
            outputs.append(output)
            if bound in stops:
                states.append(state)
            if bound in late:
                starting = (begins == bound)[None, :, None]
                hidden, cell = (torch.where(starting, *pair) for pair in zip(initial, state, strict=True))
                state = hidden, cell
            start = bound
        if len(states) == 1:
            return torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0], states[0]
        hidden, cell = (torch.stack([s[i][0] for s in states], 1).flatten(0, 1)[None] for i in (0, 1))
        return torch.cat(outputs, 1), (hidden, cell)


def interpolation_matrix(inputs: int, outputs: int) -> torch.Tensor:
    """Return the matrix that interpolates a vector linearly to another length. Shape [outputs, inputs]."""
    if inputs == outputs:
        return torch.eye(inputs)
    stretched = functional.interpolate(torch.eye(inputs)[:, None], outputs, mode="linear", align_corners=True)
    return stretched[:, 0].T.contiguous()

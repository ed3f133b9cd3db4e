from __future__ import annotations

import pytest
import torch

from bench.oracle.library import reference_network
from models.families.tft.network import NetworkSizes, TftNetwork
from models.families.tft.pytorch_forecasting.reference import convert_state
from quantis.errors import InvalidInput

QUANTILES = (0.1, 0.5, 0.9)
pytestmark = pytest.mark.usefixtures("one_thread")
FULL = NetworkSizes(16, 8, 4, 0.1, 3, (2, 3, 2), (2, 2, 1), ((5, 3), (40, 16), (25, 16), (8, 8), (4, 4)))
CASES = {
    "everything": FULL,
    "numbers only": NetworkSizes(12, 6, 3, 0.1, 3, (1, 2, 1), (0, 0, 0), ()),
    "one static number and one code": NetworkSizes(8, 4, 2, 0.0, 3, (1, 0, 1), (0, 1, 0), ((25, 8),)),
    "only the target": NetworkSizes(8, 4, 1, 0.0, 3, (1, 0, 1), (0, 0, 0), ()),
    "numbers as wide as the network": NetworkSizes(8, 8, 2, 0.0, 3, (1, 2, 1), (1, 1, 0), ((3, 2), (7, 7))),
    "heads that do not divide the width": NetworkSizes(10, 5, 4, 0.0, 3, (1, 2, 1), (0, 1, 0), ((7, 7),)),
}


def _batch(sizes: NetworkSizes, lengths: list[int], h: int = 5) -> dict[str, torch.Tensor]:
    draws, past, size = torch.Generator().manual_seed(0), max(lengths), len(lengths)
    reals = torch.randn(size, past + h, sum(sizes.reals), generator=draws)
    codes = torch.zeros(size, past + h, len(sizes.codes), dtype=torch.int64)
    for index, (count, _) in enumerate(sizes.codes):
        codes[..., index] = torch.randint(count, (size, past + h), generator=draws)
    static_reals, static_codes = sizes.reals[0], sizes.codes_by_role[0]
    reals[..., :static_reals] = reals[:, :1, :static_reals]
    codes[..., :static_codes] = codes[:, :1, :static_codes]
    return {
        "encoder_cont": reals[:, :past], "decoder_cont": reals[:, past:],
        "encoder_cat": codes[:, :past], "decoder_cat": codes[:, past:],
        "encoder_lengths": torch.tensor(lengths), "decoder_lengths": torch.full((size,), h),
        "target_scale": torch.ones(size, 2),
    }  # fmt: skip


def _lean(batch: dict[str, torch.Tensor], sizes: NetworkSizes) -> dict[str, torch.Tensor]:
    """The library's batch in our form: static inputs once per window, padding in front."""
    found = {"encoder_lengths": batch["encoder_lengths"]}
    batch = batch | {name: _in_front(batch[name], batch) for name in ("encoder_cont", "encoder_cat")}
    for kind, static in (("cont", sizes.reals[0]), ("cat", sizes.codes_by_role[0])):
        found[f"static_{kind}"] = batch[f"decoder_{kind}"][:, 0, :static]
        found |= {f"{side}_{kind}": batch[f"{side}_{kind}"][..., static:] for side in ("encoder", "decoder")}
    return found


def _in_front(values: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of an encoder [batch, time, ...], the padding behind moved to the front."""
    rows = zip(values, batch["encoder_lengths"].tolist(), strict=True)
    return torch.stack([row.roll(len(row) - length, 0) for row, length in rows])


def _pair(sizes: NetworkSizes) -> tuple[torch.nn.Module, TftNetwork]:
    """The library's module with no parameter left at a round number, and ours with its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        library, network = reference_network(sizes, 12, QUANTILES), TftNetwork(sizes)
        for parameter in library.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape)
    network.load_state_dict(convert_state(library.state_dict(), sizes))
    return library, network


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("lengths", [[12, 12, 12, 12], [12, 3, 1, 12, 7], [4]])
def test_when_the_librarys_weights_are_loaded_then_quantiles_attention_and_importances_agree(name, lengths):
    sizes = CASES[name]
    library, network = _pair(sizes)
    library.eval()
    network.eval()
    batch = _batch(sizes, lengths)
    with torch.inference_mode():
        expected, found = library(batch), network.forward_with_weights(_lean(batch, sizes))
        quantiles = network(_lean(batch, sizes))
    seen = _in_front(expected["encoder_attention"].permute(0, 3, 1, 2), batch).permute(0, 2, 3, 1)
    attention = torch.cat([seen, expected["decoder_attention"]], dim=-1)
    used = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    assert torch.allclose(quantiles, expected["prediction"], atol=1e-5)
    assert torch.allclose(found.quantiles, expected["prediction"], atol=1e-5)
    assert torch.allclose(found.attention, attention, atol=1e-5)
    for mine, key in ((found.static, "static"), (found.encoder, "encoder"), (found.decoder, "decoder")):
        weights = expected[f"{key}_variables"].squeeze(-2)
        theirs_weights = _in_front(weights, batch) if key == "encoder" else weights
        kept = used if key == "encoder" else slice(None)
        if mine.numel():
            assert torch.allclose(mine[kept], theirs_weights[kept], atol=1e-5), key


def test_when_there_is_no_dropout_then_the_gradients_agree_too():
    sizes = NetworkSizes(**(vars(FULL) | {"dropout": 0.0}))
    library, network = _pair(sizes)
    library.train()
    network.train()
    batch = _batch(sizes, [12, 12, 5])
    library(batch)["prediction"].square().sum().backward()
    network(_lean(batch, sizes)).square().sum().backward()
    gradients = {n: p.grad for n, p in library.named_parameters(remove_duplicate=False) if p.grad is not None}
    expected = convert_state(
        {
            n: gradients.get(n, torch.zeros_like(p))
            for n, p in library.named_parameters(remove_duplicate=False)
        },
        sizes,
    )
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.allclose(parameter.grad, expected[name], rtol=1e-3, atol=1e-3), name


def test_when_values_are_dropped_then_the_share_and_the_mean_are_right():
    from models.families.tft.layers import FastDropout

    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = FastDropout(0.2).train()(torch.ones(1001, 101))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(FastDropout(0.2).eval()(torch.ones(3)), torch.ones(3))


def test_when_a_checkpoint_has_two_lstm_layers_then_it_is_refused():
    with pytest.raises(InvalidInput, match="several LSTM layers"):
        convert_state({"lstm_encoder.weight_ih_l1": torch.zeros(1)}, FULL)

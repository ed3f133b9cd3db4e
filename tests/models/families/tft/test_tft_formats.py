from __future__ import annotations

from pathlib import Path

import torch

from models.registry.bundle import read_bundle

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_when_a_bundle_holds_the_librarys_weights_then_it_still_predicts_its_sample():
    """Written by the code that trained pytorch-forecasting's module; reading checks its sample."""
    before = torch.random.get_rng_state()
    forecaster = read_bundle(FIXTURES / "tft_format_1")
    assert "network.slope" in forecaster.parts().tensors
    assert torch.equal(torch.random.get_rng_state(), before)

"""Bundles that older code wrote: reading verifies their hashes and what they predict for their sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.registry.bundle import READABLE, read_bundle

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("*_format_*")), ids=lambda folder: folder.name)
def test_when_an_older_format_is_read_then_the_model_still_predicts_its_sample(folder: Path) -> None:
    assert folder.name.startswith(read_bundle(folder).family)


def test_when_formats_are_counted_then_every_one_has_a_fixture() -> None:
    formats = {folder.name.rpartition("_")[2] for folder in FIXTURES.glob("*_format_*")}
    assert formats == {str(number) for number in READABLE[:-1]}

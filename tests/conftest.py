"""The order of all tests: the longest files come first, so that no worker is left alone with one at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
LONGEST = tuple(
    _TESTS / name
    for name in (
        "serve/test_fuzz.py",
        "serve/security/test_matrix.py",
        "crash/test_disk_errors.py",
        "models/families/test_scale.py",
        "models/families/test_boosting.py",
        "models/families/tft/test_batches_oracle.py",
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of the longest files to the front; all others stay in their order."""
    items.sort(key=lambda item: item.path not in LONGEST)

"""No test of the client sees the developer's own server or login."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def private_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("QUANTIS_URL", "QUANTIS_TOKEN", "QUANTIS_APP_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's pauses, noted and not taken."""
    noted: list[float] = []
    monkeypatch.setattr("quantis.client.connection.time.sleep", noted.append)
    return noted

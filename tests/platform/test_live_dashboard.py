from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from monitoring import queries
from tests.platform.live import ROOT, Live


def test_when_somebody_signs_in_and_asks_then_the_explorer_shows_a_band(live: Live, tmp_path: Path) -> None:
    for program in ("node", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; requirements/debian.sh installs chromium")
    screenshot = tmp_path / "explorer.png"
    done = subprocess.run(
        ["node", "tests/browser/explorer.mjs", live.url, str(live.login_file),
         "--as-of", "2013-12-25T05:00:00Z", "--screenshot", str(screenshot)],
        cwd=ROOT, text=True, capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert screenshot.stat().st_size > 20_000
    kept = os.environ.get("QUANTIS_SCREENSHOTS")
    if kept:
        shutil.copy(screenshot, Path(kept) / "explorer.png")


def test_when_the_docs_page_opens_then_all_its_assets_are_served_here(live: Live) -> None:
    page = httpx.get(f"{live.url}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_when_grafana_and_the_alerts_ask_then_a_live_scrape_answers(live: Live) -> None:
    scrape = httpx.get(f"{live.url}/metrics").text
    assert queries.unanswered(scrape) == {}
    assert "quantis_forecast_entries_total{" in scrape

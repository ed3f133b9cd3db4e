from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.monitoring import queries
from tests.platform.live import ROOT, Live


def test_when_somebody_signs_in_and_asks_then_the_explorer_shows_a_band(live: Live, tmp_path: Path) -> None:
    screenshot = tmp_path / "explorer.png"
    done = _in_the_browser("explorer.mjs", live, screenshot, "--as-of", "2013-12-25T05:00:00Z")
    assert done.returncode == 0, done.stdout + done.stderr
    assert screenshot.stat().st_size > 20_000
    _keep(screenshot)


def test_when_the_as_of_slider_is_moved_then_the_data_page_shows_what_was_known_then(
    live: Live, tmp_path: Path
) -> None:
    screenshot = tmp_path / "data.png"
    done = _in_the_browser("data.mjs", live, screenshot)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "D002" in done.stdout
    assert screenshot.stat().st_size > 20_000
    _keep(screenshot)


def test_when_a_key_is_made_and_revoked_then_it_works_and_stops_and_the_trail_tells(
    live: Live, tmp_path: Path
) -> None:
    screenshot = tmp_path / "trust.png"
    done = _in_the_browser("trust.mjs", live, screenshot)
    assert done.returncode == 0, done.stdout + done.stderr
    assert screenshot.stat().st_size > 20_000
    _keep(screenshot)


def test_when_the_docs_page_opens_then_all_its_assets_are_served_here(live: Live) -> None:
    page = httpx.get(f"{live.url}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_when_grafana_and_the_alerts_ask_then_a_live_scrape_answers(live: Live) -> None:
    scrape = httpx.get(f"{live.url}/metrics").text
    assert queries.unanswered(scrape) == {}
    assert "quantis_forecast_entries_total{" in scrape


def _in_the_browser(
    script: str, live: Live, screenshot: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    for program in ("node", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; requirements/debian.sh installs chromium")
    return subprocess.run(
        ["node", f"tests/browser/{script}", live.url, str(live.login_file),
         "--screenshot", str(screenshot), *options],
        cwd=ROOT, text=True, capture_output=True, timeout=180, check=False,
    )  # fmt: skip


def _keep(screenshot: Path) -> None:
    kept = os.environ.get("QUANTIS_SCREENSHOTS")
    if kept:
        shutil.copy(screenshot, Path(kept) / screenshot.name)

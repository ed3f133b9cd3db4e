"""The newcomer's page runs as it stands: every block, and what it prints where the page says it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.platform.live import QUANTIS, ROOT, Live

BLOCK = re.compile(r"```(sh|python|text)\n(.*?)```", re.DOTALL)


def test_when_the_newcomers_page_is_followed_then_each_block_prints_what_the_page_says(
    live: Live, tmp_path: Path
) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "what-we-knew-when.md").read_text())
    assert [kind for kind, _ in blocks].count("text") == 3
    printed = ""
    for kind, text in blocks:
        if kind == "text":
            assert printed == text
            continue
        code = text.replace(".quantis/demo-login.json", str(live.login_file))
        code = code.replace(".venv/bin/quantis", str(QUANTIS))
        shell = ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(
            shell, env=live.environment, cwd=tmp_path, text=True, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed = done.stdout

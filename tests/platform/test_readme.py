"""The README's example runs, and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.platform.live import ROOT, Live

NUMBER = re.compile(r"-?\d+\.\d+")


def test_when_the_readmes_example_runs_then_it_prints_what_the_readme_says(live: Live) -> None:
    text = (ROOT / "README.md").read_text()
    code, stated = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "text"))
    assert code
    assert stated
    program = code[1].replace(".quantis/demo-login.json", str(live.login_file))
    done = subprocess.run(
        [sys.executable, "-c", program], env=live.environment, cwd=ROOT, text=True, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert NUMBER.sub("#", done.stdout) == NUMBER.sub("#", stated[1])
    numbers = [float(number) for number in NUMBER.findall(done.stdout)]
    assert numbers == pytest.approx([float(number) for number in NUMBER.findall(stated[1])], abs=1.0)

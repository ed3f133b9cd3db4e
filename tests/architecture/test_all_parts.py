"""The second command: every part runs whatever failed before it, and the end names all failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import all_parts

MAKEFILE = """
good:
\t@echo fine
bad:
\t@echo 'FAILED tests/test_a.py::test_x - assert 1 == 2'
\t@echo 'ERROR tests/test_b.py::test_y'
\t@exit 3
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    monkeypatch.chdir(tmp_path)


def test_when_a_part_fails_then_the_later_ones_run_and_the_end_names_all_failures(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert all_parts.main(["bad", "good", "bad"]) == 1
    output = capfd.readouterr().out
    body, _, summary = output.rpartition("bad   ")
    assert "fine" in body
    assert output.count("           FAILED tests/test_a.py::test_x - assert 1 == 2") == 2
    assert "ERROR tests/test_b.py::test_y" in summary
    assert output.endswith("parts: 1 passed, 2 failed\n")


def test_when_every_part_passes_then_the_exit_code_is_zero(capfd: pytest.CaptureFixture[str]) -> None:
    assert all_parts.main(["good", "good"]) == 0
    assert capfd.readouterr().out.endswith("parts: 2 passed, 0 failed\n")

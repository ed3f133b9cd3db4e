from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest

from cluster import doctor
from cluster.down import down
from cluster.local import processes
from cluster.local.processes import Platform
from cluster.settings import Settings
from tests.cluster.spawned import SLEEP, Spawn


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("QUANTIS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["quantis doctor", "--json"])
    settings = Settings()
    settings.data_layout.prepare()
    return settings


def platform(instance: str) -> Platform:
    return Platform(instance, 0, "127.0.0.1", 1, "127.0.0.1:2", "http://127.0.0.1:3", "/tmp/quantis-x", 4)


def errors(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    code = doctor.main()
    checks = json.loads(capsys.readouterr().out)["checks"]
    return code, {check["name"]: check for check in checks if check["outcome"] == "error"}


def test_when_a_part_of_the_platform_is_dead_then_doctor_names_it_and_the_remedy(
    settings: Settings, spawn: Spawn, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = uuid.uuid4().hex
    processes.save(settings.data_layout, platform(instance))
    spawn(instance, SLEEP)
    code, found = errors(capsys)
    assert code == 1
    assert {"Ray head", "front"} <= set(found)
    for part in ("Ray head", "front"):
        assert "quantis up" in found[part]["remedy"]


def test_when_all_processes_are_gone_then_doctor_says_that_up_starts_them_again(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    processes.save(settings.data_layout, platform(uuid.uuid4().hex))
    code, found = errors(capsys)
    assert code == 1
    assert "quantis up" in found["platform"]["remedy"]


@pytest.mark.parametrize("text", [None, "", "{", '{"instance": 1, "more": 2}'])
def test_when_the_state_file_is_lost_then_doctor_says_so_and_down_ends_what_runs(
    settings: Settings, spawn: Spawn, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    if text is not None:
        (settings.data_layout.run / "platform.json").write_text(text)
    process = spawn(uuid.uuid4().hex, SLEEP, QUANTIS_DATA_DIR=str(settings.data_layout.root))
    code, found = errors(capsys)
    assert code == 1
    assert "state file" in found["platform"]["detail"]
    assert down(settings) == 1
    assert process.wait(5)
    assert "platform" not in errors(capsys)[1]

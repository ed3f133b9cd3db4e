"""The platform's own commands run as children of the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from quantis import settings
from quantis.errors import NotInstalled
from tests.quantis.cli.conftest import ROOT, finished, start


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A small application with the same door: cluster/up.py and jobs/demo.py."""
    root = tmp_path / "application"
    for name in ("cluster", "jobs"):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").touch()
    (root / "cluster" / "up.py").write_text(
        textwrap.dedent("""
        import json, os, sys
        import cluster
        said = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "path": os.environ["PYTHONPATH"]}
        print(json.dumps(said))
        print("progress", file=sys.stderr)
        sys.exit(7)
        """)
    )
    (root / "jobs" / "demo.py").write_text(
        textwrap.dedent("""
        import signal, sys, time
        caught = []
        signal.signal(signal.SIGINT, lambda *_: caught.append(1))
        print("ready", flush=True)
        while not caught:
            time.sleep(0.02)
        time.sleep(0.5)  # a second one would be caught here
        print(len(caught), flush=True)
        sys.exit(130)
        """)
    )
    (root / "cluster" / "down.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    return root


def test_when_a_platform_command_runs_then_arguments_folder_output_and_code_are_the_childs(
    application: Path,
) -> None:
    environment = {"QUANTIS_APP_ROOT": str(application)}
    done = finished(start("up", "--port", "9000", "--json", "--help", env=environment, cwd="/"))
    assert done.code == 7
    said = json.loads(done.out)
    assert said["arguments"] == ["--port", "9000", "--json", "--help"]
    assert said["cwd"] == str(application)
    assert said["path"].split(os.pathsep)[0] == str(application)
    assert done.err == "progress\n"


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_when_interrupted_then_the_child_hears_it_once_and_decides(
    application: Path, number: signal.Signals
) -> None:
    process = start("demo", env={"QUANTIS_APP_ROOT": str(application)}, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    done = finished(process)
    assert (done.code, done.out) == (130, "1\n")
    assert "Traceback" not in done.err


def test_when_control_c_is_typed_in_a_terminal_then_the_child_hears_it_once(application: Path) -> None:
    import pty
    import time

    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "QUANTIS_APP_ROOT": str(application), "PYTHONPATH": str(ROOT)}
        os.execve(sys.executable, [sys.executable, "-m", "quantis", "demo"], environment)
    said = b""
    while b"ready\r\n" not in said:  # the whole line: a typed Control-C throws away what is not yet read
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert said.replace(b"^C", b"").split()[-1] == b"1"


def test_when_the_child_is_killed_then_the_code_says_by_what(application: Path) -> None:
    assert finished(start("down", env={"QUANTIS_APP_ROOT": str(application)})).code == 128 + signal.SIGKILL


def test_when_only_the_client_is_installed_then_code_5_and_where_to_get_the_platform(
    quantis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "site-packages" / "quantis" / "settings.py"))
    monkeypatch.chdir(tmp_path)
    done = quantis("up")
    assert done.code == 5
    assert "QUANTIS_APP_ROOT" in done.err
    assert quantis("doctor", "--json").json["error"]["code"] == "not_installed"


def test_when_the_root_is_searched_then_variable_before_package_before_folder(
    application: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(application)
    assert settings.application_root() == ROOT
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "site-packages" / "quantis" / "settings.py"))
    assert settings.application_root() == application
    monkeypatch.setenv("QUANTIS_APP_ROOT", str(ROOT))
    assert settings.application_root() == ROOT
    monkeypatch.setenv("QUANTIS_APP_ROOT", str(tmp_path))
    with pytest.raises(NotInstalled, match="no cluster/"):
        settings.application_root()

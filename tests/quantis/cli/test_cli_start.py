"""Starting: quick, light, quiet."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import pytest

from quantis import __version__
from tests.quantis.cli.conftest import ROOT, finished, start

HEAVY = ("ray", "torch", "mlflow", "pandas", "fastapi", "pyarrow", "httpx", "numpy")


def test_when_help_is_asked_for_then_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from quantis.cli.main import run; code = run(['--help']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for name in ("up", "demo", "login", "data", "train", "jobs", "models", "forecast", "completion"):
        assert f" {name} " in done.stdout


_LIBRARIES = """
import pydantic, typer.rich_utils

class Record(pydantic.BaseModel):
    name: str
"""


def test_when_help_is_asked_for_then_it_is_there_at_once() -> None:
    """In processor time and against the libraries it is made with, so that no slow or busy machine decides."""

    def spent(arguments: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [(spent(["-m", "quantis", "--help"]), spent(["-c", _LIBRARIES])) for _ in range(5)]
    assert min(ours for ours, _ in pairs) < 2 * min(libraries for _, libraries in pairs)


def test_when_the_version_is_asked_for_then_it_alone_is_printed(quantis: Any) -> None:
    done = quantis("--version")
    assert (done.code, done.out, done.err) == (0, f"{__version__}\n", "")


def test_when_no_command_is_given_then_help_and_wrong_usage(quantis: Any) -> None:
    done = quantis()
    assert done.code == 2
    assert "train" in done.out + done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("train",),
        ("train", "d", "--model", "m", "--h", "0"),
        ("train", "d", "--model", "m", "--families", "Magic!"),
        ("train", "d", "--model", "UPPER"),
        ("train", "d", "--model", "m", "--as-of", "tomorrow"),
        ("data", "check", "no-such-file.csv"),
        ("data", "push", "d", __file__, "--publication-lag", "soon"),
        ("forecast", "m"),
        ("forecast", "m", "--series", "a", "--level", "120"),
        ("jobs", "ls", "--state", "happy"),
        ("models", "promote", "m", "x"),
        ("completion", "tcsh"),
        ("login", "--password", "secret"),
        ("whoami", "--url", "ftp://x"),
    ],
)
def test_when_the_usage_is_wrong_then_code_2_and_one_message(
    quantis: Any, arguments: tuple[str, ...]
) -> None:
    done = quantis(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.strip()
    again = quantis(*arguments, "--json")
    assert again.code == 2
    assert set(again.json) == {"error"}
    assert again.json["error"]["code"] in ("usage", "invalid_input")
    assert again.err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_when_completion_is_installed_then_the_shell_gets_our_commands(quantis: Any, shell: str) -> None:
    script = quantis("completion", shell)
    assert script.code == 0
    assert "_QUANTIS_COMPLETE" in script.out
    assert quantis("completion", shell, "--json").json["script"] == script.out.rstrip("\n")


def test_when_bash_asks_what_follows_then_the_commands_are_named() -> None:
    environment = {"_QUANTIS_COMPLETE": "complete_bash", "COMP_WORDS": "quantis mod", "COMP_CWORD": "1"}
    done = finished(start(env=environment))
    assert done.out.split() == ["models"]

"""Calls to the operating system that change the data folder fail in turn, those of Rust and SQLite too.

Every other one in `make test`, each one in `make soak`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REFUSED = {503, 507}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("failing calls are preloaded by a library: it needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", made, HERE / "faults.c", "-ldl"],
        check=True,
    )
    return made


def outcomes(
    library: Path, folder: Path, what: str, error: str, lasting: bool, stride: int
) -> dict[str, Any]:
    numbers = [str(int(lasting)), str(stride)]
    command = [sys.executable, "-m", "tests.crash.faulty", str(folder), what, error, *numbers]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(library)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(library: Path, folder: Path, what: str, error: str, lasting: bool, *, stride: int = 1) -> None:
    found = outcomes(library, folder, what, error, lasting, stride)
    *failed, untouched = found["said"]
    assert untouched[:4] == [201, 1, 200, ""]
    for status, seen, again, call, text in failed:
        # A version is there, whole, and the same request again finds it; or it is not, and is made then.
        assert (status in REFUSED and seen == 0 and again == 201) or (seen == 1 and again == 200), (
            call,
            text,
        )
        assert status in (201, *REFUSED), (call, text)
    calls = Counter((call.split()[0], status) for status, _, _, call, _ in failed)
    print(f"\n{what} {error}{' from then on' * lasting}: {len(failed)} calls failed in turn; {dict(calls)}")
    touched = " ".join(call for _, _, _, call, _ in failed)
    assert ".parquet" in touched  # written by the library of Delta tables
    assert "_delta_log" in touched
    assert "quantis.db-wal" in touched
    refused = sum(status in REFUSED for status, *_ in failed)
    assert refused > 0.8 * len(failed)
    assert (507 if error == "ENOSPC" else 503) in {status for status, *_ in failed}
    assert (found["broken"], found["orphans"]) == ([], [])


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("what", "error", "lasting"), [("upload", "EIO", False), ("append", "ENOSPC", True)])
def test_when_calls_that_write_fail_in_turn_then_it_is_503_or_507_and_the_next_one_works(
    library: Path, tmp_path: Path, what: str, error: str, lasting: bool
) -> None:
    check(library, tmp_path / "data", what, error, lasting, stride=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["upload", "append"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS", "EDQUOT"])
@pytest.mark.parametrize("lasting", [False, True])
def test_when_any_call_fails_in_any_way_then_nothing_is_half_done(
    library: Path, tmp_path: Path, what: str, error: str, lasting: bool
) -> None:
    check(library, tmp_path / "data", what, error, lasting)

"""Reading and checking what comes from strangers, in a child process with limits of its own.

The child is a fresh interpreter (no fork of the caller), gets no environment of the caller's and
holds itself to an address-space and a CPU-time limit. It hands tables back as files, which the
caller maps into memory.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantis.errors import InvalidInput, QuantisError, TooLarge, all_errors
from quantis.panel import Panel
from quantis.reading import ReadLimits, printable
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.types.reading import ReadOptions

WORKER = "quantis.child_worker"


def read_in_child(
    path: Path,
    *,
    name: str,
    media_type: str | None = None,
    limits: ReadLimits | None = None,
    options: ReadOptions | None = None,
) -> pa.Table:
    """The file as a table, as `read_table` gives it, read elsewhere and mapped from there.

    Raises what `read_table` raises; TooLarge also where time or memory run out.
    """
    with tempfile.TemporaryDirectory(prefix="quantis-read-") as folder:
        request = _request("read", path, folder, name, media_type, limits, options)
        _answer(request, limits or ReadLimits())
        return _mapped(Path(folder) / "table.arrow")


def check_in_child(
    path: Path,
    *,
    name: str,
    spec: DatasetSpec | None = None,
    freq: str | None = None,
    media_type: str | None = None,
    limits: ReadLimits | None = None,
    options: ReadOptions | None = None,
    keep: Path | None = None,
) -> tuple[CheckReport, Panel | None, DatasetSpec]:
    """What `check_panel` says of a file, and by which declaration.

    Without a `spec`, roles are detected and `freq` is the declared frequency. The panel
    is mapped from files, which stay in the folder `keep` if there is one; None when it is rejected.
    """
    with nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory(prefix="quantis-read-") as folder:
        request = _request("check", path, folder, name, media_type, limits, options)
        request["spec"], request["freq"] = spec.model_dump(mode="json") if spec else None, freq
        answer = _answer(request, limits or ReadLimits())
        report = CheckReport.model_validate(answer["report"])
        found = DatasetSpec.model_validate(answer["spec"])
        if not answer["accepted"]:
            return report, None, found
        return report, kept_panel(Path(folder)), found


def kept_panel(folder: Path) -> Panel:
    """A panel that `check_in_child` kept in a folder, mapped from its files."""
    target, future, static = (_mapped(folder / f"{part}.arrow") for part in ("target", "future", "static"))
    return Panel(target=target, future=future, static=static)


def _request(
    verb: str,
    path: Path,
    folder: str,
    name: str,
    media_type: str | None,
    limits: ReadLimits | None,
    options: ReadOptions | None,
) -> dict[str, Any]:
    return {
        "verb": verb,
        "path": str(path.absolute()),
        "folder": folder,
        "name": name,
        "media_type": media_type,
        "limits": asdict(limits or ReadLimits()),
        "options": (options or ReadOptions()).model_dump(mode="json"),
    }


def _answer(request: dict[str, Any], limits: ReadLimits) -> dict[str, Any]:
    shown = printable(request["name"])
    with subprocess.Popen(
        [sys.executable, "-m", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=request["folder"],
        env=_environment(),
        start_new_session=True,  # an interrupt of the caller is the caller's to hand on
    ) as child:
        try:
            said, _ = child.communicate(json.dumps(request).encode(), timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            raise _out_of_time(shown, limits) from None
        finally:
            child.kill()
    if child.returncode != 0 or not said:
        raise _ended(child.returncode, shown, limits)
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        raise _error(answer["error"])
    return answer


def _environment() -> dict[str, str]:
    """What the child needs and nothing else: no secret of the caller is in it."""
    return {
        "PYTHONPATH": os.pathsep.join(place for place in sys.path if place),
        "PYTHONHASHSEED": "0",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve address space ahead
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def _out_of_time(shown: str, limits: ReadLimits) -> QuantisError:
    return TooLarge(
        f"{shown} takes more than {limits.seconds:g} s to read; it was given up: split it by series"
    )


def _ended(code: int, shown: str, limits: ReadLimits) -> QuantisError:
    if code in (-signal.SIGXCPU, -signal.SIGALRM):
        return _out_of_time(shown, limits)
    return TooLarge(
        f"{shown} could not be read within {limits.working_memory:,} bytes of memory, and its reader ended:"
        " split it by series, or write the file anew if it is broken"
    )


def _error(answer: dict[str, Any]) -> QuantisError:
    kind = next((kind for kind in all_errors() if kind.__name__ == answer["kind"]), InvalidInput)
    return kind(answer["message"])


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

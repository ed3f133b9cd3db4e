"""Read or check one file within limits, in a process that `quantis.sandbox.host` has forked.

A request and an answer, each one JSON object.
"""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import signal
import sys
import tempfile
import traceback
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantis.errors import InsufficientStorage, QuantisError, TooLarge, Unavailable
from quantis.panel import Panel
from quantis.reading import ReadLimits, printable, read_table, write_arrow
from quantis.types.datasets import DatasetSpec
from quantis.types.reading import ReadOptions
from quantis.validation.panel_check import check_panel, detect_spec

_PAGE = 4096
_DISK_ERRORS = {
    errno.ENOSPC: InsufficientStorage,
    errno.EDQUOT: InsufficientStorage,
    errno.EIO: Unavailable,
    errno.EROFS: Unavailable,
}


def handle_request(raw_request: bytes) -> bytes:
    """Read or check the file of a request; its errors are part of the response."""
    request = json.loads(raw_request)
    name = printable(request["name"])
    try:
        limits = ReadLimits(**request["limits"])
        apply_limits(limits)
        os.chdir(request["folder"])
        tempfile.tempdir = request["folder"]
        response = _execute(request, limits)
    except QuantisError as error:
        response = _error_response(type(error), error.message)
    except MemoryError:
        response = _error_response(TooLarge, _describe_memory(name))
    except OSError as error:
        response = _os_error_response(error, name)
    except Exception as error:
        response = _internal_error_response(error, name)
    return json.dumps(response).encode()


def _error_response(kind: type[QuantisError], message: str, trace: str | None = None) -> dict[str, Any]:
    return {"error": {"kind": kind.__name__, "message": message, "trace": trace}}


def _describe_memory(name: str) -> str:
    return f"{name} needs more memory than is allowed; split it by series"


def _os_error_response(error: OSError, name: str) -> dict[str, Any]:
    """Return the response to an error of the machine, not of the file that was sent."""
    if error.errno == errno.ENOMEM:
        return _error_response(TooLarge, _describe_memory(name))
    kind = _DISK_ERRORS.get(error.errno or 0)
    if kind is None:
        return _internal_error_response(error, name)
    text = "the disk of the platform is full or fails, nothing was kept; try again when there is room"
    return _error_response(kind, text)


def _internal_error_response(error: Exception, name: str) -> dict[str, Any]:
    """Return the response to an error that nobody foresaw; its trace goes to the caller's log."""
    text = (
        f"{name} could not be read: an internal error of Quantis ({type(error).__name__}), no fault of the file's"
        f" size; report it with the id {uuid.uuid4().hex}"
    )
    return _error_response(QuantisError, text, traceback.format_exc())


def apply_limits(limits: ReadLimits) -> None:
    """Bound this process: memory beyond what it has now, processor seconds, bytes of a file."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    current = (
        int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE if sys.platform == "linux" else 2**32
    )
    bounds = {
        resource.RLIMIT_AS: current + limits.working_memory,
        resource.RLIMIT_CPU: math.ceil(limits.seconds) + 1,
        resource.RLIMIT_FSIZE: max(limits.unpacked, limits.memory) * 2,
        resource.RLIMIT_CORE: 0,
    }
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # exact, where RLIMIT_CPU counts whole seconds
    for limit, maximum in bounds.items():
        hard = resource.getrlimit(limit)[1]
        maximum = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
        resource.setrlimit(limit, (maximum, hard))


def _execute(request: dict[str, Any], limits: ReadLimits) -> dict[str, Any]:
    path, folder, name = Path(request["path"]), Path(request["folder"]), request["name"]
    options = ReadOptions.model_validate(request["options"])
    media_type = request["media_type"]
    if request["verb"] == "read":
        target = folder / "table.arrow"
        rows = write_arrow(path, target, name=name, media_type=media_type, limits=limits, options=options)
        return {"rows": rows}
    declared = DatasetSpec.model_validate(request["spec"]) if request["spec"] else None
    if declared is not None:  # a category is no number, whatever it looks like
        options = options.model_copy(update={"texts": (*options.texts, *declared.roles.categorical)})
    table = read_table(path, name=name, media_type=media_type, limits=limits, options=options)
    spec = declared or detect_spec(table, "check", options).model_copy(update={"freq": request["freq"]})
    report, panel = check_panel(table, spec, file=name, options=options)
    if panel is not None:
        _write_panel(panel, folder)
    return {
        "report": report.model_dump(mode="json"),
        "spec": spec.model_dump(mode="json"),
        "accepted": panel is not None,
    }


def _write_panel(panel: Panel, folder: Path) -> None:
    for part in ("target", "future", "static"):
        table: pa.Table = getattr(panel, part)
        with (
            pa.OSFile(str(folder / f"{part}.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as file,
        ):
            file.write_table(table)

"""Read and check untrusted files, in a process of its own with limits of its own.

A reader is forked per file from a host that has everything loaded (no fork of the caller). It has
nothing of the caller's environment and holds itself to an address-space and a CPU-time limit. It
returns tables as files, which the caller maps into memory.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantis.errors import InvalidInput, QuantisError, TooLarge, Unavailable, all_errors
from quantis.panel import Panel
from quantis.reading import ReadLimits, printable
from quantis.sandbox.host import CHUNK_BYTES, DIED, DONE
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.types.reading import ReadOptions

HOST_MODULE = "quantis.sandbox.host"
_MAX_READERS = max(2, os.cpu_count() or 1)
_MAX_HOSTS = 3  # that are tried for a file


@dataclass
class _HostProcess:
    process: subprocess.Popen[bytes]
    control: socket.socket
    owner: int

    @classmethod
    def start(cls) -> _HostProcess:
        control, host_socket = socket.socketpair()
        with host_socket:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", HOST_MODULE],
                stdin=host_socket.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_sandbox_environment(),
                start_new_session=True,  # the caller handles its own interrupts
            )
        return cls(process, control, os.getpid())

    def stop(self) -> None:
        self.control.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


class _ReaderPool:
    """The host of this process: started when it is first needed, and again when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(_MAX_READERS)
        self._host: _HostProcess | None = None

    def request(self, message: bytes, seconds: float) -> bytes:
        """Return the response of a reader; TimeoutError if it takes too long, Unavailable if too many are busy."""
        if not self._free.acquire(timeout=seconds):
            raise Unavailable(f"{_MAX_READERS} files are being read already; send it again in a moment")
        try:
            for _ in range(_MAX_HOSTS):
                response = self._attempt(message, time.monotonic() + seconds)
                if response:
                    return response
            raise Unavailable("the process that reads files ends again and again; is there memory enough?")
        finally:
            self._free.release()

    def _attempt(self, request: bytes, deadline: float) -> bytes:
        """Return the response, or nothing when the host was killed, which takes its readers with it."""
        caller_socket, reader_socket = socket.socketpair()
        with caller_socket:
            with reader_socket, self._lock:
                host = self._running_host()
                with suppress(ConnectionError):
                    socket.send_fds(host.control, [b"."], [reader_socket.fileno()])
            with suppress(ConnectionError):
                if response := _exchange(caller_socket, request, deadline):
                    return response
        host.stop()
        return b""

    def start(self) -> None:
        """Start the host unless it runs."""
        with self._lock:
            self._running_host()

    def stop(self) -> None:
        """End the host, if it is ours and not that of the process which this one was forked from."""
        with self._lock:
            if self._host is not None and self._host.owner == os.getpid():
                self._host.stop()
            self._host = None

    def _running_host(self) -> _HostProcess:
        if self._host is None or self._host.owner != os.getpid() or self._host.process.poll() is not None:
            self._host = _HostProcess.start()
            atexit.register(self._host.stop)
        return self._host


_POOL = _ReaderPool()


def start_readers() -> None:
    """Start the host of readers, so that the first file does not wait for it."""
    _POOL.start()


def read_untrusted_file(
    path: Path,
    *,
    name: str,
    media_type: str | None = None,
    limits: ReadLimits | None = None,
    options: ReadOptions | None = None,
) -> pa.Table:
    """Read a file in the sandbox, as `read_table` does, and map the table from there.

    Raises what `read_table` raises; TooLarge also where time or memory run out.
    """
    with tempfile.TemporaryDirectory(prefix="quantis-read-") as folder:
        request = _build_request(
            "read", path, folder, name=name, media_type=media_type, limits=limits, options=options
        )
        _request_result(request, limits or ReadLimits())
        return _map_table(Path(folder) / "table.arrow")


def check_untrusted_file(
    path: Path,
    *,
    name: str,
    spec: DatasetSpec | None = None,
    freq: str | None = None,
    media_type: str | None = None,
    limits: ReadLimits | None = None,
    options: ReadOptions | None = None,
    output_dir: Path | None = None,
) -> tuple[CheckReport, Panel | None, DatasetSpec]:
    """Check a file in the sandbox with `check_panel`.

    Parameters
    ----------
    spec
        The declaration of the dataset; without one, roles are detected and `freq` is the frequency.
    output_dir
        The folder of the panel's Arrow files, which stay there; a temporary one when absent.

    Returns
    -------
    report
        The report of the check.
    panel
        The panel, mapped from its files; None when it is rejected.
    spec
        The declaration that was used.

    Raises
    ------
    TooLarge
        Also where time or memory run out.
    QuantisError
        Any error of `read_table`.
    """
    with (
        nullcontext(str(output_dir))
        if output_dir
        else tempfile.TemporaryDirectory(prefix="quantis-read-") as folder
    ):
        request = _build_request(
            "check", path, folder, name=name, media_type=media_type, limits=limits, options=options
        )
        request["spec"], request["freq"] = spec.model_dump(mode="json") if spec else None, freq
        payload = _request_result(request, limits or ReadLimits())
        report = CheckReport.model_validate(payload["report"])
        declared = DatasetSpec.model_validate(payload["spec"])
        if not payload["accepted"]:
            return report, None, declared
        return report, load_checked_panel(Path(folder)), declared


def load_checked_panel(folder: Path) -> Panel:
    """Map a panel that `check_untrusted_file` left in its `output_dir`."""
    target, future, static = (_map_table(folder / f"{part}.arrow") for part in ("target", "future", "static"))
    return Panel(target=target, future=future, static=static)


def _build_request(
    verb: str,
    path: Path,
    folder: str,
    *,
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


def _request_result(request: dict[str, Any], limits: ReadLimits) -> dict[str, Any]:
    display_name = printable(request["name"])
    try:
        response = _POOL.request(json.dumps(request).encode(), limits.elapsed_seconds)
    except TimeoutError:
        raise _reader_timed_out(display_name, f"{limits.elapsed_seconds:g} s") from None
    if not response.endswith(DONE):
        _, died, code = response.rpartition(DIED)
        raise _reader_ended(int(code) if died else -signal.SIGKILL, display_name, limits)
    payload: dict[str, Any] = json.loads(response)
    if "error" in payload:
        raise _to_error(payload["error"])
    return payload


def _exchange(connection: socket.socket, request: bytes, deadline: float) -> bytes:
    connection.settimeout(max(deadline - time.monotonic(), 0.01))
    # A reader may be killed before it was sent its request, or before it read it. The host's word of that is
    # in the connection then, so that neither is a reason to try another host.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
    response = b""
    with suppress(ConnectionResetError):
        while chunk := _receive(connection, deadline):
            response += chunk
    return response


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(deadline - time.monotonic(), 0.01))
    return connection.recv(CHUNK_BYTES)


def _sandbox_environment() -> dict[str, str]:
    """Return the environment of the readers: no secret of the caller is in it."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONHASHSEED": "0",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve address space ahead
        "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a process that forks has one thread
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def _reader_timed_out(display_name: str, time: str) -> QuantisError:
    return TooLarge(f"{display_name} takes more than {time} to read; it was given up: split it by series")


def _reader_ended(code: int, display_name: str, limits: ReadLimits) -> QuantisError:
    """Return the error of a reader that gave no response, by its exit code; negative ones are signals."""
    if code in (-signal.SIGXCPU, -signal.SIGPROF):
        return _reader_timed_out(display_name, f"{limits.seconds:g} s of a processor")
    if code >= 0:
        return QuantisError(
            f"{display_name} could not be read: its reader ended with exit code {code}, an internal error of Quantis;"
            f" report it with the id {uuid.uuid4().hex}"
        )
    name = signal.Signals(-code).name
    if code == -signal.SIGKILL:
        return TooLarge(
            f"{display_name} could not be read: its reader ended by {name}, as when the machine runs out of memory;"
            " send it again, or split it by series"
        )
    return TooLarge(
        f"{display_name} could not be read: its reader ended by {name}, as a broken file may cause, or one that needs"
        f" more than {limits.working_memory:,} bytes of memory; write the file anew, or split it by series"
    )


def _to_error(payload: dict[str, Any]) -> QuantisError:
    kind = next((kind for kind in all_errors() if kind.__name__ == payload["kind"]), InvalidInput)
    error = kind(payload["message"])
    if payload.get("trace"):
        error.add_note(payload["trace"])
    return error


def _map_table(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

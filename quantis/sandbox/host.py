"""The process that forks the readers of untrusted files: it has everything loaded and reads no file itself.

`python -m quantis.sandbox.host` gets connections through its standard input, a socket. On each a fork of
its own reads a request, answers, and ends. The host has one thread and stays as it was at its start,
so that no file can harm the next one. It ends with its caller, and ends the readers whose caller left.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import NoReturn

from quantis.sandbox.worker import handle_request

DONE, DIED = b"\n", b"\n!"
"""The end of a response; the mark before the exit code of a reader that gave none."""

_PRELOADED = ("numpy.ma", "dateutil.relativedelta", "encodings.utf_8_sig", "encodings.cp1252", "zoneinfo")
"""Modules that NumPy and Arrow load only when they are used."""

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG
CHUNK_BYTES = 65_536


class ReaderHost:
    """`control` brings the connections; `readers` are the process ids of those at work, by connection."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._callers: dict[int, socket.socket] = {}
        self._readers: dict[int, int] = {}
        self._poll = select.poll()

    def run(self) -> None:
        """Fork a reader for each connection until the caller is gone."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake)
        for descriptor in (self._control.fileno(), woken):
            self._poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == woken:
                    os.read(woken, CHUNK_BYTES)
                elif descriptor != self._control.fileno():
                    self._kill_reader(descriptor)
                elif not self._accept_caller():
                    return self._kill_readers()
            self._reap_readers()

    def _accept_caller(self) -> bool:
        order, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if not order:
            return False
        caller = socket.socket(fileno=descriptors[0])
        host = os.getpid()
        reader = os.fork()
        if reader == 0:
            for inherited in (self._control, *self._callers.values()):
                inherited.close()
            _serve_caller(caller, host)
        self._callers[caller.fileno()], self._readers[caller.fileno()] = caller, reader
        self._poll.register(caller.fileno(), 0)  # no events but the hang-up
        return True

    def _kill_reader(self, descriptor: int) -> None:
        os.kill(self._readers[descriptor], signal.SIGKILL)
        os.waitid(os.P_PID, self._readers[descriptor], os.WEXITED | os.WNOWAIT)  # it is reaped below

    def _reap_readers(self) -> None:
        for descriptor, reader in list(self._readers.items()):
            exited, status = os.waitpid(reader, os.WNOHANG)
            if exited:
                del self._readers[descriptor]
                self._poll.unregister(descriptor)
                with self._callers.pop(descriptor) as caller:
                    _send_exit_code(caller, os.waitstatus_to_exitcode(status))

    def _kill_readers(self) -> None:
        for reader in self._readers.values():
            os.kill(reader, signal.SIGKILL)


def _send_exit_code(caller: socket.socket, code: int) -> None:
    if code:
        try:
            caller.send(DIED + str(code).encode(), socket.MSG_DONTWAIT)
        except OSError:  # it left
            return


def _serve_caller(caller: socket.socket, host: int) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
        if os.getppid() == host:
            request = b"".join(iter(lambda: caller.recv(CHUNK_BYTES), b""))
            caller.sendall(handle_request(request) + DONE)
            code = 0
    finally:
        os._exit(code)


class _PandasBlocker(MetaPathFinder):
    """Hides pandas from Arrow, which would load it in each reader for nothing."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main() -> None:
    sys.meta_path.insert(0, _PandasBlocker())
    for name in _PRELOADED:
        with suppress(ImportError):
            import_module(name)
    gc.freeze()  # what is loaded stays shared with the readers
    ReaderHost(socket.socket(fileno=0)).run()


if __name__ == "__main__":
    main()

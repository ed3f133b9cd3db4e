"""Brings up API servers to be killed: the whole application under uvicorn, without Ray.

It says `port N`; each line on stdin forks a server on that port: `pid N`, and `end N` when it is gone.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import uvicorn

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from quantis.sandbox.client import start_readers
from serve.api.application import create_app
from serve.services import Services
from tests.crash.writer_host import say
from tests.serve.api_under_test import Failing, settings_for


def main() -> None:
    settings = settings_for(Path(sys.argv[1]))
    app = create_app(Services(settings, Database(settings.sql_url), Failing(RuntimeError()), FakeJobs()))
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    say(f"port {listening.getsockname()[1]}")
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            say(f"pid {os.getpid()}")
            start_readers()
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
            server.run(sockets=[listening])
            os._exit(0)
        os.waitpid(pid, 0)
        say(f"end {pid}")


if __name__ == "__main__":
    main()

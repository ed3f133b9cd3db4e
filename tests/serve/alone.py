"""The whole API under uvicorn in a process of its own, without Ray: `python -m tests.serve.alone FOLDER MB`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from quantis.sandbox.client import start_readers
from serve.api.application import create_app
from serve.services import Services
from tests.serve.api_under_test import Failing, settings_for


def main() -> None:
    settings = settings_for(Path(sys.argv[1])).model_copy(update={"max_upload_mb": int(sys.argv[2])})
    app = create_app(Services(settings, Database(settings.sql_url), Failing(RuntimeError()), FakeJobs()))
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    start_readers()
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off")).run(sockets=[listening])


if __name__ == "__main__":
    main()

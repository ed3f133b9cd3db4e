"""The SDK of each role, and the command line, on the API under test."""

from __future__ import annotations

import socket
import threading

import pytest
import uvicorn

from quantis.cli.main import run
from quantis.client import Client


@pytest.fixture
def sdk_of(world):
    """Makes the client of a role."""

    def client(role):
        return Client("https://quantis.test", token=world.token(role), transport=world.client()._transport)

    return client


@pytest.fixture
def cli(world, capsys, monkeypatch):
    """Runs a command line on this API as an ML engineer; its exit code, stdout and stderr."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    monkeypatch.setenv("QUANTIS_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("QUANTIS_TOKEN", world.token("ml_engineer"))

    def command(*arguments):
        code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    yield command
    server.should_exit = True
    thread.join()

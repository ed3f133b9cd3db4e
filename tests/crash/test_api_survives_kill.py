"""Kills the API's process while clients upload: what got an answer is there, and clients go on after it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.repositories.accounts import UserAccounts
from quantis.types.accounts import Role
from serve.security import tokens
from tests.crash.blocks import Operation
from tests.crash.crash_ledger import TEAM, CrashLedger, child_process
from tests.serve.api_under_test import SECRET

_PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


class Uploader(threading.Thread):
    """One client: uploads to a dataset until told to stop, and tries again what got no answer, or goes on."""

    def __init__(self, book: CrashLedger, url: str, token: str, lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self._book, self._lock = book, lock
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=120)
        self.done = threading.Event()
        self.surprises: list[str] = []

    def run(self) -> None:
        name = None
        while not self.done.is_set():
            with self._lock:
                name = name or self._book.begin()
                number = self._book.next_operation(name)
                if number is not None:
                    self._book.histories[name].tried.append(number)
            if number is None:
                name = None
            else:
                self._upload(name, number)

    def _upload(self, name: str, number: int) -> None:
        body = pa.BufferOutputStream()
        pq.write_table(Operation(number).table(), body)
        try:
            answer = self._client.post(
                f"/v1/datasets/{name}/versions", content=body.getvalue().to_pybytes(), headers=_PARQUET
            )
        except httpx.TransportError:
            return
        if answer.status_code in (200, 201):
            version = answer.json()["version"]
            self._book.histories[name].acknowledged[number] = (version["number"], version["content_hash"])
        else:
            self.surprises.append(f"{answer.status_code} {answer.text[:200]}")


class Server:
    """The process that is brought up and killed."""

    def __init__(self, book: CrashLedger, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._book, self._orders, self._said = book, parent.stdin, parent.stdout
        self.url = f"http://127.0.0.1:{int(self._said.readline().removeprefix('port '))}"

    @contextmanager
    def life(self) -> Iterator[None]:
        """Up while this is open, killed at its end."""
        self._orders.write("serve\n")
        pid = int(self._said.readline().removeprefix("pid "))
        yield
        self._book.kill(pid)
        assert self._said.readline() == f"end {pid}\n"


def _usual_seconds(book: CrashLedger) -> float:
    """How long an upload takes on this machine now."""
    started = time.monotonic()
    while book.acknowledged < 4:
        assert time.monotonic() - started < 240, "no upload gets an answer"
        time.sleep(0.02)
    return (time.monotonic() - started) / 2


def _kills(folder: Path, *, kills: int, acknowledged: int, clients: int, lives: float, seed: int) -> None:
    book = CrashLedger(folder, seed)
    user = UserAccounts(book.database).create(TEAM, "ann", "correct horse battery", Role.admin)
    token = tokens.issue(user.id, SECRET.encode(), 86400)
    lock = threading.Lock()
    with child_process("serving", folder) as parent:
        server = Server(book, parent)
        uploaders = [Uploader(book, server.url, token, lock) for _ in range(clients)]
        for uploader in uploaders:
            uploader.start()
        with server.life():
            usual = _usual_seconds(book)
        while book.kills < kills or book.acknowledged < acknowledged:
            with server.life():
                time.sleep(book.chance.uniform(0.0, lives * usual))
        with server.life():
            for uploader in uploaders:
                uploader.done.set()
            for uploader in uploaders:
                uploader.join(60)
    faults = book.faults()
    print(book.counts(faults))
    assert [surprise for uploader in uploaders for surprise in uploader.surprises] == []
    assert faults == []
    assert book.acknowledged >= max(acknowledged, 1)
    book.database.close()


@pytest.mark.timeout(600)
def test_when_the_api_is_killed_then_every_answered_upload_is_there_once_and_whole(tmp_path: Path) -> None:
    _kills(tmp_path, kills=6, acknowledged=0, clients=2, lives=2.0, seed=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_when_the_api_is_killed_two_hundred_times_then_nothing_is_lost(tmp_path: Path) -> None:
    _kills(tmp_path, kills=200, acknowledged=1000, clients=3, lives=8.0, seed=5)

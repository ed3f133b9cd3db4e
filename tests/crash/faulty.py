"""Writes through the API while one call to the operating system after the other fails; prints what came of it.

`python -m tests.crash.faulty FOLDER WHAT ERROR STAYS STRIDE`, with `faults.c` preloaded; a stride of 2 leaves out
every other call.
"""

from __future__ import annotations

import ctypes
import errno
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from cluster.database.engine import Database
from cluster.datasets.integrity import verify
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import UserAccounts
from quantis.types.accounts import Role
from serve.api.application import create_app
from serve.security import tokens
from serve.services import Services
from tests.crash.blocks import Operation, spec
from tests.crash.crash_ledger import TEAM
from tests.serve.api_under_test import SECRET, Failing, settings_for

MOST = 400


def upload(client: TestClient, number: int) -> httpx.Response:
    sink = pa.BufferOutputStream()
    pq.write_table(Operation(number).table(), sink)
    return client.post(
        "/v1/datasets/sales/versions",
        content=sink.getvalue().to_pybytes(),
        headers={"Content-Type": "application/vnd.apache.parquet"},
    )


def append(client: TestClient, number: int) -> httpx.Response:
    rows = Operation(number).rows()
    series = [
        {
            "unique_id": name,
            "ds": [ds.isoformat() for one, ds, _, _ in rows if one == name],
            "y": [y for one, _, y, _ in rows if one == name],
            "futr_exog": {"price": [price for one, _, _, price in rows if one == name]},
        }
        for name in sorted({row[0] for row in rows})
    ]
    return client.post("/v1/datasets/sales/observations", json={"series": series})


WAYS: dict[str, Callable[[TestClient, int], httpx.Response]] = {"upload": upload, "append": append}


def main() -> None:
    folder, what, error, stays = Path(sys.argv[1]), sys.argv[2], getattr(errno, sys.argv[3]), int(sys.argv[4])
    stride = int(sys.argv[5])
    faults: Any = ctypes.CDLL(None)
    faults.fault_name.restype = ctypes.c_char_p
    settings = settings_for(folder)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    user = UserAccounts(database).create(TEAM, "ann", "correct horse battery", Role.admin)
    app = create_app(Services(settings, database, Failing(RuntimeError()), FakeJobs()))
    client = TestClient(app, base_url="https://quantis.test", raise_server_exceptions=False)
    client.headers["Authorization"] = f"Bearer {tokens.issue(user.id, SECRET.encode(), 6000)}"
    client.post("/v1/datasets", json=spec("sales").model_dump(mode="json")).raise_for_status()
    upload(client, 0).raise_for_status()
    said, number = [], 1
    for turn in range(1, MOST, stride):
        versions = len(_versions(client))
        faults.fault_arm(str(folder).encode(), turn, error, stays)
        answer = WAYS[what](client, number)
        reached = faults.fault_disarm()
        seen = len(_versions(client)) - versions
        again = WAYS[what](client, number)
        said.append(
            [answer.status_code, seen, again.status_code, faults.fault_name().decode(), answer.text[:200]]
        )
        number += 1
        if reached < turn:
            break
    sweeper = OrphanSweeper(database, settings.data_layout, grace=timedelta(0))
    sweeper.sweep()
    checked = verify(database, settings.data_layout)
    orphans = [str(orphan.path) for orphan in sweeper.find()]
    print(json.dumps({"said": said, "broken": [str(one) for one in checked.broken], "orphans": orphans}))


def _versions(client: TestClient) -> list[dict[str, Any]]:
    answer = client.get("/v1/datasets/sales/versions").raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


if __name__ == "__main__":
    main()

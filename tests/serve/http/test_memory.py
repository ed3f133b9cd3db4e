"""Over HTTP, hostile and large files leave the API's process as small as it was, and are answered in time."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.database.engine import Database
from cluster.repositories.accounts import DEFAULT_TEAM, UserAccounts
from quantis.panel import timestamps
from quantis.reading import ReadLimits
from quantis.types.accounts import Role
from serve.security import tokens
from tests.quantis.sandbox.test_hostile_files import HOSTILE
from tests.serve.api_under_test import SECRET, settings_for

ROOT = Path(__file__).resolve().parents[3]
GROWTH_MB = 100
SECONDS = ReadLimits().elapsed_seconds + 10  # the reader's own bound is in processor time
SERIES, HOURS = 1_250, 4_000


@dataclass
class Api:
    pid: int
    port: int
    token: str

    def send(self, path: str, body: Path | bytes) -> tuple[int, dict[str, Any], float]:
        """Status, answer, and the seconds from the last byte sent to the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body.read_bytes() if isinstance(body, Path) else body
        kind = "application/octet-stream" if isinstance(body, Path) else "application/json"
        connection.request(
            "POST", path, content, {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        )
        sent = time.monotonic()
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return answer.status, said, time.monotonic() - sent

    def megabytes(self, what: str) -> float:
        """`VmRSS`, `VmHWM` (the most it was) or `RssAnon` (less mapped files) of the process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    settings = settings_for(folder)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    user = UserAccounts(database).create(DEFAULT_TEAM, "ann", "correct horse battery", Role.admin)
    database.close()
    command = [sys.executable, "-m", "tests.serve.alone", str(folder), "256"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        api = Api(process.pid, port, tokens.issue(user.id, SECRET.encode(), 6000))
        spec = {"name": "sales", "freq": "h"}
        assert api.send("/v1/datasets", json.dumps(spec).encode())[0] == 201
        small = folder / "small.csv"
        hours = [f"{d:02}T{h:02}" for d in (1, 2) for h in range(24)]
        small.write_text("unique_id,ds,y\n" + "".join(f"a,2024-01-{hour}:00:00Z,1.5\n" for hour in hours))
        for route in ("check", "versions"):
            status, said, _ = api.send(f"/v1/datasets/sales/{route}", small)
            assert status in (200, 201), said
        yield api
        process.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", HOSTILE)
def test_when_a_hostile_file_is_uploaded_then_the_api_answers_in_time_and_does_not_grow(
    api: Api, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name][0]())
    before = api.megabytes("VmRSS")
    api.forget_peak()
    status, said, seconds = api.send(f"/v1/datasets/sales/versions?file={name}", path)
    grown = api.megabytes("VmHWM") - before
    print(
        f"\n{name}: {path.stat().st_size:,} bytes, {status} after {seconds:.1f} s, {grown:.0f} MB more at most"
    )
    assert said["code"] in ("invalid_input", "rejected_panel", "too_large", "unsupported_media")
    assert seconds < SECONDS
    assert grown < GROWTH_MB
    assert api.send("/v1/datasets/sales/check", b'{"unique_id":["a"],"ds":["2024-01-03"],"y":[1]}')[0] == 200


@pytest.mark.timeout(300)
def test_when_five_million_rows_are_uploaded_then_they_are_stored_and_the_api_does_not_grow(
    api: Api, tmp_path: Path
) -> None:
    path = tmp_path / "large.parquet"
    _write(path)
    size = path.stat().st_size / 2**20
    before = api.megabytes("RssAnon")
    api.forget_peak()
    status, said, seconds = api.send("/v1/datasets/sales/versions?file=large.parquet", path)
    assert (status, said.get("version", {}).get("rows")) == (201, SERIES * HOURS + 48), said
    peak, left = api.megabytes("VmHWM"), api.megabytes("RssAnon") - before
    print(
        f"\n{size:.0f} MB, {SERIES * HOURS:,} rows: {seconds:.1f} s, left {left:.0f} MB, at most {peak:.0f} MB"
    )
    assert left < GROWTH_MB


def _write(path: Path) -> None:
    random = np.random.default_rng(0)
    ds = timestamps(np.datetime64("2020-01-01", "us") + np.arange(HOURS) * np.timedelta64(1, "h"))
    schema = pa.schema([("unique_id", pa.string()), ("ds", ds.type), ("y", pa.float64())])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for number in range(SERIES):
            ids = pa.repeat(pa.scalar(f"s{number:04}"), HOURS)
            y = pa.array(random.gamma(2.0, 10.0, HOURS).round(2))
            file.write_table(pa.table([ids, ds, y], schema.names))

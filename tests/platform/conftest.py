"""A whole platform, started as a newcomer would: `quantis demo`, in an empty folder, on a free port."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import Platform, free_ports
from quantis.client import Client
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.keys import Scope
from tests.platform.live import ROOT, Live

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("platform") / "data"
    port = free_ports(1)[0]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTIS_", "RAY_", "PYTHON"))}
    environment = {
        **clean,
        "QUANTIS_DATA_DIR": str(folder),
        "QUANTIS_URL": f"http://127.0.0.1:{port}",
        "QUANTIS_CONFIG_DIR": str(folder.parent / "config"),
    }
    new = Live(folder, port, {}, environment)
    platform: Platform | None = None
    try:
        done = new.quantis("demo", "--quick", "--port", str(port), "--json")
        if done.returncode:
            logs = "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in (folder / "logs").glob("*.log"))
            pytest.fail(f"quantis demo ended with {done.returncode}\n{done.stderr}\n{done.stdout}\n{logs}")
        platform = processes.load(DataLayout(folder))
        assert platform is not None
        yield Live(folder, port, json.loads(done.stdout), environment)
    finally:
        platform = processes.load(DataLayout(folder)) or platform
        family = processes.family(platform.instance if platform else "")
        down = new.quantis("down", timeout=120)
    assert down.returncode == 0, down.stderr
    assert len(family) > 10
    assert processes.living(family) == []


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A platform with an admin and one job that never begins, for tests that are rough with it."""
    folder = tmp_path_factory.mktemp("bare") / "data"
    (port,) = free_ports(1)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTIS_", "RAY_", "PYTHON"))}
    environment = {
        **clean,
        "QUANTIS_DATA_DIR": str(folder),
        "QUANTIS_URL": f"http://127.0.0.1:{port}",
        "QUANTIS_CONFIG_DIR": str(folder.parent / "config"),
        "QUANTIS_QUOTA_JOBS_AT_ONCE": "0",
        "PYTHONPATH": str(ROOT),
    }
    live = Live(folder, port, {}, environment)
    try:
        done = live.quantis("up", "--port", str(port), "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        secret = (folder / "secrets" / "setup-secret").read_text().strip()
        with Client(live.url) as client:
            client.create_first_admin(secret, "ann", PASSWORD)
        with Client(live.url, user="ann", password=PASSWORD) as client:  # who knows the password, for a key
            client.create_dataset(DatasetSpec(name="lamps", freq="D"))
            days = "".join(f"a,2024-01-{day:02},{day % 7}\n" for day in range(1, 32))
            client.upload("lamps", ("unique_id,ds,y\n" + days).encode())
            job = client.submit(FeaturizeSpec(dataset="lamps"))
            client.reauthenticate(PASSWORD)
            key = client.create_api_key("test", [Scope.read, Scope.data, Scope.jobs, Scope.forecast])
            report = {"job": job.id, "token": key.key}
        yield Live(folder, port, report, environment)
    finally:
        down = live.quantis("down", timeout=120)
    assert down.returncode == 0, down.stderr

"""A whole platform, started as a newcomer would: `quantis demo`, in an empty folder, on a free port."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import free_ports
from tests.platform.live import Live


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
    instance = ""
    try:
        done = new.quantis("demo", "--quick", "--port", str(port), "--json")
        if done.returncode:
            logs = "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in (folder / "logs").glob("*.log"))
            pytest.fail(f"quantis demo ended with {done.returncode}\n{done.stderr}\n{done.stdout}\n{logs}")
        platform = processes.load(DataLayout(folder))
        assert platform is not None
        instance = platform.instance
        yield Live(folder, port, json.loads(done.stdout), environment)
    finally:
        family = processes.family(instance)
        down = new.quantis("down", timeout=120)
    assert down.returncode == 0, down.stderr
    assert len(family) > 10
    assert processes.living(family) == []

"""The exporter answers for the folder of its node, from a process that is none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from monitoring.exporter import PORT, Exporter, main
from tests.monitoring.test_instruments import LEADER, ROOT, finish, start, wait_ready


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, httpx.Client]]:
    """Two nodes, each with a folder and an exporter of its own."""
    clients, servers = {}, []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        server = Exporter(tmp_path / name, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        clients[name] = httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False)
    yield clients
    for client in clients.values():
        client.close()
    for server in servers:
        server.shutdown()
        server.server_close()


def value(client: httpx.Client, name: str) -> float | None:
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), None)


def test_when_two_nodes_are_scraped_then_each_tells_its_own_counters_and_their_sum_is_the_truth(
    tmp_path: Path, nodes: dict[str, httpx.Client]
) -> None:
    for rows in (3, 4):
        finish(start(tmp_path / "a", f"i.count_rows({rows})"))
    finish(start(tmp_path / "b", "i.count_rows(100)"))
    assert value(nodes["a"], "quantis_rows_ingested_total") == 7
    assert value(nodes["b"], "quantis_rows_ingested_total") == 100


def test_when_a_leader_lives_or_dies_then_the_exporter_shows_its_gauges_or_none(
    tmp_path: Path, nodes: dict[str, httpx.Client]
) -> None:
    worker = start(tmp_path / "a", LEADER + "sys.stdin.read()")
    wait_ready(worker)
    assert value(nodes["a"], "quantis_outbox_pending") == 5
    assert value(nodes["b"], "quantis_outbox_pending") is None
    worker.kill()
    worker.communicate(timeout=60)
    assert value(nodes["a"], "quantis_outbox_pending") is None
    assert value(nodes["a"], "quantis_reconciler_lease_held") is None


def test_when_the_exporter_is_in_another_process_namespace_then_the_living_keep_their_gauges(
    tmp_path: Path,
) -> None:
    """Containers of a pod share the volume of metrics, and not their process ids."""
    unshare = shutil.which("unshare")
    probe = unshare and subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True, check=False)
    if not probe or probe.returncode:
        pytest.skip("this user may not make a process namespace")
    worker = start(tmp_path, LEADER + "sys.stdin.read()")
    wait_ready(worker)
    code = (
        "import sys; from pathlib import Path; from monitoring import instruments; "
        "print(instruments.render(Path(sys.argv[1]))[0].decode())"
    )
    done = subprocess.run(
        [str(unshare), "--pid", "--fork", sys.executable, "-c", code, str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "quantis_outbox_pending 5.0" in done.stdout
    finish(worker)


def test_when_something_else_is_asked_for_then_there_is_nothing(nodes: dict[str, httpx.Client]) -> None:
    assert nodes["a"].get("/healthz").status_code == 200
    assert nodes["a"].get("/metrics?x=1").status_code == 200
    for path in ("/", "/metrics/..", "/etc/passwd"):
        assert nodes["a"].get(path).status_code == 404
    assert nodes["a"].post("/metrics").status_code == 501
    assert "python" not in nodes["a"].get("/metrics").headers["server"].lower()


def test_when_no_address_is_given_then_only_this_machine_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = []

    def serve(server: Exporter) -> None:
        addresses.append(server.server_address[0])
        server.server_close()

    monkeypatch.setattr(Exporter, "serve_forever", serve)
    monkeypatch.setattr(sys, "argv", ["exporter", f"--folder={tmp_path}", "--port=0"])
    main()
    assert addresses == ["127.0.0.1"]
    assert PORT == 9464

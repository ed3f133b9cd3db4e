from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.database.engine import Database
from cluster.local import health
from cluster.local.health import Fault
from cluster.local.processes import Platform, free_ports
from cluster.repositories.leases import RECONCILER, Leases
from cluster.settings import Settings
from tests.cluster.spawned import SLEEP, Spawn

SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"applications": {"quantis": {"status": "RUNNING"}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
import threading
servers = [http.server.ThreadingHTTPServer(("127.0.0.1", int(p)), Handler) for p in sys.argv[1].split(",")]
for server in servers: threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait(60)
"""
"""A process that says 200 to everything, on the ports of its first argument."""


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path)
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    database.close()
    return settings


@pytest.fixture
def platform(mark: str) -> Platform:
    port, gcs, dashboard, serve, agent = free_ports(5)
    return Platform(
        instance=mark,
        pid=0,
        host="127.0.0.1",
        port=port,
        ray_address=f"127.0.0.1:{gcs}",
        ray_dashboard=f"http://127.0.0.1:{dashboard}",
        ray_temp=f"/tmp/quantis-{mark[:12]}",
        serve_port=serve,
        agent_port=agent,
    )


def head_ports(platform: Platform) -> str:
    return f"{platform.ray_dashboard.rpartition(':')[2]},{platform.agent_port},{platform.serve_port}"


@pytest.fixture
def strangers(platform: Platform) -> Iterator[None]:
    """Serve every port of the platform from this process, which is not of it, as after a restart of the machine."""
    ports = (platform.port, *map(int, head_ports(platform).split(",")))
    servers = [ThreadingHTTPServer(("127.0.0.1", port), _Stranger) for port in ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


def parts(found: list[Fault]) -> list[str]:
    return [fault.part for fault in found]


def test_when_every_part_answers_then_there_is_no_fault(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    spawn(platform.instance, SERVER, head_ports(platform), "--head")
    spawn(platform.instance, SERVER, str(platform.port), "/data/run/front.cfg")
    assert health.faults(settings, platform) == []


@pytest.mark.usefixtures("strangers")
def test_when_somebody_else_answers_on_the_ports_then_the_parts_are_dead_all_the_same(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    assert parts(health.faults(settings, platform)) == ["Ray head", "front"]
    spawn(platform.instance, SLEEP, "--head")
    spawn(platform.instance, SLEEP, "front.cfg")
    faults = health.lasting_faults(settings, platform, patience=0)
    assert parts(faults) == ["Ray head", "front"]
    assert all("listen" in fault.reason for fault in faults)


def test_when_the_head_has_gone_then_it_is_said_at_once_and_nothing_above_it_is_asked(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    spawn(platform.instance, SERVER, f"{head_ports(platform)},{platform.port}", "front.cfg")
    assert health.lasting_faults(settings, platform, patience=600) == [
        Fault("Ray head", "its process has ended", final=True)
    ]


def test_when_only_the_front_is_dead_then_only_the_front_is_named(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    spawn(platform.instance, SERVER, head_ports(platform), "--head")
    assert parts(health.lasting_faults(settings, platform, patience=600)) == ["front"]


def test_when_serves_proxy_is_dead_then_the_api_is_named_and_may_come_back(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    ray = head_ports(platform).rpartition(",")[0]
    spawn(platform.instance, SERVER, ray, "--head")
    spawn(platform.instance, SERVER, str(platform.port), "front.cfg")
    assert [(fault.part, fault.final) for fault in health.faults(settings, platform)] == [("API", False)]
    spawn(platform.instance, SERVER, str(platform.serve_port))
    assert health.lasting_faults(settings, platform, patience=60) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"applications": {}},
        {"applications": {"quantis": {"status": "DEPLOY_FAILED"}}},
        {
            "applications": {
                "quantis": {"status": "UNHEALTHY", "deployments": {"Api": {"status": "UNHEALTHY"}}}
            }
        },
    ],
)
def test_when_serve_says_that_the_application_is_not_well_then_the_api_is_named(
    settings: Settings, platform: Platform, spawn: Spawn, answer: dict[str, object]
) -> None:
    code = SERVER.replace('{"applications": {"quantis": {"status": "RUNNING"}}}', repr(answer))
    spawn(platform.instance, code, head_ports(platform), "--head")
    spawn(platform.instance, SERVER, str(platform.port), "front.cfg")
    assert parts(health.faults(settings, platform)) == ["API"]


def test_when_nobody_renews_the_reconcilers_lease_then_jobs_are_named(
    settings: Settings, platform: Platform, spawn: Spawn
) -> None:
    spawn(platform.instance, SERVER, head_ports(platform), "--head")
    spawn(platform.instance, SERVER, str(platform.port), "front.cfg")
    database = Database(settings.sql_url)
    leases = Leases(database)
    assert leases.take(RECONCILER, "somebody", timedelta(seconds=10))
    assert health.faults(settings, platform) == []
    assert leases.take(RECONCILER, "somebody", timedelta(hours=-1))
    database.close()
    (fault,) = health.faults(settings, platform)
    assert fault.part == "jobs"
    assert "lease" in fault.reason

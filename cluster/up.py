"""`python -m cluster.up`: start the platform on embedded defaults and leave it running."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx

from cluster.database.engine import Database
from cluster.encryption import Cipher
from cluster.local import haproxy, processes
from cluster.local.haproxy import HAProxyConfig
from cluster.local.processes import Platform
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.factors import SecondFactors
from cluster.settings import Settings, application_root, child_environment, ray_environment
from monitoring import instruments
from quantis.errors import Conflict, QuantisError, Unavailable
from quantis.files import write_atomic
from quantis.progress import StepReporter

READY_SECONDS = 120.0


def up(settings: Settings, steps: StepReporter) -> Platform:
    """Start Ray, the database and the API; returns at once when they run already."""
    data_layout = settings.data_layout
    running = processes.load(data_layout)
    if running and running.alive:
        if (running.host, running.port, running.tls_port) != (
            settings.host,
            settings.port,
            _tls_port(settings),
        ):
            raise Conflict(
                f"the platform of {data_layout.root} runs on {running.url}; `quantis down` stops it"
            )
        with steps.step("already up") as step:
            _wait_until_ready(running.serve_url, data_layout.logs)
            if processes.port_is_free(settings.host, settings.port):
                _open_proxy(settings, running)
            step.note = running.url
        return running
    for port in filter(None, (settings.port, _tls_port(settings))):
        if not processes.port_is_free(settings.host, port):
            raise Conflict(f"port {port} is taken by another program; choose one with --port or --tls-port")
    with steps.step("database"):
        data_layout.prepare()
        instruments.clear(data_layout.metrics)
        settings.make_secret("jwt-secret")
        settings.make_secret("ray-token")
        _prepare_database(settings)
    platform = _plan(settings)
    processes.save(data_layout, platform)
    try:
        with steps.step("Ray head"):
            environment = _environment(settings, platform)
            _start_ray(settings, platform, environment)
        with steps.step("API and dashboard") as step:
            _deploy(environment, data_layout.logs)
            _wait_until_ready(platform.serve_url, data_layout.logs)
            _open_proxy(settings, platform)
            step.note = platform.url
    except BaseException:
        processes.stop(platform.instance)
        processes.forget(data_layout)
        raise
    write_atomic(data_layout.run / "env", _shell_lines(settings, platform))
    return platform


def _prepare_database(settings: Settings) -> None:
    database = Database(settings.sql_url)
    database.migrate()
    if not UserAccounts(database).any_user():
        settings.make_secret("setup-secret")
    if not SecondFactors(
        database, Cipher(())
    ).count_encrypted():  # what is sealed needs the key that sealed it
        settings.make_secret("encryption-key")
    database.close()


def _plan(settings: Settings) -> Platform:
    gcs, dashboard, serve_port = processes.free_ports(3)
    instance = uuid.uuid4().hex
    return Platform(
        instance=instance,
        pid=0,
        host=settings.host,
        port=settings.port,
        ray_address=f"127.0.0.1:{gcs}",
        ray_dashboard=f"http://127.0.0.1:{dashboard}",
        ray_temp=f"/tmp/quantis-{instance[:12]}",  # noqa: S108 - socket paths must be short  # nosec B108
        serve_port=serve_port,
        tls_port=_tls_port(settings),
    )


def _tls_port(settings: Settings) -> int | None:
    return settings.tls_port if settings.tls_cert or settings.tls_key else None


def _open_proxy(settings: Settings, platform: Platform) -> None:
    """Open the public proxy last: before that nobody outside sees anything."""
    config = HAProxyConfig(
        platform.host, platform.port, platform.serve_port, settings.max_upload_mb, platform.tls_port
    )
    haproxy.start(settings, config, _environment(settings, platform))


def _environment(settings: Settings, platform: Platform) -> dict[str, str]:
    return child_environment(
        settings,
        {
            **ray_environment(settings),
            "FORWARDED_ALLOW_IPS": "127.0.0.1",  # our own front, which overwrites what callers say
            processes.MARK: platform.instance,
            "QUANTIS_RAY_ADDRESS": platform.ray_address,
            "QUANTIS_RAY_DASHBOARD": platform.ray_dashboard,
            "QUANTIS_SERVE_PORT": str(platform.serve_port),
            "QUANTIS_TRUSTED_PROXIES": "127.0.0.1",
        },
    )


def _start_ray(settings: Settings, platform: Platform, environment: dict[str, str]) -> None:
    client, agent, runtime_env = processes.free_ports(3)
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        f"--port={platform.ray_address.rpartition(':')[2]}",
        f"--dashboard-port={platform.ray_dashboard.rpartition(':')[2]}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--ray-client-server-port={client}",
        f"--dashboard-agent-listen-port={agent}",
        f"--runtime-env-agent-port={runtime_env}",
        f"--num-cpus={settings.ray_cpus}",
        f"--object-store-memory={settings.object_store_mb * 1024 * 1024}",
        f"--temp-dir={platform.ray_temp}",
    ]
    with (settings.data_layout.logs / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=application_root(),
        )
    token = settings.secret_path("ray-token").read_text().strip()
    _wait_for_ray(platform, token, process, settings.data_layout.logs / "ray.log")


def _wait_for_ray(platform: Platform, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    headers = {"Authorization": f"Bearer {token}"}
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"Ray ended with code {process.returncode}; its log {log} ends:\n{_tail(log)}")
        try:
            if (
                httpx.get(f"{platform.ray_dashboard}/api/version", headers=headers, timeout=2).status_code
                == 200
            ):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise Unavailable(f"Ray did not answer within {READY_SECONDS:.0f} s; see {log}")


def _deploy(environment: dict[str, str], logs: Path) -> None:
    log = logs / "deploy.log"
    with log.open("wb") as file:
        process = subprocess.run(
            [sys.executable, "-m", "serve.app"],
            env=environment,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            cwd=application_root(),
            check=False,
        )
    if process.returncode:
        raise Unavailable(f"the API could not be deployed; {log} ends:\n{_tail(log)}")


def _wait_until_ready(url: str, logs: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise Unavailable(f"{url} did not become ready within {READY_SECONDS:.0f} s; see {logs}")


def _shell_lines(settings: Settings, platform: Platform) -> str:
    """Return the shell variables with which Ray's own tools reach this head."""
    values = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.secret_path("ray-token")),
        "RAY_API_SERVER_ADDRESS": platform.ray_dashboard,
        "RAY_ADDRESS": platform.ray_address,
        "QUANTIS_DATA_DIR": str(settings.data_layout.root),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis up", description=__doc__)
    parser.add_argument("--port", type=int, help="port of the API (default 8000, or QUANTIS_PORT)")
    parser.add_argument(
        "--tls-cert", type=Path, help="certificate chain (PEM): serve HTTPS, redirect HTTP there"
    )
    parser.add_argument("--tls-key", type=Path, help="the certificate's private key (PEM)")
    parser.add_argument("--tls-port", type=int, help="port of HTTPS (default 8443, or QUANTIS_TLS_PORT)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    names = ("port", "tls_cert", "tls_key", "tls_port")
    settings = Settings(**{name: value for name in names if (value := getattr(arguments, name)) is not None})
    steps = StepReporter()
    try:
        platform = up(settings, steps)
    except QuantisError as error:
        return fail(error, arguments.json)
    setup = settings.secret_path("setup-secret")
    if arguments.json:
        document = {"url": platform.url, "seconds": steps.seconds, "setup_open": setup.exists()}
        sys.stdout.write(json.dumps(document) + "\n")
        return 0
    steps.report(f"\nQuantis is up: {platform.url}")
    if platform.tls_port is None and platform.host not in ("127.0.0.1", "::1", "localhost"):
        steps.report(
            "Passwords travel readable beyond this machine, and browsers keep no sign-in: give --tls-cert."
        )
    if setup.exists():
        steps.report(f"Create the first admin there with the one-time secret in {setup}")
    return 0


def fail(error: QuantisError, as_json: bool) -> int:
    """Report an error once and return the exit code."""
    if as_json:
        sys.stdout.write(json.dumps({"error": {"code": error.code, "message": error.message}}) + "\n")
    else:
        sys.stderr.write(f"quantis: {error.message}\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

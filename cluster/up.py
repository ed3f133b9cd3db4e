"""`python -m cluster.up`: start the platform on embedded defaults, or what is dead of it, and leave it running."""

from __future__ import annotations

import argparse
import fcntl
import json
import shlex
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from cluster.database.engine import Database
from cluster.encryption import Cipher
from cluster.local import haproxy, head, health, processes
from cluster.local.haproxy import HAProxyConfig
from cluster.local.processes import Platform
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.factors import SecondFactors
from cluster.settings import (
    LOOPBACK,
    PRIVATE_UMASK,
    Settings,
    application_root,
    child_environment,
    ray_environment,
)
from monitoring import instruments
from quantis.errors import Conflict, QuantisError, Unavailable
from quantis.files import write_atomic
from quantis.progress import StepReporter

DEPLOY_SECONDS = 240.0
APPLICATION_MODULE = "serve.app"


@dataclass(frozen=True)
class Started:
    """A platform that runs, and the parts of it that were dead before."""

    platform: Platform
    repaired: tuple[str, ...] = ()


def up(settings: Settings, steps: StepReporter) -> Platform:
    """Start Ray, the database and the API, or what is dead of them, and return where they are."""
    return start_or_repair(settings, steps).platform


def start_or_repair(settings: Settings, steps: StepReporter) -> Started:
    """Start Ray, the database and the API, or what is dead of them; what is alive goes on."""
    data_layout = settings.data_layout
    data_layout.prepare()
    with (data_layout.run / ".up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = processes.load(data_layout)
        if running and running.alive:
            return _repair(settings, running, steps)
        _clear_away(settings, running, steps)
        return Started(_start(settings, steps))


def _clear_away(settings: Settings, former: Platform | None, steps: StepReporter) -> None:
    """Remove what an earlier start left: a state file, Ray's folder, processes that no state file names."""
    data_layout = settings.data_layout
    for instance in processes.strays(data_layout):
        count = processes.stop(instance)
        steps.report(f"  stopped {count} processes of an earlier start, whose state file is lost")
    if former:
        steps.report("  the platform that ran here has ended without `quantis down`; it is started anew")
        head.forget(former)
        processes.forget(data_layout)


def _start(settings: Settings, steps: StepReporter) -> Platform:
    data_layout = settings.data_layout
    _refuse_taken_ports(settings)
    with steps.step("database"):
        instruments.clear(data_layout.metrics)
        _prepare_database(settings)
    platform = _plan(settings)
    processes.save(data_layout, platform)
    try:
        with steps.step("Ray head"):
            environment = _environment(settings, platform)
            head.start(settings, platform, environment)
        with steps.step("API and dashboard") as step:
            _deploy(settings, platform)
            _open_proxy(settings, platform)
            step.note = platform.url
    except BaseException:
        processes.stop(platform.instance)
        head.forget(platform)
        processes.forget(data_layout)
        raise
    write_atomic(data_layout.run / "env", _shell_lines(settings, platform))
    return platform


def _repair(settings: Settings, running: Platform, steps: StepReporter) -> Started:
    """Start again what is dead of a platform; data, and what is alive, stay."""
    if (running.host, running.port, running.tls_port) != (settings.host, settings.port, _tls_port(settings)):
        raise Conflict(
            f"the platform of {settings.data_layout.root} runs on {running.url}; `quantis down` stops it"
        )
    with steps.step("what runs already") as step:
        _prepare_database(settings)  # one that does not answer is not mended by a restart
        faults = {fault.part: fault for fault in health.lasting_faults(settings, running)}
        step.note = (
            "dead: " + "; ".join(map(str, faults.values())) if faults else f"already up: {running.url}"
        )
    platform = running
    if faults.keys() & {"Ray head", "Serve"}:  # nothing is deployed by a controller that hangs
        platform = _restart_head(settings, running, steps)
    elif "API" in faults or "jobs" in faults:
        try:
            with steps.step("API and dashboard"):
                _deploy(settings, running)
        except Unavailable:
            platform = _restart_head(settings, running, steps)
    if platform.serve_port != running.serve_port or "front" in faults:
        with steps.step("front"):
            for pid in processes.end(health.fronts(platform)):
                steps.report(f"  ended the front's process {pid}")
            _refuse_taken_ports(settings)
            _open_proxy(settings, platform)
    write_atomic(settings.data_layout.run / "env", _shell_lines(settings, platform))
    return Started(platform, tuple(faults))


def _restart_head(settings: Settings, running: Platform, steps: StepReporter) -> Platform:
    """Start Ray and what runs on it anew, on the same ports where they are still free."""
    with steps.step("Ray head"):
        processes.stop(running.instance, spare=health.fronts(running))
        head.forget(running)
        platform = replace(_plan(settings), instance=running.instance, ray_temp=running.ray_temp)
        if processes.port_is_free("127.0.0.1", running.serve_port):
            platform = replace(platform, serve_port=running.serve_port)
        processes.save(settings.data_layout, platform)
        head.start(settings, platform, _environment(settings, platform))
    with steps.step("API and dashboard"):
        _deploy(settings, platform)
    return platform


def _refuse_taken_ports(settings: Settings) -> None:
    for port in filter(None, (settings.port, _tls_port(settings))):
        if not processes.port_is_free(settings.host, port):
            raise Conflict(f"port {port} is taken by another program; choose one with --port or --tls-port")


def _prepare_database(settings: Settings) -> None:
    settings.make_secret("jwt-secret")
    settings.make_secret("ray-token")
    database = Database(settings.sql_url)
    database.ping()
    database.migrate()
    if not UserAccounts(database).any_user():
        settings.make_secret("setup-secret")
    if not SecondFactors(
        database, Cipher(())
    ).count_encrypted():  # what is sealed needs the key that sealed it
        settings.make_secret("encryption-key")
    database.close()


def _plan(settings: Settings) -> Platform:
    gcs, dashboard, agent, serve_port = processes.free_ports(4)
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
        agent_port=agent,
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
            **LOOPBACK,
            "FORWARDED_ALLOW_IPS": "127.0.0.1",  # our own front, which overwrites what callers say
            processes.MARK: platform.instance,
            "QUANTIS_RAY_ADDRESS": platform.ray_address,
            "QUANTIS_RAY_DASHBOARD": platform.ray_dashboard,
            "QUANTIS_SERVE_PORT": str(platform.serve_port),
            "QUANTIS_TRUSTED_PROXIES": "127.0.0.1",
        },
    )


def _deploy(settings: Settings, platform: Platform) -> None:
    """Deploy the API and wait until it is ready; Unavailable, with the end of the log, otherwise."""
    processes.end(
        processes.with_argument(platform.instance, APPLICATION_MODULE)
    )  # of an `up` that was killed
    log = settings.data_layout.logs / "deploy.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", APPLICATION_MODULE],
            env=_environment(settings, platform),
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            cwd=application_root(),
            umask=PRIVATE_UMASK,
        )
        try:
            code = process.wait(DEPLOY_SECONDS)
        except BaseException as error:
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise Unavailable(
                f"the API was not deployed within {DEPLOY_SECONDS:.0f} s; {log} ends:\n{head.tail(log)}"
            ) from None
    if code:
        raise Unavailable(f"the API could not be deployed; {log} ends:\n{head.tail(log)}")
    _wait_until_ready(platform.serve_url, settings.data_layout.logs)


def _wait_until_ready(url: str, logs: Path) -> None:
    deadline = time.monotonic() + head.READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise Unavailable(f"{url} did not become ready within {head.READY_SECONDS:.0f} s; see {logs}")


def _shell_lines(settings: Settings, platform: Platform) -> str:
    """Return the shell variables with which Ray's own tools reach this head."""
    values = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.secret_path("ray-token")),
        **LOOPBACK,
        "RAY_API_SERVER_ADDRESS": platform.ray_dashboard,
        "RAY_ADDRESS": platform.ray_address,
        "QUANTIS_DATA_DIR": str(settings.data_layout.root),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


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
        started = start_or_repair(settings, steps)
    except QuantisError as error:
        return fail(error, arguments.json)
    platform, setup = started.platform, settings.secret_path("setup-secret")
    if arguments.json:
        document = {
            "url": platform.url,
            "seconds": steps.seconds,
            "setup_open": setup.exists(),
            "repaired": started.repaired,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return 0
    if started.repaired:
        steps.report(f"\nRepaired: {', '.join(started.repaired)}")
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

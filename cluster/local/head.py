"""Ray's head of the local platform, under `ray start --block`, which ends it as a whole when a part of it dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx

from cluster.local import processes
from cluster.local.processes import Platform
from cluster.settings import PRIVATE_UMASK, Settings, application_root
from quantis.errors import Unavailable

READY_SECONDS = 120.0


def start(settings: Settings, platform: Platform, environment: dict[str, str]) -> None:
    """Start the head and return once it answers; Unavailable, with the end of its log, otherwise."""
    client, runtime_env = processes.free_ports(2)
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
        f"--dashboard-agent-listen-port={platform.agent_port}",
        f"--runtime-env-agent-port={runtime_env}",
        f"--num-cpus={settings.ray_cpus}",
        f"--memory={settings.memory_mb * 1024 * 1024}",
        f"--object-store-memory={settings.object_store_mb * 1024 * 1024}",
        f"--temp-dir={_private_folder(platform)}",
    ]
    log = settings.data_layout.logs / "ray.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=application_root(),
            umask=PRIVATE_UMASK,
        )
    _wait(platform, token(settings), process, log)


def _private_folder(platform: Platform) -> Path:
    """Name Ray's folder inside of one that is closed to other accounts: Ray opens its own to everybody."""
    folder = Path(platform.ray_temp)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise Unavailable(f"{folder} is another account's; remove it, then start the platform again")
    folder.chmod(0o700)
    return folder / "ray"


def forget(platform: Platform) -> None:
    """Remove the folder of a head that has ended."""
    temporary = Path(platform.ray_temp)
    if temporary.name.startswith("quantis-"):
        shutil.rmtree(temporary, ignore_errors=True)


def token(settings: Settings) -> dict[str, str]:
    """Return the header that Ray's dashboard asks for."""
    path = settings.secret_path("ray-token")
    return {"Authorization": f"Bearer {path.read_text().strip()}"} if path.exists() else {}


def _wait(platform: Platform, headers: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    address = f"{platform.ray_dashboard}/api/version"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"Ray ended with code {process.returncode}; its log {log} ends:\n{tail(log)}")
        try:
            if httpx.get(address, headers=headers, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise Unavailable(f"Ray did not answer within {READY_SECONDS:.0f} s; see {log}")


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

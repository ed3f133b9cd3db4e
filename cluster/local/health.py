"""Health of the local platform's parts: each is asked, and only an answer of our own process counts.

A pid or an open port proves nothing: after a restart of the machine both may belong to somebody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import httpx

from cluster.database.engine import Database
from cluster.local import head, processes
from cluster.local.processes import Platform
from cluster.repositories.leases import RECONCILER, Leases
from cluster.settings import Settings
from quantis.errors import QuantisError

Part = Literal["Ray head", "Serve", "API", "jobs", "front"]
PARTS: tuple[Part, ...] = get_args(Part)

APPLICATION = "quantis"
HEAD_ARGUMENT, FRONT_ARGUMENT = "--head", "front.cfg"
PATIENCE = 30.0
"""Seconds in which Serve starts again what died of it, and in which a busy machine answers."""

ANSWER_SECONDS = 5.0
LEASE_OVERDUE = timedelta(seconds=60)
"""Time after its end at which nobody will renew a lease that is renewed every second."""


@dataclass(frozen=True)
class Fault:
    """Fault of one part; a final one does not pass by itself."""

    part: Part
    reason: str
    final: bool = False

    def __str__(self) -> str:
        return f"{self.part} ({self.reason})"


def faults(settings: Settings, platform: Platform) -> list[Fault]:
    """Ask every part once; what stands on a dead Ray head is not asked."""
    pids = processes.family(platform.instance)
    head_fault = _head(settings, platform, pids)
    above: list[Fault | None] = [] if head_fault else [_api(settings, platform, pids), _jobs(settings)]
    return [fault for fault in (head_fault, *above, _front(platform)) if fault]


def lasting_faults(settings: Settings, platform: Platform, patience: float = PATIENCE) -> list[Fault]:
    """Return the faults that are final, or still there after some patience."""
    deadline = time.monotonic() + patience
    while (current := faults(settings, platform)) and time.monotonic() < deadline:
        if any(fault.final and fault.part == "Ray head" for fault in current):
            break
        if all(fault.final for fault in current):
            break
        time.sleep(0.5)
    return current


def fronts(platform: Platform) -> dict[int, int]:
    """Return the front's processes: pid to start time."""
    return processes.with_argument(platform.instance, FRONT_ARGUMENT)


def _head(settings: Settings, platform: Platform, pids: dict[int, int]) -> Fault | None:
    guardians = processes.with_argument(platform.instance, HEAD_ARGUMENT)
    if not guardians:
        return Fault("Ray head", "its process has ended", final=True)
    if processes.has_dead_child(guardians):
        return Fault("Ray head", "one of its processes has died")
    port = int(platform.ray_dashboard.rpartition(":")[2])
    if not processes.listens(pids, port):
        return Fault("Ray head", f"its dashboard does not listen on port {port}", final=True)
    questions = [("GCS", f"{platform.ray_dashboard}/api/gcs_healthz")]
    if platform.agent_port is not None:
        questions.append(("raylet", f"http://127.0.0.1:{platform.agent_port}/api/local_raylet_healthz"))
    questions.append(("dashboard", f"{platform.ray_dashboard}/api/version"))
    for name, address in questions:
        if reason := _ask(address, head.token(settings)):
            return Fault("Ray head", f"its {name} {reason}")
    return None


def _api(settings: Settings, platform: Platform, pids: dict[int, int]) -> Fault | None:
    if not processes.listens(pids, platform.serve_port):
        return Fault("API", f"Serve's proxy does not listen on port {platform.serve_port}")
    if reason := _ask(f"{platform.serve_url}/readyz"):
        return Fault("API", f"/readyz {reason}")
    states: list[str] = []
    address = f"{platform.ray_dashboard}/api/serve/applications/"
    if reason := _ask(address, head.token(settings), lambda status: states.extend(_unwell(status))):
        return Fault("Serve", f"its controller {reason}")
    return Fault("API", "; ".join(states)) if states else None


def _unwell(status: Any) -> Iterator[str]:
    """Yield what Serve says of an application that does not run, deployment by deployment."""
    application = status.get("applications", {}).get(APPLICATION)
    if application is None:
        yield "nothing is deployed"
    elif application["status"] != "RUNNING":
        yield f"Serve says {application['status']}"
        for name, deployment in application.get("deployments", {}).items():
            if deployment["status"] == "UNHEALTHY":
                yield f"{name} is {deployment['status']}"


def _jobs(settings: Settings) -> Fault | None:
    database = Database(settings.sql_url)
    try:
        ends = Leases(database).end(RECONCILER)
    except QuantisError as error:
        return Fault("jobs", error.message)
    finally:
        database.close()
    if ends is not None and datetime.now(UTC) - ends > LEASE_OVERDUE:
        return Fault("jobs", f"nobody has held the reconciler's lease since {ends:%Y-%m-%d %H:%M:%S} UTC")
    return None


def _front(platform: Platform) -> Fault | None:
    public = platform.tls_port or platform.port
    if not processes.listens(fronts(platform), public):
        return Fault("front", f"it does not listen on port {public}", final=True)
    host = f"[{platform.host}]" if ":" in platform.host else platform.host
    if reason := _ask(f"http://{host}:{platform.port}/healthz", any_status=True):
        return Fault("front", f"it {reason}")
    return None


def _ask(
    address: str,
    headers: dict[str, str] | None = None,
    read: Callable[[Any], None] | None = None,
    *,
    any_status: bool = False,
) -> str:
    """Return the reason why an address does not answer well; the empty text when it does."""
    try:
        response = httpx.get(address, headers=headers, timeout=ANSWER_SECONDS, trust_env=False)
        if not any_status and response.status_code != 200:
            return f"answers {response.status_code}"
        if read:
            read(response.json())
    except (httpx.HTTPError, ValueError) as error:
        return f"does not answer ({type(error).__name__})"
    return ""

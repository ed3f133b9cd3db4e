"""`python -m cluster.doctor`: diagnose an installation and name the remedies."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from cluster.database.engine import Database
from cluster.datasets.orphan_sweeper import OrphanSweeper
from cluster.local import health, processes
from cluster.settings import Settings, application_root
from quantis.errors import QuantisError

LEAST_DISK_GB = 2
_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


@dataclass(frozen=True)
class DoctorCheck:
    name: str
    outcome: str
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[DoctorCheck]:
    """Run every check, in the order in which things would fail."""
    checks: list[Callable[[Settings], DoctorCheck]] = [
        _python,
        _packages,
        _dashboard,
        _data_folder,
        _disk,
        _secrets,
        _database,
        _orphans,
    ]
    return [*(check(settings) for check in checks), *_platform(settings)]


def _python(settings: Settings) -> DoctorCheck:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if version.startswith("3.11."):
        return DoctorCheck("Python", "ok", version)
    return DoctorCheck(
        "Python", "error", f"{version}, and 3.11 is needed", "make the environment with python3.11"
    )


def _packages(settings: Settings) -> DoctorCheck:
    lock = (application_root() / "requirements" / "lock.txt").read_text()
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock, re.MULTILINE)
    mismatches = []
    for name, locked in pinned:
        try:
            if version(name) != locked:
                mismatches.append(f"{name} {version(name)} (locked {locked})")
        except PackageNotFoundError:
            mismatches.append(f"{name} is missing")
    if not mismatches:
        return DoctorCheck("packages", "ok", f"{len(pinned)} as locked")
    remainder = f" and {len(mismatches) - 3} more" if len(mismatches) > 3 else ""
    return DoctorCheck(
        "packages", "error", ", ".join(mismatches[:3]) + remainder, "requirements/install.sh lock.txt"
    )


def _dashboard(settings: Settings) -> DoctorCheck:
    if (settings.web_dist / "index.html").exists():
        return DoctorCheck("dashboard", "ok", str(settings.web_dist))
    return DoctorCheck(
        "dashboard", "warning", "not built; the API works without it", "make web/dist/index.html"
    )


def _data_folder(settings: Settings) -> DoctorCheck:
    root = settings.data_layout.root
    if not root.exists():
        return DoctorCheck("data folder", "ok", f"{root} will be made by `quantis up`")
    if root.stat().st_mode & 0o077:
        return DoctorCheck("data folder", "warning", f"others may read {root}", f"chmod 700 {root}")
    return DoctorCheck("data folder", "ok", str(root))


def _disk(settings: Settings) -> DoctorCheck:
    folder = next(
        path for path in (settings.data_layout.root, *settings.data_layout.root.parents) if path.exists()
    )
    free = shutil.disk_usage(folder).free / 1e9
    if free < LEAST_DISK_GB:
        remedy = "free some, or set QUANTIS_DATA_DIR to a larger disk"
        return DoctorCheck("disk", "error", f"{free:.1f} GB free, {LEAST_DISK_GB} are needed", remedy)
    return DoctorCheck("disk", "ok", f"{free:.0f} GB free")


def _secrets(settings: Settings) -> DoctorCheck:
    if not settings.secret_path("jwt-secret").exists() and settings.jwt_secret is None:
        return DoctorCheck("secrets", "ok", "will be made by `quantis up`")
    try:
        settings.token_secrets()
    except QuantisError as error:
        return DoctorCheck("secrets", "error", error.message, "set a stronger one")
    path = settings.secret_path("jwt-secret")
    if path.exists() and path.stat().st_mode & 0o077:
        return DoctorCheck("secrets", "error", f"others may read {path}", f"chmod 600 {path}")
    return DoctorCheck("secrets", "ok", "private and strong")


def _database(settings: Settings) -> DoctorCheck:
    if settings.database_url is None and not settings.data_layout.database.exists():
        return DoctorCheck("database", "ok", "will be made by `quantis up`")
    database = Database(settings.sql_url)
    try:
        database.ping()
        current = database.is_current()
    except Exception as error:
        return DoctorCheck("database", "error", str(error)[:200], "check QUANTIS_DATABASE_URL and the server")
    finally:
        database.close()
    if not current:
        return DoctorCheck("database", "warning", "an older schema", "`quantis up` migrates it")
    return DoctorCheck("database", "ok", "reachable, newest schema")


def _orphans(settings: Settings) -> DoctorCheck:
    if settings.database_url is None and not settings.data_layout.database.exists():
        return DoctorCheck("left-over files", "ok", "none yet")
    database = Database(settings.sql_url)
    try:
        count = len(OrphanSweeper(database, settings.data_layout).find())
    except Exception as error:
        return DoctorCheck("left-over files", "warning", str(error)[:200], "see the database above")
    finally:
        database.close()
    if count:
        return DoctorCheck(
            "left-over files", "ok", f"{count} of killed processes; the running platform sweeps them"
        )
    return DoctorCheck("left-over files", "ok", "none")


def _platform(settings: Settings) -> list[DoctorCheck]:
    """Check each part of the platform that runs here; a port or a pid alone proves nothing."""
    platform = processes.load(settings.data_layout)
    if platform is None:
        return [_no_platform(settings)]
    if not platform.alive:
        reason = "it was up and all its processes are gone"
        return [DoctorCheck("platform", "error", reason, "`quantis up` starts it again")]
    faults = {fault.part: fault for fault in health.faults(settings, platform)}
    if not faults:
        return [DoctorCheck("platform", "ok", f"up and ready at {platform.url}")]
    checks = []
    for part in health.PARTS:
        if part in faults:
            remedy = f"`quantis up` repairs it and keeps the data; logs are in {settings.data_layout.logs}"
            checks.append(DoctorCheck(part, "error", faults[part].reason, remedy))
        elif "Ray head" in faults and part != "front":
            checks.append(DoctorCheck(part, "error", "it needs the Ray head", "see the Ray head above"))
        else:
            checks.append(DoctorCheck(part, "ok", "answers"))
    return checks


def _no_platform(settings: Settings) -> DoctorCheck:
    if processes.strays(settings.data_layout):
        return DoctorCheck(
            "platform",
            "error",
            f"processes of it run, and their state file in {settings.data_layout.run} is lost or unreadable",
            "`quantis up` starts it again, `quantis down` ends them",
        )
    if not processes.port_is_free(settings.host, settings.port):
        return DoctorCheck(
            "platform", "warning", f"not up, and port {settings.port} is taken", "quantis up --port N"
        )
    return DoctorCheck("platform", "ok", "not up")


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    checks = diagnose(Settings())
    failed = any(check.outcome == "error" for check in checks)
    if arguments.json:
        document = {"outcome": "error" if failed else "ok", "checks": [asdict(check) for check in checks]}
        sys.stdout.write(json.dumps(document) + "\n")
        return int(failed)
    for check in checks:
        sys.stdout.write(f"{_MARKS[check.outcome]} {check.name}: {check.detail}\n")
        if check.remedy:
            sys.stdout.write(f"    {check.remedy}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

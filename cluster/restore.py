"""`python -m cluster.restore FILE --into FOLDER`: a data folder from a backup, checked before it gets its name."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.backup import DATABASE, FORMAT, MLFLOW, POSTGRES, fail
from cluster.backup_archive import BackupBroken, remove, unpack
from cluster.data_layout import DataLayout
from cluster.database.dumps import check_sqlite, relocate_artifacts, restore_postgres
from cluster.database.engine import Database
from cluster.datasets.integrity import IntegrityReport, verify
from cluster.settings import Settings, child_environment
from quantis.errors import Conflict, InvalidInput, QuantisError
from quantis.files import sync_folder
from quantis.progress import StepReporter


@dataclass(frozen=True)
class RestoreResult:
    """Contents of a restored backup, as of `made_at`."""

    path: str
    made_at: str
    versions: int
    rows: int
    seconds: float


def restore(source: Path, into: Path, settings: Settings, database_url: str | None = None) -> RestoreResult:
    """Extract, compare every hash, read every version back, and only then give the folder its name.

    Conflict when the folder holds anything; BackupBroken when the backup is not what it promises.
    `database_url` names an empty PostgreSQL database for a backup of one.
    """
    started = time.monotonic()
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Conflict(f"{into} is not empty; restore into a new folder")
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.{os.getpid()}.partial")
    partial.mkdir(mode=0o700)
    try:
        manifest = unpack(source, partial)
        _check_format(source, manifest)
        report = _open_databases(partial, into, manifest, settings, database_url)
        _check(source, manifest, report)
        for folder in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
            sync_folder(folder)
        partial.replace(into)
    finally:
        remove(partial)
    sync_folder(into.parent)
    seconds = round(time.monotonic() - started, 2)
    return RestoreResult(str(into), manifest["made_at"], report.versions, report.rows, seconds)


def _open_databases(
    partial: Path, into: Path, manifest: dict[str, Any], settings: Settings, database_url: str | None
) -> IntegrityReport:
    """Open the databases, migrate ours to this code's schema, and read every version."""
    environment = child_environment(settings, {})
    if (dump := partial / f"quantis{POSTGRES}").exists():
        if database_url is None:
            raise InvalidInput("the backup is of PostgreSQL; name an empty database with --database-url")
        restore_postgres(database_url, dump, environment)
    else:
        if complaints := check_sqlite(partial / DATABASE):
            raise BackupBroken(f"the database in the backup is broken: {complaints[:200]}")
        database_url = f"sqlite:///{partial / DATABASE}"
    if (partial / MLFLOW).exists():
        relocate_artifacts(partial / MLFLOW, Path(manifest["root"]) / "artifacts", into / "artifacts")
    database = Database(database_url)
    try:
        database.migrate()
        DataLayout(partial).prepare()
        return verify(database, DataLayout(partial))
    finally:
        database.close()


def _check_format(source: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BackupBroken(
            f"{source} has format {manifest.get('format')!r}, this code reads {FORMAT}; take the code that made it"
        )


def _check(source: Path, manifest: dict[str, Any], report: IntegrityReport) -> None:
    """Raise BackupBroken for versions that were readable when the backup was made and are not now."""
    max_faults = len(manifest["unreadable"])
    if len(report.broken) > max_faults:
        text = "; ".join(str(broken) for broken in report.broken[:3])
        raise BackupBroken(f"{source}: {len(report.broken)} versions do not read as recorded: {text}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis restore", description=__doc__)
    parser.add_argument("file", type=Path, help="what `quantis backup` wrote")
    parser.add_argument(
        "--into", type=Path, required=True, help="a folder that is empty or not there; QUANTIS_DATA_DIR then"
    )
    parser.add_argument("--database-url", help="an empty PostgreSQL database, for a backup of PostgreSQL")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    try:
        result = restore(
            arguments.file.absolute(), arguments.into.absolute(), Settings(), arguments.database_url
        )
    except QuantisError as error:
        return fail(error, arguments.json)
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    else:
        progress = StepReporter()
        progress.report(
            f"{result.path}: {result.versions} versions of {result.made_at}, each read back as recorded"
        )
        progress.report(f"start it with QUANTIS_DATA_DIR={result.path} quantis up")
    return 0


if __name__ == "__main__":
    sys.exit(main())

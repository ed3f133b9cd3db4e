"""`python -m cluster.backup FILE.tar.zst`: a consistent copy of everything, while the platform runs.

The database is copied first, in one transaction. The files that its versions name were on disk before the
versions were recorded and never change, so they can be copied after it. No file is removed meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cluster.backup_archive import SUFFIX, Writer, create
from cluster.data_layout import DataLayout
from cluster.database.dumps import copy_sqlite, dump_postgres, exported_snapshot, is_sqlite
from cluster.database.engine import Database
from cluster.repositories.inventory import Inventory, StoredDataset
from cluster.settings import Settings, child_environment
from features.store import delta_files
from quantis import __version__
from quantis.errors import NotFound, QuantisError
from quantis.progress import StepReporter

FORMAT = 1
DATABASE, MLFLOW, SECRETS = "quantis.db", "mlflow.db", "secrets"
POSTGRES = ".pgdump"


@dataclass
class BackupResult:
    """Contents of a backup. `unreadable` are versions whose files are gone already."""

    path: str
    versions: int = 0
    files: int = 0
    bytes: int = 0
    secrets: bool = False
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def backup(settings: Settings, path: Path, *, with_secrets: bool = False) -> BackupResult:
    """Write a backup; it gets its name only when it is complete."""
    data_layout, started = settings.data_layout, time.monotonic()
    if settings.database_url is None and not data_layout.database.exists():
        raise NotFound(
            f"there is no platform in {data_layout.root}; set QUANTIS_DATA_DIR to the one to back up"
        )
    result = BackupResult(str(path), secrets=with_secrets)
    with (
        create(path) as writer,
        data_layout.keeping_files(),
        tempfile.TemporaryDirectory(dir=path.parent) as temporary,
    ):
        datasets = _add_databases(settings, Path(temporary), writer, result)
        for dataset in datasets:
            _add_dataset(data_layout, dataset, writer, result)
        for name, file in _other_files(data_layout):
            _add_if_exists(writer, name, file)
        if with_secrets:
            for file in sorted((settings.secrets_dir or data_layout.secrets).iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    writer.add(f"{SECRETS}/{file.name}", file)
        writer.finish(_manifest(settings, result))
        result.files, result.bytes = len(writer.files), writer.size
    result.seconds = round(time.monotonic() - started, 2)
    return result


def _add_databases(
    settings: Settings, temporary: Path, writer: Writer, result: BackupResult
) -> list[StoredDataset]:
    """Copy both databases, ours first, since it names the runs of the other; return the datasets that ours lists."""
    with ExitStack() as stack:
        if is_sqlite(settings.sql_url):
            url = f"sqlite:///{temporary / DATABASE}"
            copy_sqlite(Path(settings.sql_url.removeprefix("sqlite:///")), temporary / DATABASE)
        else:
            url = settings.sql_url
            snapshot = stack.enter_context(exported_snapshot(url))
            target = temporary / f"quantis{POSTGRES}"
            dump_postgres(url, target, child_environment(settings, {}), snapshot)
        database = Database(url)
        stack.callback(database.close)
        datasets = Inventory(database).datasets()
    for file in sorted(temporary.glob("quantis.*")):
        writer.add(file.name, file)
    _add_mlflow(settings, temporary, writer, result)
    return datasets


def _add_mlflow(settings: Settings, temporary: Path, writer: Writer, result: BackupResult) -> None:
    if settings.mlflow_url is None:
        if settings.data_layout.mlflow_database.exists():
            copy_sqlite(settings.data_layout.mlflow_database, temporary / MLFLOW)
            writer.add(MLFLOW, temporary / MLFLOW)
    elif settings.mlflow_url.startswith("postgresql"):
        target = temporary / f"mlflow{POSTGRES}"
        dump_postgres(settings.mlflow_url, target, child_environment(settings, {}))
        writer.add(target.name, target)
    else:
        result.left_out.append("MLflow's database: it has a server of its own, back that up too")


def _add_dataset(
    data_layout: DataLayout, dataset: StoredDataset, writer: Writer, result: BackupResult
) -> None:
    """Add the files that the versions of a dataset read, and the commits up to the last of them."""
    folder = data_layout.dataset(dataset.team, dataset.name)
    for version in dataset.versions:
        try:
            tables = delta_files.pinned_versions(folder, [version.pins])
            files = [
                path for table, (number,) in tables.items() for path in delta_files.data_files(table, number)
            ]
            for path in files:
                writer.add(_archive_name(data_layout, path), path)
            result.versions += 1
        except Exception as error:
            result.unreadable.append(f"{dataset.team}/{dataset.name} version {version.number}: {error}"[:300])
    pins = delta_files.pinned_versions(folder, [version.pins for version in dataset.versions])
    for table, versions in pins.items():
        for path in sorted(delta_files.log_files(table, versions[-1])):
            writer.add(_archive_name(data_layout, path), path)


def _other_files(data_layout: DataLayout) -> Iterator[tuple[str, Path]]:
    """Yield models, features and forecasts: the files that have their final name, oldest kind first."""
    for pattern in (
        "artifacts/**/*",
        "teams/*/backtests/**/*",
        "teams/*/features/**/*",
        "teams/*/vintages/**/*",
    ):
        for path in sorted(data_layout.root.glob(pattern)):
            hidden = any(part.startswith(".") for part in path.relative_to(data_layout.root).parts)
            if path.is_file() and not hidden and path.suffix != ".partial":
                yield _archive_name(data_layout, path), path


def _add_if_exists(writer: Writer, name: str, path: Path) -> None:
    try:
        writer.add(name, path)
    except FileNotFoundError:  # a job has just moved it, or ended
        return


def _archive_name(data_layout: DataLayout, path: Path) -> str:
    return path.relative_to(data_layout.root).as_posix()


def _manifest(settings: Settings, result: BackupResult) -> dict[str, object]:
    return {
        "format": FORMAT,
        "quantis": __version__,
        "made_at": datetime.now(UTC).isoformat(),
        "root": str(settings.data_layout.root),
        "versions": result.versions,
        "unreadable": result.unreadable,
        "left_out": result.left_out,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis backup", description=__doc__)
    parser.add_argument("file", type=Path, help=f"NAME{SUFFIX}, or a folder that is not there yet")
    parser.add_argument("--with-secrets", action="store_true", help="also the secrets; guard the file then")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    try:
        result = backup(Settings(), arguments.file.absolute(), with_secrets=arguments.with_secrets)
    except QuantisError as error:
        return fail(error, arguments.json)
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    else:
        say = StepReporter().report
        say(
            f"{result.path}: {result.versions} versions, {result.files} files, {result.bytes / 1e6:.1f} MB of data"
        )
        for line in (*result.left_out, *(f"cannot be read: {text}" for text in result.unreadable)):
            say(f"! {line}")
    return 1 if result.unreadable else 0


def fail(error: QuantisError, as_json: bool) -> int:
    """Report an error once and return the exit code."""
    if as_json:
        sys.stdout.write(json.dumps({"error": {"code": error.code, "message": error.message}}) + "\n")
    else:
        sys.stderr.write(f"quantis: {error.message}\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

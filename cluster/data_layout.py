"""Layout of the data folder. `team_id` is in every path."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantis.errors import InsufficientStorage, QuantisError, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BROKEN = {errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE}


@dataclass(frozen=True)
class DataLayout:
    """Paths below one data folder; only `prepare` touches the disk."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "quantis.db"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """State of the running platform, written by `quantis up`."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def waiting(self) -> Path:
        """Forecasts that were issued while the database did not answer."""
        return self.root / "waiting"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def incoming(self) -> Path:
        """Uploads while they arrive and are read; each in a private folder."""
        return self.root / "incoming"

    def dataset(self, team: str, name: str) -> Path:
        return self.root / "teams" / team / "datasets" / name

    def inbox(self, team: str) -> Path:
        """Folders of files that operators leave for an ingest job."""
        return self.root / "teams" / team / "inbox"

    def folders(self, team: str) -> tuple[Path, ...]:
        """Return the folders that hold a team's data and models."""
        return (self.root / "teams" / team, self.artifacts / team)

    def vintages(self, team: str) -> Path:
        return self.root / "teams" / team / "vintages"

    def monitoring(self, team: str) -> Path:
        """Tables of what became of a team's forecasts."""
        return self.root / "teams" / team / "monitoring"

    def batch_forecasts(self, team: str, job_id: str) -> Path:
        return self.vintages(team) / f"{job_id}.parquet"

    def backtest(self, team: str, job_id: str) -> Path:
        return self.root / "teams" / team / "backtests" / job_id

    def features(self, team: str, name: str) -> Path:
        return self.root / "teams" / team / "features" / name

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """Make a private folder for one upload, on an empty volume too; it is removed afterwards."""
        self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.incoming) as folder:
            yield Path(folder)

    @contextmanager
    def keeping_files(self) -> Iterator[None]:
        """Hold off every sweeper and vacuum; any number of backups may do so at once."""
        with (self.root / ".files.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def removing_files(self) -> Iterator[bool]:
        """Lock out backups while files are removed; yield False while a backup holds the files."""
        with (self.root / ".files.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def prepare(self) -> None:
        """Make the folders; private ones are closed to other users of the machine."""
        for folder in (
            self.root,
            self.secrets,
            self.run,
            self.logs,
            self.metrics,
            self.artifacts,
            self.training,
            self.incoming,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid == os.getuid():
                folder.chmod(0o700)


def disk_error(error: BaseException | None) -> QuantisError | None:
    """Return the error of the API for a full or broken disk behind an exception; None for another cause."""
    while error is not None:
        number = _number(error)
        if number in _FULL:
            return InsufficientStorage(
                f"the disk of the platform is full ({os.strerror(number)}), nothing was kept; "
                "free some space or ask an operator, then send it again"
            )
        if number in _BROKEN:
            return Unavailable(
                f"the disk of the platform failed ({os.strerror(number)}), nothing was kept; try again later"
            )
        error = error.__cause__ or error.__context__
    return None


def _number(error: BaseException) -> int:
    """Return the operating system's number of an error, also of those that have it only in their text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error))
    return int(match[1] or match[2]) if match else 0

"""The layout of the data folder. `team_id` is in every path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Storage:
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
        """What `quantis up` knows of the running platform."""
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
    def training(self) -> Path:
        return self.root / "training"

    def dataset(self, team: str, name: str) -> Path:
        return self.root / "teams" / team / "datasets" / name

    def vintages(self, team: str) -> Path:
        return self.root / "teams" / team / "vintages"

    def features(self, team: str, name: str) -> Path:
        return self.root / "teams" / team / "features" / name

    def prepare(self) -> None:
        """Make the folders; nobody else on the machine may enter those that are ours."""
        for folder in (
            self.root,
            self.secrets,
            self.run,
            self.logs,
            self.metrics,
            self.artifacts,
            self.training,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid == os.getuid():
                folder.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Write a secret: mode 0600 from the start, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

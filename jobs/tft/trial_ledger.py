"""The record of a search: one file per trial, written whole, so that a killed driver loses and repeats nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantis.files import write_atomic


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended: finished, stopped early or failed."""

    config: dict[str, Any]
    state: str
    loss: float | None
    wql: float | None


@dataclass(frozen=True)
class TrialLedger:
    folder: Path

    def record_start(self, config: dict[str, Any]) -> None:
        """Note that a trial runs; one that is known stays as it is."""
        if not self._path(config).exists():
            self._write(TrialResult(config, "running", None, None))

    def record_end(self, outcome: TrialResult) -> None:
        self._write(outcome)

    def results(self) -> list[TrialResult]:
        """In the order of their end."""
        return [outcome for outcome in self._all() if outcome.state != "running"]

    def interrupted_configs(self) -> list[dict[str, Any]]:
        """The configurations that no driver saw the end of."""
        return [outcome.config for outcome in self._all() if outcome.state == "running"]

    def _all(self) -> list[TrialResult]:
        paths = sorted(self.folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [TrialResult(**json.loads(path.read_text())) for path in paths]

    def _path(self, config: dict[str, Any]) -> Path:
        text = json.dumps(config, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def _write(self, outcome: TrialResult) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(outcome.config), json.dumps(asdict(outcome)), mode=0o666)

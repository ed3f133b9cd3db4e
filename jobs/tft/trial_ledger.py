"""Record of a search: a file per trial, written atomically, so that a killed driver loses and repeats nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantis.files import write_atomic


@dataclass(frozen=True)
class TrialResult:
    """A trial and its state: running, finished, stopped early or failed."""

    config: dict[str, Any]
    state: str
    loss: float | None
    wql: float | None


@dataclass(frozen=True)
class TrialLedger:
    folder: Path

    def record_start(self, config: dict[str, Any]) -> None:
        """Record that a trial runs; one that is recorded already stays as it is."""
        if not self._path(config).exists():
            self._write(TrialResult(config, "running", None, None))

    def record_end(self, result: TrialResult) -> None:
        self._write(result)

    def results(self) -> list[TrialResult]:
        """Return the trials that have ended, in the order of their end."""
        return [result for result in self._all() if result.state != "running"]

    def interrupted_configs(self) -> list[dict[str, Any]]:
        """Return the configurations of trials that a killed driver left running."""
        return [result.config for result in self._all() if result.state == "running"]

    def _all(self) -> list[TrialResult]:
        paths = sorted(self.folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [TrialResult(**json.loads(path.read_text())) for path in paths]

    def _path(self, config: dict[str, Any]) -> Path:
        text = json.dumps(config, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def _write(self, result: TrialResult) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(result.config), json.dumps(asdict(result)), mode=0o666)

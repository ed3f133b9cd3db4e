"""Lineage of a model: the code, the lock file and the libraries of this installation."""

from __future__ import annotations

import hashlib
import importlib.metadata
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from quantis import __version__
from quantis.types.registry import Lineage

_PACKAGES = ("quantis", "features", "models", "cluster", "jobs")
_LIBRARIES = (
    "lightgbm",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pytorch-forecasting",
    "ray",
    "scipy",
    "statsforecast",
    "torch",
)


def lineage(root: Path) -> Lineage:
    """Return the lineage of what is trained now by the application in `root`."""
    commit = _commit(root)
    lock = root / "requirements" / "lock.txt"
    return Lineage(
        code_version=f"{__version__} ({commit[:12]})" if commit else __version__,
        code_hash=_code_hash(root),
        environment_hash=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        trained_at=datetime.now(UTC),
    )


@lru_cache
def _code_hash(root: Path) -> str:
    """Hash the names and contents of the sources that decide the numbers."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _commit(root: Path) -> str | None:
    """Return the commit of a checkout; None in an image, which has no history."""
    head = root / ".git" / "HEAD"
    if not head.is_file():
        return None
    text = head.read_text().strip()
    if not text.startswith("ref: "):
        return text
    ref = text.removeprefix("ref: ")
    loose, packed = root / ".git" / ref, root / ".git" / "packed-refs"
    if loose.is_file():
        return loose.read_text().strip()
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), None)

"""Bundles where the registry says that they are: local folders, or an object store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from mlflow.artifacts import download_artifacts
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def fetch_bundle(source: str, folder: Path) -> Path:
    """Download once; a half download never gets the final name."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            Path(download_artifacts(artifact_uri=source, dst_path=temporary)).rename(folder)
    return folder


def remove_bundle(source: str) -> None:
    """Remove a bundle; what a failure leaves over the sweeper finds."""
    address = urlparse(source)
    if address.scheme in ("", "file"):
        shutil.rmtree(unquote(address.path), ignore_errors=True)
    else:
        get_artifact_repository(source).delete_artifacts()

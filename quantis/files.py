"""Files that survive a power cut: flushed to the disk, and whole or not there at all."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import IO, Any


def flush_to_disk(file: IO[Any]) -> None:
    """Write what an open file has buffered, and wait until the disk has it."""
    file.flush()
    os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Wait until the disk has a file's content."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder: a new or renamed file is there after a power cut."""
    if sys.platform != "win32":  # which opens no folder
        _sync(folder)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has its content; its name is up to `sync_folder`."""
    with path.open("wb") as file:
        file.write(content)
        flush_to_disk(file)


def write_atomic(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Write or replace a text file, whole or not at all, there after a power cut.

    It has its mode from the start, so that a secret is never readable to others: by default only the
    owner may read it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            flush_to_disk(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

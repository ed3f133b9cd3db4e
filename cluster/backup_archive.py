"""Container of a backup: a .tar.zst file or a folder, complete or absent, with a hash of every file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

import zstandard

from quantis.errors import Conflict, NotFound, QuantisError
from quantis.files import flush_to_disk, sync_folder

MANIFEST = "manifest.json"
SUFFIX = ".tar.zst"
_CHUNK = 1 << 20


class BackupBroken(QuantisError):
    """The backup differs from what was written."""

    status, code, title, exit_code = 422, "backup_broken", "The backup is broken", 1


class _Target(Protocol):
    def add(self, name: str, size: int, content: IO[bytes]) -> None: ...


class Writer:
    """Adds files to a backup and records their hashes."""

    def __init__(self, target: _Target) -> None:
        self._target = target
        self.files: dict[str, dict[str, Any]] = {}

    @property
    def size(self) -> int:
        return sum(entry["bytes"] for entry in self.files.values())

    def add(self, name: str, path: Path) -> None:
        """Add a file as it is now; one that grows meanwhile is cut at its present size."""
        if name in self.files:
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            hashing = _Hashing(file)
            self._target.add(name, size, hashing)  # type: ignore[arg-type]
        self.files[name] = {"sha256": hashing.digest.hexdigest(), "bytes": size}

    def finish(self, facts: dict[str, Any]) -> None:
        text = json.dumps({**facts, "files": self.files}, indent=1).encode()
        self._target.add(MANIFEST, len(text), io.BytesIO(text))


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """Open a new backup, which gets its name when it is complete; Conflict when the name is taken."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise Conflict(f"{path} is there already; choose another name for the backup")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.name.endswith(SUFFIX):
            yield from _tar(partial)
        else:
            partial.mkdir(mode=0o700)
            yield Writer(_Folder(partial))
        partial.replace(path)
    finally:
        remove(partial)
    sync_folder(path.parent)


def _tar(partial: Path) -> Iterator[Writer]:
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with (
            zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|") as tar,
        ):
            yield Writer(_Tar(tar))
        flush_to_disk(file)


def unpack(source: Path, into: Path) -> dict[str, Any]:
    """Extract every file of a backup below an empty folder and return its manifest.

    BackupBroken when a file is missing, additional or different.
    """
    if not source.exists():
        raise NotFound(f"there is no backup {source}")
    entries: dict[str, dict[str, Any]] = {}
    try:
        for name, content in _folder_entries(source) if source.is_dir() else _tar_entries(source):
            target = into / _safe(name)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            entries[name] = _write(target, content)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise BackupBroken(f"{source} ends early or is no backup ({error}); take another one") from error
    if MANIFEST not in entries:
        raise BackupBroken(f"{source} has no {MANIFEST}: it was cut off, or is no backup; take another one")
    manifest: dict[str, Any] = json.loads((into / MANIFEST).read_bytes())
    del entries[MANIFEST]
    (into / MANIFEST).unlink()
    _compare(source, manifest["files"], entries)
    return manifest


def _compare(source: Path, expected: dict[str, Any], actual: dict[str, Any]) -> None:
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            difference = (
                "is missing" if name not in actual else "was changed" if name in expected else "was added"
            )
            raise BackupBroken(f"{source}: {name} {difference}; take another backup")


def _tar_entries(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with (
        source.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                raise BackupBroken(f"{source} holds {member.name[:100]!r}, which is no plain file")
            yield member.name, content


def _folder_entries(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                yield path.relative_to(source).as_posix(), file


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise BackupBroken(f"the backup names a file {name[:100]!r} outside itself")
    return path


def _write(target: Path, content: IO[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
        flush_to_disk(file)
    return {"sha256": digest.hexdigest(), "bytes": size}


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class _Hashing:
    """A file that hashes what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, size: int, content: IO[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, content)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, size: int, content: IO[bytes]) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(target, _Limited(content, size))  # type: ignore[arg-type]


class _Limited:
    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content, self._left = content, size

    def read(self, size: int) -> bytes:
        data = self._content.read(min(size, self._left))
        self._left -= len(data)
        return data

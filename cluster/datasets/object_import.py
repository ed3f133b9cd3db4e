"""Imports of files from the locations that an operator allows.

A location is `s3://bucket/folder` of the one configured object store, or `file:///folder`, a mounted one;
`{team}` in it stands for the caller's team. The address that a user gives must lie below one. No host that a
user names is contacted, and no credentials but those of the platform are used. Where the store itself
redirects (as Amazon's does to another region), its library follows.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from quantis.errors import Forbidden, InvalidInput, NotFound, TooLarge, Unavailable
from quantis.reading import printable

_CHUNK = 2**20
_MAX_URL_LENGTH = 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SECONDS = 10  # for an object store to answer in


class ImportLocation(NamedTuple):
    """A file or folder: `s3` and a bucket, or `file` and an empty one; then the names below it."""

    scheme: str
    bucket: str
    names: tuple[str, ...]

    def contains(self, location: ImportLocation) -> bool:
        """Return True if another location lies below this one."""
        depth = len(self.names)
        same = (self.scheme, self.bucket, self.names) == (
            location.scheme,
            location.bucket,
            location.names[:depth],
        )
        return same and len(location.names) > depth


def parse_location(url: str) -> ImportLocation:
    """Parse an address; InvalidInput unless it is plainly that of one file or folder."""
    address = printable(url, 120)
    if len(url) > _MAX_URL_LENGTH or not url.isprintable() or "\\" in url:
        raise InvalidInput(
            f"{address!r} is no address; give up to {_MAX_URL_LENGTH} printable characters, no backslash"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput(f"{address!r} is no address; write s3://bucket/folder/file.parquet") from None
    if parts.scheme not in ("s3", "file"):
        raise InvalidInput(f"{address!r} cannot be imported; only s3://... and file:///... can")
    if parts.username is not None or parts.password is not None or port is not None or "@" in parts.netloc:
        raise InvalidInput("an address to import carries no user, password or port; the platform has its own")
    if any(mark in url for mark in "?#%"):
        raise InvalidInput(
            f"{address!r} holds '?', '#' or '%'; write the name of the file as it is, without these"
        )
    bucket = parts.netloc
    if (parts.scheme == "file") == bool(bucket) or (bucket and not _BUCKET.fullmatch(bucket)):
        raise InvalidInput(
            f"{address!r} names no bucket or folder; write s3://bucket/... or file:///folder/..."
        )
    names = tuple(parts.path.removeprefix("/").removesuffix("/").split("/"))
    if any(name in ("", ".", "..") for name in names):
        raise InvalidInput(f"{address!r} holds an empty name, '.' or '..'; write the path as it is")
    return ImportLocation(parts.scheme, bucket, names)


class ObjectImporter:
    """Copies files from below the allowed locations; `endpoint` is the object store where it is not Amazon's."""

    def __init__(self, allowed_prefixes: Sequence[str], endpoint: str | None = None) -> None:
        self._allowed, self._endpoint = tuple(allowed_prefixes), endpoint

    def fetch(self, team: str, url: str, target: Path, max_bytes: int) -> None:
        """Copy the file at an address, of at most `max_bytes`, to `target`.

        Forbidden outside the locations of the team, NotFound, TooLarge, Unavailable.
        """
        location = self._check_allowed(team, url)
        stream = _local(location) if location.scheme == "file" else self._object(location)
        size = 0
        with stream as source, target.open("wb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise TooLarge(
                        f"{printable(url)} is larger than {max_bytes // 2**20} MB; split it by series"
                    )
                file.write(chunk)
        if size == 0:
            raise InvalidInput(f"{printable(url)} is empty; give a header and at least one row")

    def _check_allowed(self, team: str, url: str) -> ImportLocation:
        location = parse_location(url)
        if not self._allowed:
            raise Forbidden(
                "nothing can be imported here; an operator sets QUANTIS_IMPORT_URLS to allow places"
            )
        prefixes = [text.replace("{team}", team) for text in self._allowed]
        if not any(parse_location(prefix).contains(location) for prefix in prefixes):
            raise Forbidden(
                f"{printable(url)} lies outside what may be imported: files below {' or '.join(prefixes)}"
            )
        return location

    @contextmanager
    def _object(self, location: ImportLocation) -> Iterator[Any]:
        from pyarrow import fs

        retry = fs.AwsStandardS3RetryStrategy(max_attempts=2)
        endpoint = {"endpoint_override": self._endpoint} if self._endpoint else {}
        store = fs.S3FileSystem(
            connect_timeout=_SECONDS, request_timeout=_SECONDS, retry_strategy=retry, **endpoint
        )
        path = "/".join((location.bucket, *location.names))
        try:
            if store.get_file_info(path).type != fs.FileType.File:
                raise _missing(f"s3://{path}")
            with store.open_input_stream(path) as stream:
                yield stream
        except FileNotFoundError:
            raise _missing(f"s3://{path}") from None
        except OSError as error:
            if error.errno is not None:  # of our own disk
                raise
            raise Unavailable(
                f"the object store did not give s3://{printable(path)}; ask an operator, or try again later"
            ) from error


@contextmanager
def _local(location: ImportLocation) -> Iterator[IO[bytes]]:
    """Open a regular file, reached without following any link."""
    missing = _missing("file:///" + "/".join(location.names))
    with ExitStack() as descriptors:
        folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        descriptors.callback(os.close, folder)
        try:
            for name in location.names[:-1]:
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                descriptors.callback(os.close, folder)
            file = os.open(location.names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError:
            raise missing from None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise missing
        with os.fdopen(file, "rb", buffering=0) as source:
            yield source


def _missing(url: str) -> NotFound:
    return NotFound(f"there is no file {printable(url)}, or the platform may not read it; check the address")

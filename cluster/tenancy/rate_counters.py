"""Counters of time windows, exact however many processes count: in a file of one node, or on Redis.

A window of a key begins with its first take and ends `seconds` later; within it at most `limit` takes succeed.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import mmap
import os
import secrets
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import redis

from quantis.files import write_atomic

BUCKETS, WAYS = 16_384, 8
_SLOT = struct.Struct("16sdII")
_BUCKET = _SLOT.size * WAYS
_KEY_BYTES = 32
_MAX_COUNT = 2**32 - 1
_LONGEST_SECONDS = 3600.0
_SCRIPT = """
local count, rest = tonumber(redis.call('GET', KEYS[1]) or '0'), redis.call('PTTL', KEYS[1])
local cost, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if rest < 0 then count = 0; rest = tonumber(ARGV[3]) end
local allowed = count + cost <= limit and 1 or 0
if allowed == 1 and cost ~= 0 then redis.call('SET', KEYS[1], math.max(0, count + cost), 'PX', rest) end
if allowed == 1 then count = math.max(0, count + cost) end
return {allowed, count, rest}
"""
log = logging.getLogger("quantis.limits")


@dataclass(frozen=True)
class RateCount:
    """Result of a take: success, the takes in the window, and the seconds until it ends."""

    admitted: bool
    used: int
    resets_in: float

    @property
    def retry_after(self) -> int:
        return max(1, math.ceil(self.resets_in))


class RateCounters(Protocol):
    @property
    def blocking(self) -> bool:
        """True if a take may wait for a network."""
        ...

    def take(self, key: str, limit: int, seconds: float, cost: int = 1) -> RateCount:
        """Count `cost` more if that stays within the limit. 0 only reads, -1 gives one back."""
        ...


class FileCounters:
    """A table in a file that every process of a node maps; a file lock makes each take atomic.

    A window that ended is a free slot. When a bucket of eight living windows meets a ninth key (in a flood of
    keys), the one that is furthest from its limit is forgotten, never one that has reached it: where all eight
    have, the ninth key is refused until one ends. Buckets are chosen by a hash with a secret key beside the file, so
    that nobody can choose names that share the bucket of another.
    """

    blocking = False

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # Room for all of it now: a page that finds none when it is first touched would kill the process.
        os.posix_fallocate(self._file, 0, BUCKETS * _BUCKET)
        self._map = mmap.mmap(self._file, BUCKETS * _BUCKET)
        self._lock = threading.Lock()
        self._key = self._read_or_make_key(path.with_name(f"{path.name}.key"))

    def take(self, key: str, limit: int, seconds: float, cost: int = 1) -> RateCount:
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                return self._count(_digest(key, self._key), limit, seconds, cost)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._map.close()
        os.close(self._file)

    def _count(self, digest: bytes, limit: int, seconds: float, cost: int) -> RateCount:
        now = time.time()
        slot, ends, used = self._find(digest, now)
        if slot is None:  # every window of the bucket is at its limit
            return RateCount(cost <= 0, 0, min(seconds, max(0.0, ends - now)))
        if not now < ends <= now + seconds:  # over, or from before the clock was set back
            ends, used = now + seconds, 0
        admitted = used + cost <= limit
        if admitted:
            used = max(0, used + cost)
            if cost:
                _SLOT.pack_into(self._map, slot, digest, ends, used, min(limit, _MAX_COUNT))
        return RateCount(admitted, used, ends - now)

    def _find(self, digest: bytes, now: float) -> tuple[int | None, float, int]:
        """Return (slot, end, takes) of a key; for a new key a slot that may be overwritten.

        Without such a slot it is None, with the end of the window that ends first.
        """
        start = int.from_bytes(digest[:4], "big") % BUCKETS * _BUCKET
        evictable, full_ends = [], []
        for slot in range(start, start + _BUCKET, _SLOT.size):
            stored, ends, used, limit = _SLOT.unpack_from(self._map, slot)
            if stored == digest:
                return slot, ends, used
            if not now < ends <= now + _LONGEST_SECONDS:  # over, or from before the clock was set back
                evictable.append((-1.0, ends, slot))
            elif limit and used >= limit:
                full_ends.append(ends)
            else:  # a limit of 0 was written by an earlier version
                evictable.append((used / max(limit, 1), ends, slot))
        if not evictable:
            return None, min(full_ends), 0
        return min(evictable)[2], 0.0, 0

    def _read_or_make_key(self, path: Path) -> bytes:
        """Return the secret key of the table, made by the first process that opens it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            key = path.read_text() if path.exists() else ""
            if len(key) != 2 * _KEY_BYTES:
                key = secrets.token_hex(_KEY_BYTES)
                write_atomic(path, key)
            return bytes.fromhex(key)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class RedisCounters:
    """Counters on Redis, for the nodes of a cluster; where Redis does not answer, this node counts alone."""

    blocking = True

    def __init__(self, url: str, meanwhile: RateCounters) -> None:
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._script = self._redis.register_script(_SCRIPT)
        self._meanwhile = meanwhile

    def take(self, key: str, limit: int, seconds: float, cost: int = 1) -> RateCount:
        try:
            name = f"quantis:limit:{_digest(key).hex()}"  # a name may be what somebody mistyped
            admitted, used, remaining_ms = self._script(keys=[name], args=[cost, limit, int(seconds * 1000)])
        except redis.RedisError as error:
            log.warning("Redis does not answer, this node counts alone: %s", type(error).__name__)
            return self._meanwhile.take(key, limit, seconds, cost)
        return RateCount(bool(admitted), int(used), int(remaining_ms) / 1000)


def _digest(key: str, secret: bytes = b"") -> bytes:
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16, key=secret).digest()


def open_counters(folder: Path, redis_url: str | None) -> RateCounters:
    local = FileCounters(folder / "limits")
    return RedisCounters(redis_url, local) if redis_url else local

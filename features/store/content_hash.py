"""What records say, as sums that know no order: hashed row by row, so that equal content adds up equally.

A row's number is mixed from its values and their columns' names and types; null adds nothing, so a
column without any value says nothing. A version's content is its parent's plus that of its new
records: nothing is read again. It tells contents apart; it is no seal against forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantis.panel import KNOWN_AT, RECORDED_AT
from quantis.types.arrays import Integers

GIVEN = "given"

Words = npt.NDArray[np.uint64]

_LANES = 2
_BLOCK = 32_768  # rows whose intermediate results stay in the cache
_MASK = 2**64 - 1


@dataclass(frozen=True)
class ContentSums:
    """Per role group the number of records and the sums of their numbers, modulo 2 ** 64."""

    groups: Mapping[str, tuple[int, int, int]]

    @classmethod
    def empty(cls) -> ContentSums:
        return cls({})

    @classmethod
    def from_json(cls, kept: Mapping[str, Sequence[int]]) -> ContentSums:
        """The inverse of `kept`."""
        return cls({group: (sums[0], sums[1], sums[2]) for group, sums in kept.items()})

    def to_json(self) -> dict[str, list[int]]:
        """As JSON keeps it."""
        return {group: list(sums) for group, sums in self.groups.items()}

    def plus(self, group: str, records: pa.Table, ranks: Integers, sign: int = 1) -> ContentSums:
        """With more records; `sign=-1` takes them away. `ranks` as `features.store.as_of.ranks` gives them."""
        count, *lanes = self.groups.get(group, (0, 0, 0))
        added = _sums(records, ranks)
        first, second = ((lane + sign * more) & _MASK for lane, more in zip(lanes, added, strict=True))
        return ContentSums({**self.groups, group: (count + sign * records.num_rows, first, second)})

    def merge(self, other: ContentSums) -> ContentSums:
        """With what another content says."""
        groups = dict(self.groups)
        for group, sums in other.groups.items():
            count, first, second = groups.get(group, (0, 0, 0))
            groups[group] = (count + sums[0], (first + sums[1]) & _MASK, (second + sums[2]) & _MASK)
        return ContentSums(groups)

    def digest(self) -> str:
        """sha256 in hexadecimal; a group without records is as one that is not there."""
        parts = [f"{group} {sums}" for group, sums in sorted(self.groups.items()) if sums[0]]
        return hashlib.sha256("\n".join(["quantis content 2", *parts]).encode()).hexdigest()


def _sums(records: pa.Table, ranks: Integers) -> list[int]:
    """The sums over rows, one per lane. `known_at` counts where it was given, assigned times never."""
    columns = [
        (name, _bits(records[name]), _valid(records, name))
        for name in records.column_names
        if name not in (RECORDED_AT, GIVEN)
    ]
    totals = [0] * _LANES
    for start in range(0, records.num_rows, _BLOCK):
        part = slice(start, min(start + _BLOCK, records.num_rows))
        for lane in range(_LANES):
            row = ranks[part].astype(np.uint64)
            for name, bits, valid in columns:
                seed = _seed(f"{name} {records[name].type}", lane)
                mixed = _mixed(bits[lane % len(bits)][part] ^ seed)
                if valid is not None:
                    mixed *= valid[part]
                row += mixed
            totals[lane] = (totals[lane] + int(_mixed(row ^ _seed("row", lane)).sum())) & _MASK
    return totals


def _mixed(words: Words) -> Words:
    """Each word spread over all 64 bits (the finaliser of splitmix64). Changes `words`."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def _bits(column: pa.ChunkedArray) -> list[Words]:
    """Each value as 64 bits, or as one word per lane. Shape [rows] each."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        codes = column.combine_chunks().dictionary_encode()
        codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
        place = codes.indices.fill_null(0).to_numpy(zero_copy_only=False)
        texts = codes.dictionary.to_pylist() or [""]
        digests = [
            hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, _LANES)
        return [np.ascontiguousarray(words[:, lane])[place] for lane in range(_LANES)]
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).fill_null(0.0).to_numpy()
        return [(values + 0.0).view(np.uint64)]  # -0.0 is 0.0
    return [column.cast(pa.int64()).fill_null(0).to_numpy().view(np.uint64)]


def _valid(records: pa.Table, name: str) -> Words | None:
    """1 where a value counts, 0 where not; None when all do. Shape [rows]."""
    if name == KNOWN_AT and GIVEN in records.column_names:
        given: Words = records[GIVEN].to_numpy().astype(np.uint64)
        return given
    if records[name].null_count == 0:
        return None
    valid: Words = records[name].is_valid().to_numpy().astype(np.uint64)
    return valid


def _seed(text: str, lane: int) -> np.uint64:
    digest = hashlib.blake2b(f"{lane} {text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))

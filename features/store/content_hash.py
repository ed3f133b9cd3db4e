"""Order-independent content hash of records: sums of row hashes, so that equal content adds up equally.

A row's hash is mixed from its values and their columns' names and types; null adds nothing, so a
column without any value changes nothing. A version's content is its parent's plus that of its new
records: nothing is read again. It tells contents apart; it does not protect against forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quantis.panel import KNOWN_AT, RECORDED_AT
from quantis.types.arrays import Integers, Words

GIVEN = "given"
"""The column that is true where `known_at` came with the data, false where the store assigned it."""

_LANES = 2
_BLOCK = 32_768  # rows whose intermediate results stay in the cache
_MASK = 2**64 - 1


@dataclass(frozen=True)
class ContentSums:
    """Number of records and sums of their hashes, modulo 2 ** 64, per role group."""

    groups: Mapping[str, tuple[int, int, int]]

    @classmethod
    def empty(cls) -> ContentSums:
        return cls({})

    @classmethod
    def from_json(cls, groups: Mapping[str, Sequence[int]]) -> ContentSums:
        return cls({group: (sums[0], sums[1], sums[2]) for group, sums in groups.items()})

    def to_json(self) -> dict[str, list[int]]:
        return {group: list(sums) for group, sums in self.groups.items()}

    def plus(self, group: str, records: pa.Table, ranks: Integers, sign: int = 1) -> ContentSums:
        """Return the content with these records added; `sign=-1` removes them.

        `ranks` are those of `features.store.as_of.ranks`. Shape [records].
        """
        count, *lanes = self.groups.get(group, (0, 0, 0))
        hashes = _sum_row_hashes(records, ranks)
        first, second = ((lane + sign * added) & _MASK for lane, added in zip(lanes, hashes, strict=True))
        return ContentSums({**self.groups, group: (count + sign * records.num_rows, first, second)})

    def merge(self, added: ContentSums) -> ContentSums:
        """Return the sum of both contents."""
        groups = dict(self.groups)
        for group, sums in added.groups.items():
            count, first, second = groups.get(group, (0, 0, 0))
            groups[group] = (count + sums[0], (first + sums[1]) & _MASK, (second + sums[2]) & _MASK)
        return ContentSums(groups)

    def digest(self) -> str:
        """Return the sha256 in hexadecimal; a group without records does not change it."""
        parts = [f"{group} {sums}" for group, sums in sorted(self.groups.items()) if sums[0]]
        return hashlib.sha256("\n".join(["quantis content 2", *parts]).encode()).hexdigest()


def _sum_row_hashes(records: pa.Table, ranks: Integers) -> list[int]:
    """Return the sums over rows, one per lane. `known_at` counts where it was given, assigned times never."""
    names = [name for name in records.column_names if name not in (RECORDED_AT, GIVEN)]
    columns = [(name, _to_words(records[name]), _counted(records, name)) for name in names]
    totals = [0] * _LANES
    for start in range(0, records.num_rows, _BLOCK):
        block = slice(start, min(start + _BLOCK, records.num_rows))
        for lane in range(_LANES):
            row_hashes = ranks[block].astype(np.uint64)
            for name, words, counted in columns:
                seed = _seed(f"{name} {records[name].type}", lane)
                hashes = _mix(words[lane % len(words)][block] ^ seed)
                if counted is not None:
                    hashes *= counted[block]
                row_hashes += hashes
            totals[lane] = (totals[lane] + int(_mix(row_hashes ^ _seed("row", lane)).sum())) & _MASK
    return totals


def _mix(words: Words) -> Words:
    """Spread each word over all 64 bits (the finaliser of splitmix64), in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def _to_words(column: pa.ChunkedArray) -> list[Words]:
    """Return the values as one array of 64-bit words for all lanes, or as one per lane. Shape [rows] each."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        encoded = column.combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        texts = encoded.dictionary.to_pylist() or [""]
        digests = [
            hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, _LANES)  # [texts, lanes]
        return [np.ascontiguousarray(words[:, lane])[indices] for lane in range(_LANES)]
    if pa.types.is_floating(column.type):
        values = column.cast(pa.float64()).fill_null(0.0).to_numpy()
        return [(values + 0.0).view(np.uint64)]  # -0.0 is 0.0
    return [column.cast(pa.int64()).fill_null(0).to_numpy().view(np.uint64)]


def _counted(records: pa.Table, name: str) -> Words | None:
    """Return 1 where a value counts, 0 where not; None when all do. Shape [rows]."""
    if name == KNOWN_AT and GIVEN in records.column_names:
        counted = records[GIVEN]
    elif records[name].null_count == 0:
        return None
    else:
        counted = records[name].is_valid()
    numbers: Words = counted.to_numpy().astype(np.uint64)
    return numbers


def _seed(text: str, lane: int) -> np.uint64:
    digest = hashlib.blake2b(f"{lane} {text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))

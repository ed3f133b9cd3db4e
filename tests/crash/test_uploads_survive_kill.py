"""Kills writers of datasets at random moments: what was acknowledged reads as it was sent, for good."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.crash.crash_ledger import Counts, CrashLedger, child_process


def _one_life(book: CrashLedger, parent: subprocess.Popen[str], longest: float) -> None:
    """Let a writer write where the last one stopped, kill it, and note what it said."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    name = max(book.histories, default="") or book.begin()
    first = book.next_operation(name)
    if first is None:
        name, first = book.begin(), 0
    parent.stdin.write(f"{name} {first} {book.chance.randrange(10**6)}\n")
    pid = int(parent.stdout.readline().removeprefix("pid "))
    time.sleep(book.chance.uniform(0.0, longest))
    book.kill(pid)
    book.listen(parent, pid, name)


def _kills(book: CrashLedger, *, kills: int, acknowledged: int, longest: float) -> Counts:
    with child_process("writer_host", book.data_layout.root) as parent:
        began = time.monotonic()
        while book.kills < kills or book.acknowledged < acknowledged:
            _one_life(book, parent, longest)
            # A busy machine gives its writers longer lives, so that both goals are met at about one time.
            each = (time.monotonic() - began) / (book.acknowledged + 1)
            left = (acknowledged - book.acknowledged) / max(kills - book.kills, 1)
            longest = min(max(2 * left * each, 0.3), 20.0)
    faults = book.faults()
    counts = book.counts(faults)
    print(counts, flush=True)
    assert faults == []
    book.database.close()
    return counts


@pytest.mark.timeout(600)
def test_when_writers_are_killed_then_every_acknowledged_upload_is_there_once_and_whole(
    tmp_path: Path,
) -> None:
    counts = _kills(CrashLedger(tmp_path, 7), kills=50, acknowledged=50, longest=0.6)
    assert counts.kills >= 50


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_when_a_thousand_writers_are_killed_then_nothing_is_lost_torn_or_doubled(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Twenty data folders, four at a time: 50 kills and 500 acknowledged writes at the least in each."""
    books = [CrashLedger(tmp_path / str(seed), seed) for seed in range(20)]
    with ThreadPoolExecutor(max_workers=4) as four:
        rounds = [four.submit(_kills, book, kills=50, acknowledged=500, longest=1.5) for book in books]
        wait(rounds, return_when=FIRST_EXCEPTION)
        for one in rounds:
            one.cancel()  # those that have not begun, when one has failed
    total = sum((one.result() for one in rounds if not one.cancelled()), Counts(*[0] * 8))
    print(f"in all: {total}", flush=True)
    record_property("counts", str(total))
    assert total.kills >= 1_000
    assert total.acknowledged >= 10_000

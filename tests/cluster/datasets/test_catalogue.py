"""The catalogue: what the database records of a write is what readers see, whatever happens between."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.datasets import Datasets, RewrittenVersion
from features.store.panel_store import VersionPins
from features.store.record_filter import Bounds
from quantis.errors import Conflict, NotFound
from quantis.panel import TIMESTAMP
from quantis.types.datasets import DatasetSpec, Roles, VersionAction

START = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
SPEC = DatasetSpec(name="sales", freq="h", roles=Roles(stat_exog=("shop",), categorical=("shop",)))


@pytest.fixture
def catalogue(database: Database, tmp_path: Path) -> Catalogue:
    made = Catalogue(database, DataLayout(tmp_path / "data"))
    made.datasets.create("default", "ada", SPEC)
    return made


def table(values: dict[str, list[float | None]], first: int = 0) -> pa.Table:
    rows = [(name, first + step, y) for name, ys in values.items() for step, y in enumerate(ys)]
    times = [START + timedelta(hours=step) for _, step, _ in rows]
    return pa.table(
        {
            "unique_id": [name for name, _, _ in rows],
            "ds": pa.array(times, TIMESTAMP),
            "y": pa.array([y for _, _, y in rows], pa.float64()),
            "shop": [f"shop of {name}" for name, _, _ in rows],
        }
    )


def push(catalogue: Catalogue, values: dict[str, list[float | None]], first: int = 0) -> int:
    return catalogue.ingest("default", "ada", "sales", table(values, first), "sales.csv").version.number


def ys(catalogue: Catalogue, number: int | None = None, as_of: datetime = LATER) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for row in catalogue.open("default", "sales", number).panel(as_of).target.to_pylist():
        found.setdefault(row["unique_id"], []).append(row["y"])
    return found


def consistent(catalogue: Catalogue) -> None:
    """Every version's record agrees with what its tables hold."""
    for one in catalogue.datasets.all_versions("default", "sales"):
        store, pins = catalogue.store("default", "sales"), VersionPins.from_json(one.pins)
        assert store.content_hash(pins) == one.version.content_hash
        series = store.series(pins)
        assert (one.version.rows, one.version.series) == (sum(series["rows"].to_pylist()), series.num_rows)


def test_when_versions_follow_each_other_then_each_is_recorded_with_what_it_holds(
    catalogue: Catalogue,
) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    push(catalogue, {"a": [9.0], "c": [7.0, 8.0]}, first=2)
    first, second = catalogue.datasets.all_versions("default", "sales")
    assert (first.version.rows, first.version.series, first.version.parent) == (6, 2, None)
    assert (second.version.rows, second.version.series, second.version.parent) == (8, 3, 1)
    assert second.version.last_ds == START + timedelta(hours=3)
    assert second.version.columns == {
        "unique_id": "string", "ds": "timestamp[us, tz=UTC]", "y": "double", "shop": "string",
    }  # fmt: skip
    assert (second.version.roles, second.version.created_by) == (SPEC.roles, "ada")
    consistent(catalogue)


def test_when_the_same_is_ingested_again_then_there_is_no_version_and_no_record(catalogue: Catalogue) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0]})
    before = catalogue.datasets.version("default", "sales")
    result = catalogue.ingest("default", "bob", "sales", table({"a": [1.0, 2.0, 3.0]}), "sales.csv")
    assert (result.created, result.version) == (False, before.version)
    assert catalogue.datasets.version("default", "sales") == before


@pytest.mark.parametrize("again", [{"a": [1.0, 2.0, 3.0]}, {"b": [4.0, 5.0, 6.0]}])
@pytest.mark.parametrize("before", [False, True])
def test_when_a_writer_dies_before_the_database_has_it_then_the_next_one_takes_it_back(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, again: dict[str, list[float | None]], before: bool
) -> None:
    """Also when the very first write died, and when the same upload comes again."""
    if before:
        push(catalogue, {"z": [0.0, 0.5, 1.0]})
    dead = dict(ys(catalogue)) if before else {}
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "add_version", _dies)
        with pytest.raises(KeyboardInterrupt):
            push(catalogue, {"a": [1.0, 2.0, 3.0]})
    if before:
        assert ys(catalogue) == dead
    else:
        with pytest.raises(NotFound):
            catalogue.open("default", "sales")
    push(catalogue, again)
    assert ys(catalogue) == dead | again
    consistent(catalogue)


def _dies(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_when_many_write_at_once_then_all_land_and_nothing_is_mixed(catalogue: Catalogue) -> None:
    push(catalogue, {"z": [0.0, 0.5, 1.0]})
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda n: push(catalogue, {f"s{n}": [float(n)] * 3}), range(8)))
    assert sorted(numbers) == list(range(2, 10))
    order = {number: f"s{n}" for n, number in enumerate(numbers)}
    for number in range(2, 10):
        expected = {"z", *(order[earlier] for earlier in range(2, number + 1))}
        assert set(ys(catalogue, number)) == expected
    consistent(catalogue)


WRITER = """
import sys
from tests.cluster.datasets.test_catalogue import Catalogue, Database, Path, DataLayout, push
catalogue = Catalogue(Database(sys.argv[1]), DataLayout(Path(sys.argv[2])))
for number in range(4):
    push(catalogue, {f"{sys.argv[3]}{number}": [1.0, 2.0, 3.0]})
"""


def test_when_two_processes_write_at_once_then_every_version_is_one_write_more(
    catalogue: Catalogue, url: str, tmp_path: Path
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(tmp_path / "data"), name]) for name in "ab"
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    sizes = [
        len(ys(catalogue, one.version.number)) for one in catalogue.datasets.all_versions("default", "sales")
    ]
    assert sizes == list(range(1, 9))
    assert set(ys(catalogue)) == {f"{name}{number}" for name in "ab" for number in range(4)}
    consistent(catalogue)


def test_when_a_writer_without_our_lock_is_in_between_then_it_conflicts_and_leaves_no_trace(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if on another machine: it commits to the tables and the database while ours is at work."""
    push(catalogue, {"z": [0.0, 0.5, 1.0]})
    real = Datasets.add_version
    calls: list[str] = []

    def meddled(self: Datasets, *arguments: object) -> object:
        if not calls:
            calls.append("once")
            base = self.latest_version("default", "sales")
            other = Catalogue(self._database, catalogue._data_layout)
            monkeypatch.setattr(type(other.store("default", "sales")), "write_lock", _free)
            assert base is not None
            push(other, {"theirs": [1.0, 2.0, 3.0]})
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Datasets, "add_version", meddled)
    assert push(catalogue, {"ours": [4.0, 5.0, 6.0]}) == 3
    assert ys(catalogue, 2) == {"theirs": [1.0, 2.0, 3.0], "z": [0.0, 0.5, 1.0]}
    assert set(ys(catalogue, 3)) == {"ours", "theirs", "z"}
    consistent(catalogue)


def _free(self: object) -> object:
    from contextlib import nullcontext

    return nullcontext()


def test_when_tables_were_rewritten_then_the_versions_move_at_once_and_older_bases_conflict(
    catalogue: Catalogue,
) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0]})
    datasets = catalogue.datasets
    base = datasets.version("default", "sales")
    counts = {"rows": 1, "series": 1, "first_ds": START, "last_ds": START}
    moved = RewrittenVersion({"target": 7}, "d" * 64, {"target": [1, 2, 3]}, **counts, purged_at=START)  # type: ignore[arg-type]
    datasets.repin("default", "sales", {1: moved}, base)
    after = datasets.version("default", "sales")
    assert (after.pins, after.version.purged_at, after.version.rows) == ({"target": 7}, START, 1)
    with pytest.raises(Conflict, match="another writer was faster"):
        datasets.repin("default", "sales", {1: moved}, base)


def test_when_a_series_is_deleted_then_only_reads_as_of_later_miss_it(catalogue: Catalogue) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    before = datetime.now(UTC)
    deleted = catalogue.delete_series("default", "bob", "sales", "a")
    assert (deleted.number, deleted.rows, deleted.series, deleted.action) == (2, 3, 1, VersionAction.delete)
    assert set(ys(catalogue)) == {"b"}
    assert set(ys(catalogue, as_of=before)) == {"a", "b"}
    assert set(ys(catalogue, 1)) == {"a", "b"}
    opened = catalogue.open("default", "sales")
    assert opened.panel(LATER, Bounds(series=["a"])).static.num_rows == 0
    assert opened.store.series(opened.pins)["unique_id"].to_pylist() == ["b"]
    consistent(catalogue)
    for series in ("a", "nobody"):
        with pytest.raises(NotFound, match=f"no series '{series}'"):
            catalogue.delete_series("default", "bob", "sales", series)
    with pytest.raises(Conflict, match="are deleted: 'a'; restore"):
        push(catalogue, {"a": [7.0, 8.0, 9.0], "c": [1.0, 1.0, 1.0]})
    assert set(ys(catalogue)) == {"b"}


def test_when_a_deleted_series_is_restored_then_it_is_back_from_then_on(catalogue: Catalogue) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    whole = ys(catalogue)
    catalogue.delete_series("default", "bob", "sales", "a")
    between = datetime.now(UTC)
    restored = catalogue.restore_series("default", "bob", "sales", "a")
    assert (restored.rows, restored.series, restored.action) == (6, 2, VersionAction.restore)
    assert ys(catalogue) == whole
    assert set(ys(catalogue, as_of=between)) == {"b"}
    assert set(ys(catalogue, 2)) == {"b"}
    consistent(catalogue)
    with pytest.raises(NotFound, match="is not deleted"):
        catalogue.restore_series("default", "bob", "sales", "a")
    push(catalogue, {"a": [1.0, 2.0, 3.5]})
    assert ys(catalogue)["a"] == [1.0, 2.0, 3.5]


def test_when_the_last_series_is_deleted_then_the_dataset_is_empty_and_can_be_filled(
    catalogue: Catalogue,
) -> None:
    push(catalogue, {"a": [1.0, 2.0, 3.0]})
    assert catalogue.delete_series("default", "bob", "sales", "a").rows == 0
    assert ys(catalogue) == {}
    push(catalogue, {"b": [1.0, 2.0, 3.0]})
    consistent(catalogue)

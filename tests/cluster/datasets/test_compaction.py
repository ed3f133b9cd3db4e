"""Compaction: every version reads the same, and what is purged is in no byte of any file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.datasets.compaction import CompactionResult, compact
from cluster.repositories.datasets import Datasets
from features.store.panel_store import PanelStore, VersionPins
from quantis.errors import Conflict, NotFound
from quantis.panel import TIMESTAMP, Panel
from quantis.types.datasets import DatasetSpec, Roles

START = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
ROLES = Roles(futr_exog=("promo",), stat_exog=("city",), categorical=("city",))
SPEC = DatasetSpec(name="sales", freq="h", roles=ROLES)
WEEK = timedelta(days=7)
CANARY = "kanarienvogel"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """What is compacted are files: one database is enough."""
    made = f"sqlite:///{tmp_path / 'quantis.db'}"
    Database(made).migrate()
    return made


@pytest.fixture
def data_layout(tmp_path: Path) -> DataLayout:
    made = DataLayout(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture
def catalogue(database: Database, data_layout: DataLayout) -> Catalogue:
    made = Catalogue(database, data_layout)
    made.datasets.create("default", "ada", SPEC)
    return made


@pytest.fixture
def run(catalogue: Catalogue, data_layout: DataLayout) -> Callable[..., CompactionResult]:
    def compacted(retention: timedelta = WEEK, purge_after: timedelta = WEEK) -> CompactionResult:
        return compact(
            catalogue, data_layout, "default", "sales", retention=retention, purge_after=purge_after
        )

    return compacted


def push(
    catalogue: Catalogue, names: str | list[str], bump: float = 0.0, first: int = 0, known: int = 0
) -> None:
    """Three hours of each series; `known` dates them that many hours after ds."""
    rows = [(name, first + step) for name in names for step in range(3)]
    times = [START + timedelta(hours=step) for _, step in rows]
    table = pa.table(
        {
            "unique_id": [name for name, _ in rows],
            "ds": pa.array(times, TIMESTAMP),
            "y": [step + bump for _, step in rows],
            "promo": [float(step % 2) + bump for _, step in rows],
            "city": [f"city of {name}" for name, _ in rows],
        }
    )
    if known:
        moments = [moment + timedelta(hours=known) for moment in times]
        table = table.append_column("known_at", pa.array(moments, TIMESTAMP))
    catalogue.ingest("default", "ada", "sales", table, "sales.csv")


def history(catalogue: Catalogue) -> None:
    """Nine versions: corrections, vintages, a deletion and what came back."""
    push(catalogue, "abc")
    push(catalogue, "abc", bump=1.0)
    push(catalogue, "a", bump=2.0, known=5)
    push(catalogue, "a", bump=3.0, known=2)
    catalogue.delete_series("default", "ada", "sales", "b")
    push(catalogue, "d", first=3)
    catalogue.restore_series("default", "ada", "sales", "b")
    push(catalogue, "b", bump=9.0)
    catalogue.delete_series("default", "ada", "sales", "c")


def views(catalogue: Catalogue) -> dict[tuple[int, datetime], Panel]:
    """What every version says, as of every hour of interest."""
    times = [START + timedelta(hours=hour) for hour in range(9)] + [LATER]
    numbers = [one.version.number for one in catalogue.datasets.all_versions("default", "sales")]
    return {
        (number, moment): catalogue.open("default", "sales", number).panel(moment)
        for number in numbers
        for moment in times
    }


def records(catalogue: Catalogue) -> list[tuple[str, int, int]]:
    versions = [one.version for one in catalogue.datasets.all_versions("default", "sales")]
    return [(one.content_hash, one.rows, one.series) for one in versions]


def recomputed(catalogue: Catalogue) -> list[tuple[str, int, int]]:
    found = []
    for one in catalogue.datasets.all_versions("default", "sales"):
        store, pins = catalogue.store("default", "sales"), VersionPins.from_json(one.pins)
        series = store.series(pins)
        found.append((store.content_hash(pins), sum(series["rows"].to_pylist()), series.num_rows))
    return found


def test_when_a_dataset_is_compacted_then_every_version_reads_the_same(
    catalogue: Catalogue, run: Callable[..., CompactionResult]
) -> None:
    history(catalogue)
    before, told = views(catalogue), records(catalogue)
    done = run(retention=timedelta(0))
    assert (done.versions, done.purged) == (9, 0)
    assert done.files_after == 4 < done.files_before
    assert done.removed >= done.files_before
    assert views(catalogue) == before
    assert views(Catalogue(catalogue.datasets._database, catalogue._data_layout)) == before
    assert records(catalogue) == told == recomputed(catalogue)


def test_when_more_is_written_after_a_compaction_then_old_versions_do_not_see_it(
    catalogue: Catalogue, run: Callable[..., CompactionResult]
) -> None:
    history(catalogue)
    run(retention=timedelta(0))
    before = views(catalogue)
    push(catalogue, "a", bump=7.0, known=1)
    run(retention=timedelta(0))
    after = views(catalogue)
    assert {key: after[key] for key in before} == before
    assert records(catalogue) == recomputed(catalogue)


def test_when_the_tables_are_from_before_bounds_were_kept_then_they_are_found(
    catalogue: Catalogue, run: Callable[..., CompactionResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        to_json = VersionPins.to_json
        patch.setattr(VersionPins, "to_json", lambda pins: {**to_json(pins), "recorded_to": None})
        history(catalogue)
    before = views(catalogue)
    run(retention=timedelta(0))
    assert views(catalogue) == before


def test_when_somebody_has_an_old_version_open_then_it_reads_until_the_retention_is_over(
    catalogue: Catalogue, run: Callable[..., CompactionResult]
) -> None:
    history(catalogue)
    opened = catalogue.open("default", "sales", 3)
    elsewhere = PanelStore(opened.store.folder)
    before = opened.panel(LATER)
    assert run().removed == 0
    assert elsewhere.read(opened.pins, as_of=LATER) == before
    for path in opened.store.folder.rglob("*.parquet"):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    assert run().removed > 0
    with pytest.raises(NotFound, match=r"not stored .any more.*retention time"):
        PanelStore(opened.store.folder).read(opened.pins, as_of=LATER)
    assert catalogue.open("default", "sales", 3).panel(LATER) == before


def holds(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_when_a_deleted_series_is_purged_then_it_is_in_no_byte_of_any_version(
    catalogue: Catalogue, data_layout: DataLayout, run: Callable[..., CompactionResult]
) -> None:
    push(catalogue, ["a", "b"])
    push(catalogue, [CANARY, "c"])
    push(catalogue, ["a", CANARY], bump=4.0)
    catalogue.delete_series("default", "ada", "sales", CANARY)
    push(catalogue, "d")
    before = views(catalogue)
    assert run().purged == 0
    assert holds(data_layout.dataset("default", "sales"), CANARY)
    done = run(purge_after=timedelta(0))
    assert (done.purged, holds(data_layout.root, CANARY)) == (1, [])
    for key, panel in views(catalogue).items():
        assert panel == without(before[key])
    assert records(catalogue) == recomputed(catalogue)
    purged = [
        one.version.purged_at is not None for one in catalogue.datasets.all_versions("default", "sales")
    ]
    assert purged == [False, True, True, True, True]
    with pytest.raises(NotFound, match="or is purged"):
        catalogue.restore_series("default", "ada", "sales", CANARY)
    push(catalogue, [CANARY])
    assert records(catalogue) == recomputed(catalogue)


def without(panel: Panel) -> Panel:
    kept = [
        table.filter(pa.array([name != CANARY for name in table["unique_id"].to_pylist()], pa.bool_()))
        for table in (panel.target, panel.future, panel.static)
    ]
    return Panel(*kept)


def test_when_a_purge_dies_before_the_files_are_gone_then_the_next_run_removes_them(
    catalogue: Catalogue, data_layout: DataLayout, run: Callable[..., CompactionResult]
) -> None:
    push(catalogue, ["a", CANARY])
    catalogue.delete_series("default", "ada", "sales", CANARY)
    with data_layout.keeping_files(), pytest.raises(Conflict, match="a backup keeps"):
        run(purge_after=timedelta(0))
    assert holds(data_layout.root, CANARY)
    assert run().removed > 0
    assert holds(data_layout.root, CANARY) == []


def test_when_a_writer_elsewhere_is_faster_then_the_compaction_changes_nothing(
    catalogue: Catalogue, run: Callable[..., CompactionResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    history(catalogue)
    before = views(catalogue)

    def refused(*arguments: object) -> None:
        raise Conflict("another writer was faster")

    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "repin", refused)
        with pytest.raises(Conflict):
            run()
    assert views(catalogue) == before
    push(catalogue, "e")
    assert records(catalogue) == recomputed(catalogue)
    assert run().versions == 10


def test_when_there_is_no_version_then_there_is_nothing_to_compact(
    run: Callable[..., CompactionResult],
) -> None:
    with pytest.raises(NotFound, match="nothing to compact"):
        run()

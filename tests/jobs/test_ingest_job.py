"""A folder of files becomes one version of a dataset, or none: the real job, on a Ray of its own."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.jobs import Jobs
from cluster.settings import Settings
from jobs.ingest import work
from jobs.ingestion.file_checks import files_in
from jobs.runtime import Context
from quantis.errors import InvalidInput, NotFound, RejectedPanel
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import IngestSpec
from quantis.types.jobs import JobRequest

TEAM = "default"


def rows(name: str, days: range, bump: float = 0.0) -> pa.Table:
    return pa.table(
        {
            "unique_id": [name] * len(days),
            "ds": [f"2024-03-{day + 1:02}" for day in days],
            "y": [float(day * day % 11) + bump for day in days],
        }
    )


def as_csv(table: pa.Table) -> bytes:
    lines = [",".join(str(value) for value in row.values()) for row in table.to_pylist()]
    return "\n".join(["unique_id,ds,y", *lines, ""]).encode()


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context[IngestSpec]:
    monkeypatch.setenv("QUANTIS_DATA_DIR", str(tmp_path / "data"))
    settings = Settings()
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    Catalogue(database, settings.data_layout).datasets.create(
        TEAM, "ann", DatasetSpec(name="shops", freq="D")
    )
    spec, jobs = IngestSpec(dataset="shops", folder="march"), Jobs(database)
    job = jobs.adopt(TEAM, "ann", spec, None)
    settings.data_layout.inbox(TEAM).joinpath("march").mkdir(parents=True)
    return Context(Backend(settings, database), TEAM, job.id, spec)


def put(context: Context[IngestSpec], name: str, content: bytes) -> None:
    (context.backend.settings.data_layout.inbox(TEAM) / "march" / name).write_bytes(content)


@pytest.mark.ray
def test_when_a_folder_is_ingested_then_all_its_files_are_one_version_and_again_none(
    context: Context[IngestSpec], on_ray: None
) -> None:
    put(context, "a.csv", as_csv(rows("a", range(30))))
    put(context, "b.csv.gz", gzip.compress(as_csv(rows("b", range(20)))))
    put(context, "c.json", json.dumps(rows("b", range(15, 30)).to_pydict()).encode())
    pq.write_table(
        rows("c", range(30)), context.backend.settings.data_layout.inbox(TEAM) / "march" / "d.parquet"
    )
    done = work(context).model_dump(mode="json")
    assert (done["files"], done["created"], done["version"], done["rows"], done["series"]) == (
        4,
        True,
        1,
        90,
        3,
    )
    opened = context.backend.catalogue.open(TEAM, "shops")
    panel = opened.panel(datetime.now(UTC))
    assert panel.target.num_rows == 90
    assert (work(context).created, len(context.backend.catalogue.datasets.versions(TEAM, "shops"))) == (
        False,
        1,
    )
    assert not (context.folder / "staged").exists()

    put(context, "e.csv", as_csv(rows("e", range(30))).replace(b",9.0", b",nine"))
    with pytest.raises(RejectedPanel, match=r"1 of 5 files.*e\.csv: D030"):
        work(context)
    put(context, "e.csv", as_csv(rows("a", range(20, 31), bump=1.0)))
    with pytest.raises(RejectedPanel, match=r"a at 2024-03-21T00:00Z differs between a\.csv and e\.csv"):
        work(context)
    put(context, "e.csv", b"PAR1")
    with pytest.raises(RejectedPanel, match=r"e\.csv cannot be read as parquet"):
        work(context)
    assert len(context.backend.catalogue.datasets.versions(TEAM, "shops")) == 1


@pytest.mark.parametrize("folder", ["../secrets", "/etc", "a/b", "..", "", "http://x", "a b", ".hidden"])
def test_when_a_folder_is_a_path_or_an_address_then_the_request_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        JobRequest.model_validate({"spec": {"kind": "ingest", "dataset": "shops", "folder": folder}})


def test_when_a_folder_holds_links_or_other_things_then_they_are_left_out(tmp_path: Path) -> None:
    folder, outside = tmp_path / "inbox" / "march", tmp_path / "secret.csv"
    folder.mkdir(parents=True)
    outside.write_text("unique_id,ds,y\n")
    (folder / "link.csv").symlink_to(outside)
    (folder / "notes.doc").write_text("x")
    (folder / ".hidden.csv").write_text("x")
    with pytest.raises(InvalidInput, match="no file ending in"):
        files_in(folder.parent, "march")
    (folder / "a.csv").write_text("unique_id,ds,y\n")
    assert [path.name for path in files_in(folder.parent, "march")] == ["a.csv"]
    (tmp_path / "inbox" / "april").symlink_to(folder)
    for name in ("april", "may"):
        with pytest.raises(NotFound, match="put the files there first"):
            files_in(folder.parent, name)

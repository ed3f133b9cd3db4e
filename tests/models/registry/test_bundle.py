from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.families.catalogue import family_class
from models.families.naive import ColumnForecast, SeasonalNaive
from models.forecaster import Parts
from models.registry.bundle import BundleBroken, conformance_sample, read_bundle, write_bundle
from quantis.errors import Conflict, InvalidInput
from quantis.panel import Snapshot


@pytest.fixture
def case(make_task, make_snapshot):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 100, "b": 500, "c": 400})
    return task, snapshot


def _rehash(folder, name):
    """Make the manifest agree with a changed file, as somebody with ill intent would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_when_a_bundle_is_read_back_then_it_forecasts_the_same(case, tmp_path):
    task, snapshot = case
    for model in (SeasonalNaive.fit(snapshot, task, 168), ColumnForecast.fit(snapshot, task, "scheduled")):
        again = read_bundle(write_bundle(tmp_path / model.family, model, snapshot))
        assert type(again) is type(model)
        assert again.task == task
        assert again.predict(snapshot).equals(model.predict(snapshot))


def test_when_a_bundle_is_written_then_its_sample_is_the_two_best_observed_series_cut_short(case):
    task, snapshot = case
    sample = conformance_sample(SeasonalNaive(task, 48), snapshot)
    counts = sample.history.group_by("unique_id").aggregate([("ds", "count")]).to_pydict()
    assert counts == {"unique_id": ["b", "c"], "ds_count": [96, 96]}
    assert sample.history["ds"][95] == snapshot.history["ds"][599]
    assert sample.static["unique_id"].to_pylist() == ["b", "c"]


def test_when_the_longest_series_ended_long_ago_then_the_sample_is_of_others(case, tmp_path):
    task, snapshot = case
    ended = pc.and_(
        pc.equal(snapshot.history["unique_id"], "b"),
        pc.greater(snapshot.history["ds"], snapshot.history["ds"][200]),
    )
    y = pc.if_else(ended, pa.scalar(None, pa.float64()), snapshot.history["y"])
    place = snapshot.history.schema.get_field_index("y")
    history = snapshot.history.set_column(place, "y", y)
    gone = Snapshot(history, snapshot.future, snapshot.static)
    folder = write_bundle(tmp_path / "bundle", SeasonalNaive.fit(gone, task, 48), gone)
    assert read_bundle(folder).task == task


@pytest.mark.parametrize("name", ["config.json", "task.json", "tensors.safetensors", "sample/expected.arrow"])
def test_when_a_file_was_changed_then_it_is_named_and_nothing_is_loaded(case, tmp_path, name):
    task, snapshot = case
    folder = write_bundle(tmp_path / "b", SeasonalNaive.fit(snapshot, task, 168), snapshot)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(BundleBroken, match=f"{name} was changed"):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleBroken, match=f"{name} is missing"):
        read_bundle(folder)


def test_when_a_changed_model_has_a_fitting_hash_then_its_sample_gives_it_away(case, tmp_path):
    task, snapshot = case
    folder = write_bundle(tmp_path / "b", SeasonalNaive.fit(snapshot, task, 168), snapshot)
    (folder / "config.json").write_text(json.dumps({"season_length": 24}))
    _rehash(folder, "config.json")
    with pytest.raises(BundleBroken, match="predicts its sample"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 4}, "has format 4, this code reads 1 to 3"),
        ({"files": {"../../secret": "0"}}, "outside itself"),
        ({"files": {"/etc/passwd": "0"}}, "outside itself"),
        ({"files": {}}, "lacks config.json"),
    ],
)
def test_when_the_manifest_is_strange_then_it_is_refused(case, tmp_path, change, message):
    task, snapshot = case
    folder = write_bundle(tmp_path / "b", SeasonalNaive.fit(snapshot, task, 168), snapshot)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(BundleBroken, match=message):
        read_bundle(folder)


def test_when_the_folder_exists_then_it_is_not_overwritten(case, tmp_path):
    task, snapshot = case
    model = SeasonalNaive.fit(snapshot, task, 168)
    write_bundle(tmp_path / "b", model, snapshot)
    with pytest.raises(Conflict, match="written once"):
        write_bundle(tmp_path / "b", model, snapshot)


def test_when_writing_fails_then_nothing_is_left_behind(case, tmp_path):
    task, snapshot = case

    class Unwritable(SeasonalNaive):
        def parts(self):
            return Parts(config={"not": np.nan})

    with pytest.raises(ValueError, match="JSON"):
        write_bundle(tmp_path / "b", Unwritable(task, 24), snapshot)
    assert list(tmp_path.iterdir()) == []


def test_when_a_family_is_unknown_then_the_known_ones_are_listed():
    with pytest.raises(InvalidInput, match="'prophecy' is not one of seasonal_naive"):
        family_class("prophecy")


def test_when_a_naive_bundle_is_opened_then_neither_torch_nor_lightgbm_is_imported():
    code = (
        "import sys; from models.families.catalogue import family_class; family_class('seasonal_naive');"
        "assert not {'torch', 'lightgbm', 'statsforecast'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

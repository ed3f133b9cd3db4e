from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa
import pytest

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.settings import Settings
from jobs import preflight
from quantis.types.datasets import DatasetSpec

TEAM = "default"


@pytest.fixture
def shops(tmp_path, monkeypatch):
    """Three days of one shop, ten hours of another."""
    monkeypatch.setenv("QUANTIS_DATA_DIR", str(tmp_path / "data"))
    settings = Settings()
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    catalogue = Catalogue(database, settings.data_layout)
    catalogue.datasets.create(TEAM, "ann", DatasetSpec(name="shops", freq="h"))
    start = np.datetime64("2024-01-01", "us")
    tables = [
        pa.table({
            "unique_id": [name] * hours,
            "ds": start + np.arange(72 - hours, 72) * np.timedelta64(1, "h"),
            "y": np.arange(hours, dtype=float),
        })
        for name, hours in (("long", 72), ("short", 10))
    ]  # fmt: skip
    catalogue.ingest(TEAM, "ann", "shops", pa.concat_tables(tables), "shops.csv")
    database.close()


def _run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["preflight", *arguments])
    code = preflight.main()
    found = capsys.readouterr()
    return code, found.out, found.err


def test_when_a_dataset_is_examined_then_rules_series_and_a_proposal_are_told(shops, monkeypatch, capsys):
    code, text, _ = _run(monkeypatch, capsys, "shops", "--h", "12", "--encoder-length", "24")
    assert code == 0
    assert "49 windows to train on" in text
    assert "22 removed: they begin before half an encoder has passed" in text
    assert "short: 0 of 10 kept" in text
    assert "try encoder_length=" in text
    assert "5 windows of h=12 fit a backtest; the longest h is 71" in text
    code, text, _ = _run(monkeypatch, capsys, "shops", "--h", "12", "--encoder-length", "24", "--json")
    told = json.loads(text)
    assert (told["windows"]["kept"], told["longest_h"], told["backtest_windows"]) == (49, 71, 5)


def test_when_no_window_fits_then_it_exits_with_1_and_says_what_would(shops, monkeypatch, capsys):
    code, text, _ = _run(monkeypatch, capsys, "shops", "--h", "48", "--encoder-length", "96")
    assert code == 1
    assert "0 windows to train on" in text


def test_when_there_is_no_such_dataset_then_it_says_so(shops, monkeypatch, capsys):
    code, _, error = _run(monkeypatch, capsys, "nothing")
    assert code == 4
    assert "nothing" in error

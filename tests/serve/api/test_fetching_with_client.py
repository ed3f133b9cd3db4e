"""Forecasts of jobs, and those that were issued, in the client's frames and from the command line."""

from __future__ import annotations

import json
import socket
import threading
from datetime import timedelta

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import uvicorn

from quantis.cli.main import run
from quantis.client import Client
from quantis.errors import InvalidInput
from quantis.panel import TIMESTAMP
from tests.serve.api_under_test import START
from tests.serve.issued import backtested, batch, entry, issue


@pytest.fixture
def sdk(world):
    """The client of a viewer, on this API."""
    with (
        world.client() as http,
        Client("https://quantis.test", token=world.token("viewer"), transport=http._transport) as client,
    ):
        yield client


def test_when_the_client_fetches_a_batch_then_its_frame_has_nixtla_s_names(world, sdk):
    job = batch(world, [entry("a", quantiles=("0.1", "0.5", "0.9", "0.95"))], ("0.1", "0.5", "0.9", "0.95"))
    names = sdk.job_forecasts(job, series="a", name="demand").column_names
    assert names[:7] == [
        "unique_id", "ds", "demand", "demand-lo-80", "demand-median", "demand-hi-80", "demand-ql0.95"
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="job_forecasts"):
        sdk.cross_validation(job)


def test_when_the_client_fetches_a_backtest_then_the_models_stand_side_by_side(world, sdk):
    times = [START, START + timedelta(hours=1)]
    rows = pa.table(
        {
            "model": ["theta", "theta", "plan"], "unique_id": ["a", "a", "a"],
            "ds": pa.array([*times, times[1]], TIMESTAMP),
            "cutoff": pa.array([START - timedelta(hours=1)] * 3, TIMESTAMP), "y": [1.0, 2.0, 2.0],
            "mean": [1.5, 2.5, 3.5], "q0.1": [1.0, 2.0, None], "q0.9": [2.0, 3.0, None],
        }
    )  # fmt: skip
    frame = sdk.cross_validation(backtested(world, rows))
    assert frame.to_pydict() == {
        "unique_id": ["a", "a"], "ds": times, "cutoff": [START - timedelta(hours=1)] * 2, "y": [1.0, 2.0],
        "theta": [1.5, 2.5], "theta-lo-80": [1.0, 2.0], "theta-hi-80": [2.0, 3.0], "plan": [None, 3.5],
    }  # fmt: skip


def test_when_the_client_asks_for_issued_forecasts_then_it_follows_the_pages(world, sdk):
    for number in range(103):
        issue(world, number, [entry("a", 1, ("0.5",) if number % 2 else ("0.1",))])
    table = sdk.issued_forecasts(model="demand", series="a", issued_after=START)
    assert table["forecast_id"].to_pylist() == [f"f-{number}" for number in range(102, 0, -1)]
    assert {"q0.1", "q0.5"} < set(table.column_names)
    assert sdk.issued_forecasts(limit=7).num_rows == 7


READERS = {
    "csv": pacsv.read_csv,
    "parquet": pq.read_table,
    "arrow": lambda path: pa.ipc.open_file(path).read_all(),
    "arrows": lambda path: pa.ipc.open_stream(path).read_all(),
    "json": lambda path: pa.Table.from_pylist(json.loads(path.read_text())["items"]),
}


@pytest.fixture
def quantis(world, monkeypatch, capsys):
    """Runs a command line as a viewer of this API, on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    monkeypatch.setenv("QUANTIS_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
    monkeypatch.setenv("QUANTIS_TOKEN", world.token("viewer"))
    yield lambda *arguments: (run(arguments), capsys.readouterr())
    server.should_exit = True
    thread.join()


def test_when_forecasts_are_saved_from_the_command_line_then_the_suffix_says_how(world, quantis, tmp_path):
    job = batch(world, [entry("=a"), entry("b", 0)])
    for suffix, read_file in READERS.items():
        path = tmp_path / f"out.{suffix}"
        code, shown = quantis("jobs", "forecasts", job, "-o", str(path))
        assert (code, f"out.{suffix}: " in shown.err) == (0, True)
        names = read_file(path)["unique_id"].to_pylist()
        assert names == [("'=a" if suffix == "csv" else "=a")] * 3 + ["b"]
    assert quantis("jobs", "forecasts", job, "-o", str(tmp_path / "out.xlsx"))[0] == 2
    assert quantis("jobs", "forecasts", "unknown", "-o", str(tmp_path / "none.csv"))[0] == 4
    assert {path.name for path in tmp_path.glob("*.*")} == {f"out.{suffix}" for suffix in READERS}
    for number in range(2):
        issue(world, number, [entry("=a"), entry("b", 1)])
    code, shown = quantis("forecasts", "ls", "--model", "demand", "--json")
    assert [item["series"] for item in json.loads(shown.out)["items"]] == [2, 2]
    assert "f-1" in quantis("forecasts", "ls")[1].out
    assert quantis("forecasts", "ls", "--series", "=a", "-o", str(tmp_path / "issued.csv"))[0] == 0
    assert pacsv.read_csv(tmp_path / "issued.csv")["unique_id"].to_pylist() == ["'=a"] * 6
    assert "no forecast" in quantis("forecasts", "ls", "--model", "none")[1].err

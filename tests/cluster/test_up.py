"""`quantis up` before it starts anything: with remains, with strangers, with a database that is away."""

from __future__ import annotations

import io
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.local import processes
from cluster.local.processes import Platform, free_ports
from cluster.settings import Settings
from cluster.up import up
from quantis.errors import Conflict, Unavailable
from quantis.progress import StepReporter
from tests.cluster.spawned import SLEEP, Spawn


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on, so that no start goes further."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def settings(tmp_path: Path, taken: int) -> Settings:
    settings = Settings(data_dir=tmp_path / "data", port=taken)
    settings.data_layout.prepare()
    return settings


def saved(settings: Settings, ray_temp: Path) -> Platform:
    gcs, dashboard, serve = free_ports(3)
    platform = Platform(
        uuid.uuid4().hex, 0, "127.0.0.1", settings.port, f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}",
        str(ray_temp), serve,
    )  # fmt: skip
    processes.save(settings.data_layout, platform)
    return platform


def test_when_everything_of_the_platform_is_gone_then_up_takes_its_state_for_old_and_starts_anew(
    settings: Settings, tmp_path: Path
) -> None:
    ray_temp = tmp_path / "quantis-of-before"
    ray_temp.mkdir()
    saved(settings, ray_temp)
    said = io.StringIO()
    with pytest.raises(Conflict, match="taken by another program"):
        up(settings, StepReporter(said))
    assert "started anew" in said.getvalue()
    assert processes.load(settings.data_layout) is None
    assert not ray_temp.exists()


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_when_the_state_file_is_lost_then_up_ends_the_processes_of_this_folder_alone(
    settings: Settings, tmp_path: Path, spawn: Spawn, text: str | None
) -> None:
    if text is not None:
        (settings.data_layout.run / "platform.json").write_text(text)
    lost = spawn(uuid.uuid4().hex, SLEEP, QUANTIS_DATA_DIR=str(settings.data_layout.root))
    other = spawn(uuid.uuid4().hex, SLEEP, QUANTIS_DATA_DIR=str(tmp_path / "another"))
    with pytest.raises(Conflict, match="taken by another program"):
        up(settings, StepReporter(io.StringIO()))
    assert lost.wait(5)
    assert other.poll() is None


def test_when_the_database_does_not_answer_then_up_says_so_and_restarts_nothing(
    settings: Settings, tmp_path: Path, spawn: Spawn
) -> None:
    (port,) = free_ports(1)
    away = settings.model_copy(
        update={"database_url": f"postgresql+psycopg://nobody@127.0.0.1:{port}/nothing"}
    )
    platform = saved(settings, tmp_path / "quantis-x")
    process = spawn(platform.instance)
    with pytest.raises(Unavailable, match="the database did not answer"):
        up(away, StepReporter(io.StringIO()))
    assert process.poll() is None
    assert processes.load(settings.data_layout) == platform


def test_when_the_platform_runs_on_another_port_then_up_says_where(
    settings: Settings, tmp_path: Path, spawn: Spawn
) -> None:
    platform = saved(settings, tmp_path / "quantis-x")
    elsewhere = replace(platform, port=platform.port + 1)
    processes.save(settings.data_layout, elsewhere)
    process = spawn(platform.instance)
    with pytest.raises(Conflict, match=f"runs on {elsewhere.url}"):
        up(settings, StepReporter(io.StringIO()))
    assert process.poll() is None

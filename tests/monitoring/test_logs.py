from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from monitoring import logs

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from monitoring import logs
logs.FILE_BYTES, logs.OLD_FILES = 20_000, 100
logs.configure(sys.argv[2], file=Path(sys.argv[1]))
for number in range(400):
    logs.logger("test").info("line", number=number, padding="x" * 50)
"""
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    level = root.level
    logs.configure("test", file=tmp_path / "logs" / "test.log")
    yield tmp_path / "logs" / "test.log"
    for handler in [h for h in root.handlers if h.get_name() == "quantis"]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_when_something_is_logged_then_a_line_is_one_json_object(lines: Path) -> None:
    logs.logger("quantis.api").info("job submitted\nwith a second line", job_kind="train")
    (event,) = read(lines)
    assert event["event"] == "job submitted\nwith a second line"
    assert event["level"] == "info"
    assert event["logger"] == "quantis.api"
    assert event["process"] == "test"
    assert event["job_kind"] == "train"
    assert event["at"].endswith("Z")


def test_when_a_request_is_bound_then_its_id_is_on_every_line_inside_and_on_none_after(lines: Path) -> None:
    with logs.bound(request_id="r1", job_id="j1"):
        logs.logger("a").info("inside")
        logging.getLogger("library").warning("from %s", "elsewhere")
    logs.logger("a").info("after")
    first, second, third = read(lines)
    assert (first["request_id"], first["job_id"]) == ("r1", "j1")
    assert (second["request_id"], second["event"]) == ("r1", "from elsewhere")
    assert "request_id" not in third


def test_when_configured_twice_then_each_event_is_written_once(lines: Path) -> None:
    logs.configure("test", file=lines)
    logs.logger("a").info("once")
    assert len(read(lines)) == 1


def test_when_an_error_is_logged_then_the_traceback_hides_secrets(lines: Path) -> None:
    for log in (logs.logger("ours").exception, logging.getLogger("theirs").exception):
        try:
            raise ValueError(f"bad header Authorization: Bearer {JWT}")
        except ValueError:
            log("failed")
    for event in read(lines):
        assert "ValueError" in event["exception"]
        assert JWT not in json.dumps(event)


@given(
    secret=st.text(st.characters(categories=["L", "N"]), min_size=12, max_size=40),
    key=st.sampled_from(
        ["password", "new_password", "access_token", "Authorization", "set-cookie", "jwt_secret", "api_key"]
    ),
    depth=st.integers(0, 4),
)
def test_when_a_value_has_a_secret_name_then_it_is_nowhere_in_the_event(
    secret: str, key: str, depth: int
) -> None:
    value: Any = {key: secret}
    for level in range(depth):
        value = [value] if level % 2 else {"inner": value}
    event = logs.hide_secrets(None, "info", {"event": "x", "data": value})
    assert json.dumps(secret)[1:-1] not in json.dumps(event)


@pytest.mark.parametrize(
    "text",
    [
        f"token {JWT} was refused",
        "header: Bearer abcdef0123456789",
        "postgresql://quantis:hunter2-hunter2@db/quantis",
    ],
)
def test_when_a_text_holds_a_secret_then_only_the_rest_is_kept(text: str) -> None:
    hidden = logs.hide_secrets(None, "info", {"event": text})["event"]
    assert logs.HIDDEN in hidden
    assert not any(part in hidden for part in (JWT, "abcdef0123456789", "hunter2"))


def test_when_nothing_is_secret_then_the_event_is_unchanged() -> None:
    event = {"event": "done", "rows": 3, "token_type": "bearer", "freq": "h", "ids": ["JFK/B6"]}
    assert logs.hide_secrets(None, "info", dict(event)) == event


def test_when_several_processes_share_a_file_that_fills_then_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    file = tmp_path / "api.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), name], env={"PYTHONPATH": str(ROOT)})
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    files = [found for found in tmp_path.iterdir() if found.suffix != ".lock"]
    assert len(files) > 5
    seen = sorted((event["process"], event["number"]) for found in files for event in read(found))
    assert seen == [(name, number) for name in "abc" for number in range(400)]

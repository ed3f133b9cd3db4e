"""`quantis data`, without a server and with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.quantis.cli.conftest import finished, start

KEYS = {"file", "outcome", "findings", "series", "rows", "freq"}


def test_when_a_file_is_good_then_check_accepts_it_without_a_server(quantis: Any, csv: Path) -> None:
    report = quantis("data", "check", str(csv), "--json")
    assert report.code == 0
    assert set(report.json) == KEYS
    assert (report.json["series"], report.json["rows"], report.json["freq"]) == (2, 144, "h")
    assert report.json["outcome"] == "accept"
    people = quantis("data", "check", str(csv))
    assert (people.code, people.out) == (0, "")
    assert "hourly.csv: accepted; 144 rows, 2 series, h" in people.err


def test_when_a_file_is_bad_then_check_says_where_and_ends_with_1(quantis: Any, csv: Path) -> None:
    lines = csv.read_text().splitlines()
    lines[3] = lines[3].replace(",2,", ",two,")
    csv.write_text("\n".join(lines))
    report = quantis("data", "check", str(csv), "--json")
    assert report.code == 1
    assert report.json["outcome"] == "reject"
    (finding,) = [f for f in report.json["findings"] if f["severity"] == "error"]
    assert (finding["row"], finding["column"], finding["code"]) == (3, "y", "D030")
    assert set(finding) == {"code", "severity", "series", "row", "column", "message"}
    people = quantis("data", "check", str(csv))
    assert "D030" in people.err
    assert "row 3" in people.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.parquet", b"PAR1" + b"\x00" * 50),
        ("empty.csv", b""),
        ("book.xlsx", b"PK\x03\x04" + b"\x00" * 50),
        ("ragged.csv", b"unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,2,3\n"),
        ("broken.json", b'{"unique_id": ["a"'),
        ("broken.arrow", b"ARROW1" + b"\x00" * 50),
        ("wide.csv", b",".join(b"s%d" % column for column in range(600)) + b"\n"),
    ],
)
def test_when_a_file_cannot_be_read_then_the_report_rejects_it_with_a_finding(
    quantis: Any, tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = quantis("data", "check", str(path), "--json")
    assert done.code == 1
    assert set(done.json) == KEYS
    assert (done.json["outcome"], done.json["file"], done.json["rows"]) == ("reject", name, 0)
    (finding,) = done.json["findings"]
    assert (finding["code"], finding["severity"]) == ("D000", "error")
    assert name in finding["message"]
    people = quantis("data", "check", str(path))
    assert people.code == 1
    assert "D000" in people.err
    assert f"{name}: rejected" in people.err
    assert "Traceback" not in people.err


def test_when_a_known_future_column_equals_y_then_check_and_push_take_it_only_when_it_is_declared(
    quantis: Any, server: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.csv"
    lines = [
        f"a,2024-{1 + day // 28:02}-{1 + day % 28:02},{day * day % 17},{day * day % 17}" for day in range(56)
    ]
    path.write_text("\n".join(["unique_id,ds,y,plan", *lines]))
    refused = quantis("data", "check", str(path), "--futr", "plan", "--json")
    assert refused.code == 1
    assert "D064" in {finding["code"] for finding in refused.json["findings"]}
    taken = quantis("data", "check", str(path), "--futr", "plan", "--target-copies", "plan", "--json")
    assert taken.code == 0
    assert not {"D063", "D064"} & {finding["code"] for finding in taken.json["findings"]}
    assert quantis("data", "push", "plans", str(path), "--futr", "plan").code == 1
    assert quantis("data", "push", "plans", str(path), "--futr", "plan", "--target-copies", "plan").code == 0


def test_when_checked_in_a_process_of_its_own_then_stdout_is_one_object_and_nothing_heavy_is_needed(
    csv: Path,
) -> None:
    done = finished(start("data", "check", str(csv), "--json"))
    assert done.code == 0
    assert set(done.json) == KEYS
    assert done.err == ""


def test_when_pushed_then_roles_are_declared_once_and_the_same_file_makes_no_version(
    quantis: Any, server: str, csv: Path
) -> None:
    declared = ("--hist", "temp", "--publication-lag", "1h", "--freq", "h", "--holidays", "US")
    first = quantis("data", "push", "hourly", str(csv), *declared, "--json").json
    assert (first["created"], first["version"]["number"]) == (True, 1)
    again = quantis("data", "push", "hourly", str(csv))
    assert again.code == 0
    assert "same content as hourly version 1" in again.err
    shown = quantis("data", "show", "hourly", "--json").json
    assert shown["dataset"]["roles"]["hist_exog"] == ["temp"]
    assert shown["dataset"]["publication_lag"] == "PT1H"
    assert [s["unique_id"] for s in shown["series"]] == ["JFK/B6", "LGA/DL"]
    assert len(shown["versions"]) == 1


def test_when_a_file_to_push_is_not_there_then_it_is_a_usage_error(
    quantis: Any, server: str, tmp_path: Path
) -> None:
    missing = quantis("data", "push", "hourly", str(tmp_path / "none.csv"))
    assert missing.code == 2
    assert "none.csv" in missing.err


def test_when_pushed_without_roles_then_they_are_detected(quantis: Any, server: str, csv: Path) -> None:
    assert quantis("data", "push", "hourly", str(csv)).code == 0
    assert quantis("data", "show", "hourly", "--json").json["dataset"]["roles"]["hist_exog"] == ["temp"]


def test_when_other_roles_are_declared_later_then_conflict(quantis: Any, server: str, csv: Path) -> None:
    quantis("data", "push", "hourly", str(csv), "--hist", "temp")
    done = quantis("data", "push", "hourly", str(csv), "--futr", "temp", "--json")
    assert (done.code, done.json["error"]["code"]) == (4, "conflict")
    assert quantis("data", "push", "hourly", str(csv), "--hist", "temp").code == 0


def test_when_the_server_rejects_a_panel_then_findings_are_shown_and_code_1(
    quantis: Any, server: str, csv: Path
) -> None:
    csv.write_text(csv.read_text().replace(",3,", ",three,"))
    done = quantis("data", "push", "hourly", str(csv), "--hist", "temp")
    assert done.code == 1
    assert "D030" in done.err
    as_json = quantis("data", "push", "hourly", str(csv), "--hist", "temp", "--json")
    assert as_json.json["error"]["code"] == "rejected_panel"
    assert {f["code"] for f in as_json.json["error"]["findings"]} == {"D030"}


def test_when_listed_and_shown_then_tables_are_on_stdout(quantis: Any, server: str, csv: Path) -> None:
    assert "quantis data push" in quantis("data", "ls").err
    quantis("data", "push", "hourly", str(csv), "--description", "departures")
    listed = quantis("data", "ls")
    assert [line.split() for line in listed.out.splitlines()[2:]] == [
        ["hourly", "1", "2", "144", "h", "departures"]
    ]
    shown = quantis("data", "show", "hourly", "JFK/B6", "--as-of", "2024-01-02T03:00Z", "--last", "2")
    assert [line.split() for line in shown.out.splitlines()[2:]] == [
        ["2024-01-02", "02:00", "2", "26"],
        ["2024-01-02", "03:00", "3", "27"],
    ]
    values = quantis("data", "show", "hourly", "JFK/B6", "--json").json
    assert len(values["y"]) == 72


def test_when_windows_are_asked_for_then_what_fits_is_told(quantis: Any, server: str, csv: Path) -> None:
    quantis("data", "push", "hourly", str(csv), "--url", server)
    told = quantis("data", "windows", "hourly", "--h", "12", "--url", server, "--json")
    assert (told.code, told.json["steps"], told.json["max_h"], told.json["max_windows"]) == (0, 72, 71, 5)
    people = quantis("data", "windows", "hourly", "--h", "80", "--url", server)
    assert "0 of h=80" in people.out
    assert "71" in people.out


def test_when_there_is_no_such_dataset_then_code_4(quantis: Any, server: str) -> None:
    assert quantis("data", "show", "nothing").code == 4
    assert quantis("data", "show", "nothing", "--json").json["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "command", [("data", "ls"), ("jobs", "ls"), ("models", "ls"), ("openapi",), ("whoami",)]
)
def test_when_there_is_no_server_then_code_5_and_how_to_start_one(
    quantis: Any, command: tuple[str, ...]
) -> None:
    done = quantis(*command)
    assert done.code == 5
    assert "quantis up" in done.err
    assert done.out == ""


def test_when_data_holds_terminal_codes_then_they_are_not_printed(
    quantis: Any, server: str, csv: Path
) -> None:
    text = "\x1b[31mred\x1b[0m [bold]x[/bold]"
    quantis("data", "push", "hourly", str(csv), "--description", text)
    out = quantis("data", "ls").out
    assert "\x1b" not in out
    assert "red [bold]x[/bold]" in out

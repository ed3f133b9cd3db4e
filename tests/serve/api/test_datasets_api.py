from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.serve.api_under_test import HOURS, START, rows, value

CSV = "text/csv"
SPEC = {"name": "sales", "roles": {"hist_exog": ["temp"]}, "freq": "h"}


def moment(hour):
    return (START + timedelta(hours=hour)).isoformat().replace("+00:00", "Z")


def sales(hours=range(100), unique_id="a/b", bump=0.0):
    table = rows(unique_id, hours).select(["unique_id", "ds", "y", "temp"])
    return table.set_column(2, "y", pa.array([y.as_py() + bump for y in table["y"]]))


def as_csv(table):
    sink = io.BytesIO()
    pacsv.write_csv(table, sink)
    return sink.getvalue()


def as_parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def as_arrow(table):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def upload(client, content, kind=CSV, name="sales", **params):
    headers = {"Content-Type": kind} if kind else {}
    return client.post(f"/v1/datasets/{name}/versions", content=content, headers=headers, params=params)


@pytest.fixture
def declared(client):
    assert client.post("/v1/datasets", json=SPEC).status_code == 201
    return client


def test_when_a_dataset_is_declared_then_it_reads_back_with_no_version_yet(world, problem):
    client = world.client("analyst")
    spec = SPEC | {
        "publication_lag": "PT2H",
        "time_zone": "Europe/Paris",
        "holidays": "FR",
        "description": "d",
    }
    made = client.post("/v1/datasets", json=spec)
    assert made.status_code == 201
    body = client.get("/v1/datasets/sales").json()
    assert body == made.json()
    assert (body["created_by"], body["latest_version"], body["rows"]) == ("analyst", None, None)
    assert (body["publication_lag"], body["time_zone"]) == ("PT2H", "Europe/Paris")
    assert [one["name"] for one in client.get("/v1/datasets").json()["items"]] == ["flights", "sales"]
    problem(client.post("/v1/datasets", json=SPEC), 409, "conflict")
    problem(client.get("/v1/datasets/sales/series"), 404, "not_found")
    assert client.get("/v1/datasets/sales/versions").json()["items"] == []


@pytest.mark.parametrize(
    "change",
    [
        *({"name": name} for name in ("Sales", "a/b", "", "a" * 64)),
        *({"freq": freq} for freq in ("fortnight", "0h", "", "99999h")),
        *({"time_zone": zone} for zone in ("Mars/Olympus", "../../etc/passwd", "")),
        *({"publication_lag": lag} for lag in ("-PT1H", "P9999D")),
        *({"roles": {"hist_exog": [column]}} for column in ("y", "", "a\n", "x" * 129)),
        {"roles": {"hist_exog": ["x"], "futr_exog": ["x"]}},
        {"roles": {"categorical": ["x"]}},
        {"holidays": "Nowhere"},
        {"team": "x"},
    ],
)
def test_when_a_declaration_is_odd_then_it_is_422_and_nothing_is_made(client, problem, change):
    problem(client.post("/v1/datasets", json=SPEC | change), 422, "invalid_input")
    assert [one["name"] for one in client.get("/v1/datasets").json()["items"]] == ["flights"]


@pytest.mark.parametrize(
    ("write", "kind"),
    [(as_csv, CSV), (as_csv, "text/csv; charset=utf-8"), (as_parquet, "application/vnd.apache.parquet"),
     (as_arrow, "application/vnd.apache.arrow.stream"), (as_parquet, None), (as_csv, None)],
)  # fmt: skip
def test_when_a_file_is_uploaded_then_a_version_has_its_rows(declared, write, kind):
    answer = upload(declared, write(sales()), kind, file="sales.bin")
    assert answer.status_code == 201
    body = answer.json()
    assert body["created"] is True
    assert body["report"]["outcome"] == "accept"
    assert body["report"]["file"] == "sales.bin"
    version = body["version"]
    assert (version["number"], version["parent"], version["rows"], version["series"]) == (1, None, 100, 1)
    assert (version["first_ds"], version["last_ds"], version["freq"]) == (moment(0), moment(99), "h")
    dataset = declared.get("/v1/datasets/sales").json()
    assert (dataset["latest_version"], dataset["rows"], dataset["series"]) == (1, 100, 1)
    stored = declared.get("/v1/datasets/sales/series/a/b").json()
    assert stored["y"] == [value("a/b", hour) for hour in range(100)]
    assert stored["exog"] == {"temp": [float(hour % 7) for hour in range(100)]}


def test_when_the_same_rows_come_again_in_any_form_then_nothing_is_added(declared):
    first = upload(declared, as_csv(sales())).json()["version"]
    backwards = sales().take(list(range(99, -1, -1)))
    for content, kind in (
        (as_csv(sales()), CSV),
        (as_csv(backwards), CSV),
        (as_parquet(backwards, row_group_size=7), "application/vnd.apache.parquet"),
        (as_csv(sales(range(50, 60))), CSV),
    ):
        again = upload(declared, content, kind)
        assert again.status_code == 200
        assert again.json()["created"] is False
        assert again.json()["version"] == first
    assert len(declared.get("/v1/datasets/sales/versions").json()["items"]) == 1


def test_when_two_versions_exist_then_each_reads_as_it_was(declared):
    upload(declared, as_csv(sales()))
    second = upload(declared, as_csv(sales(range(50, 120), bump=1000)))
    assert second.status_code == 201
    assert (second.json()["version"]["number"], second.json()["version"]["parent"]) == (2, 1)
    listed = declared.get("/v1/datasets/sales/versions").json()["items"]
    assert [one["number"] for one in listed] == [2, 1]
    assert listed[0]["content_hash"] != listed[1]["content_hash"]
    old = declared.get("/v1/datasets/sales/series/a/b?version=1").json()
    new = declared.get("/v1/datasets/sales/series/a/b").json()
    assert old["y"] == [value("a/b", hour) for hour in range(100)]
    assert new["y"][:50] == old["y"][:50]
    assert new["y"][50:] == [value("a/b", hour) + 1000 for hour in range(50, 120)]
    for number, count in ((1, 100), (2, 120)):
        (summary,) = declared.get(f"/v1/datasets/sales/series?version={number}").json()["items"]
        assert (summary["rows"], summary["last_ds"]) == (count, moment(count - 1))


@pytest.mark.parametrize("number", [3, 2**31 - 1])
def test_when_a_version_is_not_there_then_it_is_404(client, problem, number):
    problem(client.get(f"/v1/datasets/flights/series?version={number}"), 404, "not_found")
    problem(client.get(f"/v1/datasets/flights/series/JFK/B6?version={number}"), 404, "not_found")


def test_when_a_panel_breaks_its_contract_then_it_is_422_with_findings_and_nothing_changes(declared, problem):
    upload(declared, as_csv(sales()))
    before = (
        declared.get("/v1/datasets/sales").json(),
        declared.get("/v1/datasets/sales/series/a/b").json()["y"],
    )
    broken = pa.concat_tables([sales(range(100, 110)), sales(range(100, 110), bump=1.0)])
    body = problem(upload(declared, as_csv(broken), file="broken.csv"), 422, "rejected_panel")
    assert "broken.csv" in body["detail"]
    errors = [finding for finding in body["findings"] if finding["severity"] == "error"]
    assert {(finding["code"], finding["series"]) for finding in errors} == {("D001", "a/b")}
    after = (
        declared.get("/v1/datasets/sales").json(),
        declared.get("/v1/datasets/sales/series/a/b").json()["y"],
    )
    assert after == before
    assert upload(declared, as_csv(sales())).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", CSV, 422, "invalid_input"),
        (b"unique_id,ds,y,temp\n", CSV, 422, "rejected_panel"),
        (b"a;b\n1;2\n", CSV, 422, "rejected_panel"),
        (b"\xff\xfe\x00\x01", CSV, 422, None),
        (b"\x00" * 100, CSV, 422, None),
        (b"PAR1 and no more", "application/vnd.apache.parquet", 422, "invalid_input"),
        (b"\xff" * 64, "application/vnd.apache.arrow.stream", 422, "invalid_input"),
        (b"{}", "application/json", 422, "invalid_input"),
        (b"x", "text/html", 415, "unsupported_media"),
        (b"x", "application/octet-stream", 422, None),
        (b"x," * 600 + b"x\n" + b"1," * 600 + b"1\n", CSV, 413, "too_large"),
    ],
)
def test_when_a_file_cannot_be_a_panel_then_the_answer_says_which_kind_of_wrong_it_is(
    declared, problem, content, kind, status, code
):
    answer = upload(declared, content, kind)
    problem(answer, status, code or answer.json()["code"])
    assert declared.get("/v1/datasets/sales").json()["latest_version"] is None


def test_when_a_file_is_larger_than_the_setting_then_it_is_413_and_nothing_stays_on_disk(
    declared, problem, folder
):
    incoming = folder / "incoming"
    body = problem(upload(declared, b"x" * (1024 * 1024 + 1)), 413, "too_large")
    assert "1 MB" in body["detail"]
    assert list(incoming.iterdir()) == []
    assert upload(declared, as_csv(sales())).status_code == 201
    assert list(incoming.iterdir()) == []


def test_when_an_upload_goes_to_a_dataset_that_nobody_declared_then_it_is_404(client, problem):
    problem(upload(client, as_csv(sales())), 404, "not_found")


# Checking


def test_when_a_new_name_is_checked_then_roles_are_detected_and_nothing_is_stored(world, client, problem):
    table = rows("x", range(100))
    answer = client.post(
        "/v1/datasets/unheard-of/check?file=x.csv", content=as_csv(table), headers={"Content-Type": CSV}
    )
    report = answer.json()
    assert answer.status_code == 200
    assert report["outcome"] in ("accept", "accept_with_warning")
    assert (report["file"], report["rows"], report["series"], report["freq"]) == ("x.csv", 100, 1, "h")
    assert set(report["columns"]) == set(table.column_names)
    problem(client.get("/v1/datasets/unheard-of"), 404, "not_found")
    assert not world.settings.data_layout.dataset("default", "unheard-of").exists()


def test_when_a_declared_name_is_checked_then_its_roles_count_and_a_rejection_is_an_answer(declared):
    report = declared.post(
        "/v1/datasets/sales/check", content=b"unique_id,ds,y\na,2024-01-01,1\n", headers={"Content-Type": CSV}
    )
    assert report.status_code == 200
    assert report.json()["outcome"] == "reject"
    assert "D003" in {finding["code"] for finding in report.json()["findings"]}
    assert declared.get("/v1/datasets/sales").json()["latest_version"] is None


# Reading


def test_when_series_are_listed_then_pages_make_the_whole_in_order_of_id(client):
    whole = client.get("/v1/datasets/flights/series").json()["items"]
    ids = [one["unique_id"] for one in whole]
    assert ids == ["EWR/UA", "GAP/G4", "JFK/B6", "OLD/O1", "TINY/T1"]
    assert whole[0] == {
        "unique_id": "EWR/UA", "rows": HOURS, "first_ds": moment(0), "last_ds": moment(HOURS - 1),
        "static": {"carrier": "UA"},
    }  # fmt: skip
    for limit in (1, 2, 5, 7):
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = client.get(
                "/v1/datasets/flights/series",
                params={"limit": limit} | ({"cursor": cursor} if cursor else {}),
            ).json()
            found += page["items"]
            cursor = page["next_cursor"]
        assert found == whole


def test_when_a_part_of_the_id_is_searched_then_case_does_not_matter(client):
    found = client.get("/v1/datasets/flights/series?search=jfk/").json()["items"]
    assert [one["unique_id"] for one in found] == ["JFK/B6"]
    assert client.get("/v1/datasets/flights/series?search=%25").json()["items"] == []


def test_when_a_series_is_read_between_two_times_then_both_ends_are_included(client):
    body = client.get(
        "/v1/datasets/flights/series/JFK/B6", params={"start": moment(10), "end": moment(12)}
    ).json()
    assert body["ds"] == [moment(10), moment(11), moment(12)]
    assert body["y"] == [value("JFK/B6", hour) for hour in (10, 11, 12)]
    assert body["static"] == {"carrier": "B6"}


def test_when_a_series_is_read_as_of_a_time_then_the_publication_lag_counts(client):
    def last(as_of):
        return client.get("/v1/datasets/flights/series/JFK/B6", params={"as_of": as_of}).json()["ds"][-1:]

    assert last(moment(100)) == [moment(99)]
    assert last((START + timedelta(hours=100, minutes=59)).isoformat()) == [moment(99)]
    assert last(moment(101)) == [moment(100)]
    assert last("2010-01-01T00:00:00Z") == []
    assert last("2200-01-01T00:00:00Z") == [moment(HOURS - 1)]


def test_when_a_correction_is_uploaded_then_as_of_before_it_reads_the_old_value(declared):
    upload(declared, as_csv(sales()))
    upload(declared, as_csv(sales(range(50, 51), bump=1000)))
    url = "/v1/datasets/sales/series/a/b"
    assert declared.get(url).json()["y"][50] == value("a/b", 50) + 1000
    assert declared.get(url, params={"as_of": moment(100)}).json()["y"][50] == value("a/b", 50)
    assert declared.get(url, params={"version": 1}).json()["y"][50] == value("a/b", 50)


@pytest.mark.parametrize(
    "unique_id", ["a/b", "a/b/c", "ü €", "a%b", "a?b", "a//b", "../x", "x" * 256, "events"]
)
def test_when_an_id_has_any_letters_then_the_series_is_found_under_it(declared, unique_id):
    from urllib.parse import quote

    assert upload(declared, as_csv(sales(unique_id=unique_id))).status_code == 201
    answer = declared.get(f"/v1/datasets/sales/series/{quote(unique_id, safe='')}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["unique_id"] == unique_id
    assert len(answer.json()["y"]) == 100


def test_when_a_series_is_unknown_then_it_is_404_but_a_known_one_without_rows_is_empty(client, problem):
    problem(client.get("/v1/datasets/flights/series/NO/NE"), 404, "not_found")
    body = client.get("/v1/datasets/flights/series/JFK/B6", params={"as_of": "2010-01-01T00:00:00Z"}).json()
    assert (body["ds"], body["y"], body["exog"]) == ([], [], {"temp": []})


def test_when_uploads_end_then_their_outcomes_and_rows_are_counted(declared):
    def counted(name):
        return float(declared.get("/metrics").text.split(f"\n{name} ")[1].split("\n")[0])

    names = [f'quantis_uploads_total{{outcome="{one}"}}' for one in ("created", "identical", "rejected")]
    names.append("quantis_rows_ingested_total")
    before = [counted(name) for name in names]
    upload(declared, as_csv(sales()))
    upload(declared, as_csv(sales()))
    upload(declared, b"unique_id,ds\n")
    assert [counted(name) - old for name, old in zip(names, before, strict=True)] == [1, 1, 1, 100]


def test_when_a_file_is_off_the_stored_grid_then_check_and_upload_name_it(declared):
    """The check of a file sees what is stored, as its upload does."""
    rows = "".join(f"g,2024-02-{day:02}T00:00Z,{day}\n" for day in range(1, 20))
    late = "".join(f"g,2024-03-{day:02}T06:00Z,{day}\n" for day in range(1, 20))
    assert declared.post("/v1/datasets", json={"name": "grid"}).status_code == 201
    for body, outcome, status in ((rows, "accept", 201), (late, "reject", 422)):
        content = f"unique_id,ds,y\n{body}".encode()
        report = declared.post(
            "/v1/datasets/grid/check", content=content, headers={"Content-Type": CSV}
        ).json()
        assert report["outcome"] == outcome
        answer = declared.post("/v1/datasets/grid/versions", content=content, headers={"Content-Type": CSV})
        assert answer.status_code == status
    assert [finding["code"] for finding in answer.json()["findings"]] == ["D042"]
    assert "g has 19 times off the grid, the first 2024-03-01T06:00:00Z" in answer.json()["detail"]

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quantis.types.datasets import Roles
from tests.serve.api_under_test import START

SPEC = {
    "name": "shop",
    "freq": "h",
    "roles": {
        "hist_exog": ["temp"], "futr_exog": ["promo"], "stat_exog": ["city"], "categorical": ["city"],
    },
}  # fmt: skip
URL = "/v1/datasets/shop/observations"


def moment(hour):
    return (START + timedelta(hours=hour)).isoformat().replace("+00:00", "Z")


def hours(*numbers):
    return [moment(number) for number in numbers]


def read(client, unique_id="a", **params):
    return client.get(f"/v1/datasets/shop/series/{unique_id}", params=params).json()


@pytest.fixture
def shop(client):
    assert client.post("/v1/datasets", json=SPEC).status_code == 201
    return client


@pytest.fixture
def filled(shop):
    body = {
        "series": [
            {
                "unique_id": name, "ds": hours(0, 1, 2), "y": [1, 2, None], "hist_exog": {"temp": [10, 11, 12]},
                "futr_exog": {"promo": [0, 1, 0]}, "stat_exog": {"city": "Rome"},
            }
            for name in ("a", "b/c")
        ]
    }  # fmt: skip
    answer = shop.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    return shop


def test_when_live_values_are_appended_then_they_are_known_from_receipt_on(filled):
    version = filled.get("/v1/datasets/shop/versions").json()["items"][0]
    assert (version["action"], version["rows"], version["series"]) == ("append", 6, 2)
    assert read(filled)["y"] == [1, 2, None]
    assert read(filled)["static"] == {"city": "Rome"}
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    assert read(filled, as_of=before)["y"] == []


def test_when_the_same_is_appended_again_then_there_is_no_new_version(filled):
    body = {"series": [{"unique_id": "a", "ds": hours(0), "y": [1]}]}
    answer = filled.post(URL, json=body)
    assert (answer.status_code, answer.json()["created"], answer.json()["version"]["number"]) == (
        200,
        False,
        1,
    )


def test_when_only_y_is_corrected_then_the_rest_of_the_row_stays(filled):
    between = datetime.now(UTC).isoformat()
    answer = filled.post(URL, json={"series": [{"unique_id": "a", "ds": hours(1), "y": [7.5]}]})
    assert answer.json()["version"]["rows"] == 6
    body = read(filled)
    assert (body["y"], body["exog"]["temp"], body["static"]) == (
        [1, 7.5, None],
        [10, 11, 12],
        {"city": "Rome"},
    )
    assert read(filled, as_of=between)["y"] == [1, 2, None]
    assert read(filled, version=1)["y"] == [1, 2, None]


def test_when_known_at_is_given_then_it_decides(filled):
    row = {"unique_id": "a", "ds": hours(5), "y": [9], "known_at": moment(8)}
    assert filled.post(URL, json={"series": [row]}).status_code == 201
    assert read(filled, as_of=moment(7))["y"] == []
    assert read(filled, as_of=moment(8))["y"] == [9]


def test_when_only_the_future_is_told_then_no_target_row_is_made(filled):
    later = hours(10, 11)
    row = {"unique_id": "a", "ds": later, "y": [None, None], "futr_exog": {"promo": [1, 1]}}
    assert filled.post(URL, json={"series": [row]}).json()["version"]["rows"] == 6
    assert read(filled)["ds"] == hours(0, 1, 2)


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        ({"y": [1, 2]}, "/series/0/y"),
        ({"hist_exog": {"temp": [1, 2]}}, "/series/0/hist_exog/temp"),
        ({"hist_exog": {"promo": [1]}}, "/series/0/hist_exog/promo"),
        ({"hist_exog": {"temp": ["warm"]}}, "/series/0/hist_exog/temp"),
        ({"stat_exog": {"city": 7}}, "/series/0/stat_exog/city"),
        ({"y": [1], "known_at": moment(-1)}, "/series/0/known_at"),
        ({}, "/series/0"),
    ],
)
def test_when_a_part_is_wrong_then_its_place_is_named_and_nothing_is_stored(filled, problem, row, pointer):
    answer = filled.post(URL, json={"series": [{"unique_id": "a", "ds": hours(0), **row}]})
    body = problem(answer, 422, "invalid_input")
    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert len(filled.get("/v1/datasets/shop/versions").json()["items"]) == 1


@pytest.mark.parametrize("unique_id", [".", ".."])
def test_when_no_address_leads_to_an_id_then_its_values_are_not_taken(filled, problem, unique_id):
    answer = filled.post(URL, json={"series": [{"unique_id": unique_id, "ds": hours(0), "y": [1]}]})
    body = problem(answer, 422, "invalid_input")
    assert "no address leads to it; name it otherwise" in body["errors"][0]["message"]


def test_when_a_time_occurs_twice_or_series_differ_in_columns_then_it_is_refused(filled, problem):
    twice = {"unique_id": "a", "ds": hours(0, 0), "y": [1, 2]}
    assert "twice" in problem(filled.post(URL, json={"series": [twice]}), 422, "invalid_input")["detail"]
    mixed = [
        {"unique_id": "a", "ds": hours(0), "y": [1]},
        {"unique_id": "b", "ds": hours(0), "hist_exog": {"temp": [1]}},
    ]
    assert "same columns" in problem(filled.post(URL, json={"series": mixed}), 422, "invalid_input")["detail"]


def test_when_the_frequency_is_not_known_then_a_file_comes_first(client, problem):
    client.post("/v1/datasets", json={"name": "shop", "roles": Roles().model_dump()})
    row = {"unique_id": "a", "ds": hours(0), "y": [1]}
    assert "declare it" in problem(client.post(URL, json={"series": [row]}), 422, "invalid_input")["detail"]
    problem(client.post("/v1/datasets/none/observations", json={"series": [row]}), 404, "not_found")


def test_when_a_series_is_deleted_then_it_is_gone_from_now_on_and_can_be_restored(filled, problem):
    between = datetime.now(UTC).isoformat()
    answer = filled.delete("/v1/datasets/shop/series/b/c")
    assert (answer.status_code, answer.json()["action"], answer.json()["series"]) == (200, "delete", 1)
    problem(filled.get("/v1/datasets/shop/series/b/c"), 404, "not_found")
    assert read(filled, "b/c", as_of=between)["y"] == [1, 2, None]
    assert [one["unique_id"] for one in filled.get("/v1/datasets/shop/series").json()["items"]] == ["a"]
    then = filled.get("/v1/datasets/shop/series", params={"as_of": between}).json()["items"]
    assert [(one["unique_id"], one["rows"]) for one in then] == [("a", 3), ("b/c", 3)]
    long_ago = filled.get("/v1/datasets/shop/series", params={"as_of": moment(-1)}).json()
    assert long_ago["items"] == []
    row = {"unique_id": "b/c", "ds": hours(9), "y": [1]}
    assert "restore" in problem(filled.post(URL, json={"series": [row]}), 409, "conflict")["detail"]
    problem(filled.delete("/v1/datasets/shop/series/b/c"), 404, "not_found")
    restored = filled.post("/v1/datasets/shop/series/b/c/restore")
    assert (restored.status_code, restored.json()["action"], restored.json()["series"]) == (200, "restore", 2)
    assert read(filled, "b/c")["y"] == [1, 2, None]
    problem(filled.post("/v1/datasets/shop/series/b/c/restore"), 404, "not_found")


@pytest.mark.parametrize(("role", "appends", "deletes"), [("viewer", 403, 403), ("analyst", 201, 403)])
def test_when_a_role_is_too_low_then_it_may_not(filled, world, role, appends, deletes):
    client = world.client(role)
    body = {"series": [{"unique_id": "a", "ds": hours(50), "y": [1]}]}
    assert client.post(URL, json=body).status_code == appends
    assert client.delete("/v1/datasets/shop/series/a").status_code == deletes
    assert client.post("/v1/datasets/shop/series/a/restore").status_code == deletes


def test_when_a_live_value_is_off_the_stored_grid_then_it_is_refused_with_a_finding(filled, problem):
    late = (START + timedelta(hours=3, minutes=30)).isoformat()
    answer = filled.post(URL, json={"series": [{"unique_id": "a", "ds": [late], "y": [1]}]})
    body = problem(answer, 422, "rejected_panel")
    assert [(finding["code"], finding["series"]) for finding in body["findings"]] == [("D042", "a")]
    assert f"steps of h up to {moment(2)}" in body["detail"]
    assert len(filled.get("/v1/datasets/shop/versions").json()["items"]) == 1


def test_when_local_midnights_are_appended_to_days_then_each_keeps_the_day_that_was_written(client):
    assert client.post("/v1/datasets", json={"name": "shop", "freq": "D"}).status_code == 201
    days = [f"2024-03-{day}T00:00:00+0{1 + (day > 31)}:00" for day in range(28, 32)] + [
        "2024-04-01T00:00:00+02:00"
    ]
    for day in days:
        answer = client.post(URL, json={"series": [{"unique_id": "a", "ds": [day], "y": [1]}]})
        assert answer.status_code == 201, answer.text
    assert read(client)["ds"] == [f"{day[:10]}T00:00:00Z" for day in days]

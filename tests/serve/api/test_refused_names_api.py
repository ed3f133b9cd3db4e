"""Names that the store or the web cannot keep apart are refused at the door (k16, k17); so is a known answer."""

from __future__ import annotations

import pytest

CSV = "text/csv"


@pytest.mark.parametrize("unique_id", [".", ".."])
def test_when_no_address_leads_to_an_id_then_its_upload_is_refused_with_the_remedy(
    client, problem, unique_id
):
    assert client.post("/v1/datasets", json={"name": "shop"}).status_code == 201
    content = "unique_id,ds,y\n" + "".join(f"{unique_id},2024-01-{day:02},1\n" for day in range(1, 20))
    answer = client.post("/v1/datasets/shop/versions", content=content, headers={"Content-Type": CSV})
    body = problem(answer, 422, "rejected_panel")
    (finding,) = [finding for finding in body["findings"] if finding["severity"] == "error"]
    assert (finding["code"], finding["series"], finding["column"]) == ("D016", unique_id, "unique_id")
    assert "name the series otherwise" in finding["message"]


@pytest.mark.parametrize(
    "roles",
    [
        {"hist_exog": ["Price", "price"]},
        {"hist_exog": ["STRASSE"], "stat_exog": ["straße"]},
        *({"futr_exog": [column]} for column in ("Y", "DS", "Known_At", "given")),
    ],
)
def test_when_declared_columns_differ_by_case_then_it_is_422_and_nothing_is_made(client, problem, roles):
    problem(client.post("/v1/datasets", json={"name": "shop", "roles": roles}), 422, "invalid_input")
    assert [one["name"] for one in client.get("/v1/datasets").json()["items"]] == ["flights"]


def test_when_columns_of_a_new_name_differ_by_case_then_the_check_names_them(client):
    content = "unique_id,ds,y,Price,price\n" + "".join(f"a,2024-01-{day:02},1,2,3\n" for day in range(1, 20))
    answer = client.post("/v1/datasets/shop/check", content=content, headers={"Content-Type": CSV})
    assert answer.json()["outcome"] == "reject"
    (finding,) = [finding for finding in answer.json()["findings"] if finding["severity"] == "error"]
    assert (finding["code"], finding["column"]) == ("D015", "price")
    assert "'Price' and 'price' differ only by case; rename one" in finding["message"]


def test_when_a_known_future_column_equals_y_then_it_is_taken_only_when_it_is_declared(client, problem):
    spec = {"name": "shop", "freq": "D", "roles": {"futr_exog": ["plan", "cap"]}}
    assert client.post("/v1/datasets", json=spec).status_code == 201
    content = "unique_id,ds,y,plan,cap\n" + "".join(
        f"a,2024-01-{day:02},{day * day % 17},{day * day % 17},{day * day % 17}\n" for day in range(1, 31)
    )
    send = {"content": content, "headers": {"Content-Type": CSV}}
    body = problem(client.post("/v1/datasets/shop/versions", **send), 422, "rejected_panel")
    assert [(f["code"], f["column"]) for f in body["findings"] if f["severity"] == "error"] == [
        ("D064", "plan"), ("D064", "cap"),
    ]  # fmt: skip
    answer = client.post("/v1/datasets/shop/versions", params={"target_copy": ["plan", "cap"]}, **send)
    assert answer.status_code == 201, answer.text

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from cluster.database.engine import Database
from tests.serve.api_under_test import PASSWORD, settings_for


@pytest.fixture
def fresh(world, tmp_path):
    """A platform that nobody has an account on, with the secret that `quantis up` writes."""
    world.settings = settings_for(tmp_path / "fresh")
    world.settings.data_layout.prepare()
    world.database = Database(world.settings.sql_url)
    world.database.migrate()
    world.secret = world.settings.make_secret("setup-secret")
    yield world
    world.database.close()


def set_up(client, secret, name="root", password=PASSWORD):
    return client.post("/v1/setup", json={"secret": secret, "user_name": name, "password": password})


def test_when_the_right_secret_is_given_then_there_is_an_admin_once_and_the_secret_is_gone(fresh, problem):
    client = fresh.client()
    assert client.get("/v1/setup").json() == {"open": True, "oidc": False}
    made = set_up(client, fresh.secret)
    assert made.status_code == 201
    assert (made.json()["user_name"], made.json()["role"], made.json()["team"]) == (
        "root",
        "admin",
        "default",
    )
    assert client.get("/v1/setup").json() == {"open": False, "oidc": False}
    assert not fresh.settings.secret_path("setup-secret").exists()
    problem(set_up(client, fresh.secret, "again"), 409, "conflict")
    form = {"grant_type": "password", "username": "root", "password": PASSWORD}
    token = client.post("/v1/oauth/token", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert [user["user_name"] for user in client.get("/v1/users", headers=headers).json()["items"]] == [
        "root"
    ]


@pytest.mark.parametrize("secret", ["", " ", "wrong", "é" * 64])
def test_when_the_secret_is_wrong_then_nobody_is_made_and_nothing_is_echoed(fresh, problem, secret):
    body = problem(set_up(fresh.client(), secret), 403, "forbidden")
    assert "wrong" not in body["detail"].replace("is wrong", "")
    assert fresh.client().get("/v1/setup").json() == {"open": True, "oidc": False}
    assert fresh.settings.secret_path("setup-secret").exists()


def test_when_there_is_no_secret_on_disk_then_not_even_an_empty_one_opens(fresh, problem):
    fresh.settings.secret_path("setup-secret").unlink()
    problem(set_up(fresh.client(), ""), 403, "forbidden")
    fresh.settings.secret_path("setup-secret").write_text("  \n")
    problem(set_up(fresh.client(), ""), 403, "forbidden")


def test_when_two_set_up_at_once_then_one_of_them_is_the_admin(fresh):
    barrier = Barrier(2)

    def attempt(name):
        barrier.wait()
        return set_up(fresh.client(), fresh.secret, name).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, ["one", "two"])) in ([201, 403], [201, 409])
    assert len(fresh.services.accounts.all("default")) == 1


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_when_a_password_is_too_short_or_too_long_then_it_is_refused_without_being_echoed(
    fresh, problem, password
):
    body = problem(set_up(fresh.client(), fresh.secret, password=password), 422, "invalid_input")
    assert body["errors"][0]["pointer"] == "/body/password"
    assert password not in str(body)
    assert fresh.secret not in str(body)

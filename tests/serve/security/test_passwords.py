"""Long enough is not good enough: what many have, or what tells whose it is, is refused wherever one is set."""

from __future__ import annotations

import pytest

from cluster.repositories.passwords import check_password, common
from quantis.errors import InvalidInput
from tests.serve.api.test_sessions_api import signed_in
from tests.serve.api_under_test import PASSWORD

COMMON = "qwertyqwerty"


@pytest.mark.parametrize(
    "password", [COMMON, "QwertyQwerty", "1qaz2wsx3edc", "qwerty qwerty", "123456789123456789"]
)
def test_when_a_password_is_among_the_most_used_then_it_is_refused(password):
    with pytest.raises(InvalidInput, match="most used"):
        check_password(password, "ann")


@pytest.mark.parametrize(
    "password", ["quantis-2026!", "Quantisquantis1", "forecast1234", "margaret-2026", "password-password"]
)
def test_when_a_password_tells_whose_it_is_then_it_is_refused(password):
    with pytest.raises(InvalidInput, match="guessed first"):
        check_password(password, "margaret")


def test_when_a_password_repeats_itself_then_it_is_refused():
    with pytest.raises(InvalidInput, match="different characters"):
        check_password("ababababababab", "ann")


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        "margaret likes green lamps",
        "7sPq-11ox-Vv3t",
        "снег идёт весной",
        "quantis of thirteen moons",
    ],
)
def test_when_a_password_is_of_one_s_own_then_it_is_taken(password):
    check_password(password, "margaret")


def test_when_the_list_is_read_then_it_holds_what_could_be_set_here():
    assert len(common()) == 10_000
    assert all(len(word) >= 12 and word == word.casefold() for word in common())


def test_when_a_password_is_set_by_any_way_then_the_list_is_asked_and_the_refusal_repeats_nothing(
    world, problem
):
    admin, (client, _) = world.client("admin"), signed_in(world, "analyst")
    users, analyst = "/v1/users", world.user_id("analyst")
    asked = [
        admin.post(users, json={"user_name": "new", "password": COMMON}),
        admin.patch(f"{users}/{analyst}", json={"password": COMMON}),
        admin.post("/v1/teams", json={"name": "t", "admin_name": "boss", "admin_password": COMMON}),
        client.post(f"{users}/me/password", json={"current": PASSWORD, "new": COMMON}),
    ]
    for answer in asked:
        body = problem(answer, 422, "invalid_input")
        assert "most used" in body["detail"]
        assert COMMON not in answer.text
    assert "t" not in [team["name"] for team in admin.get("/v1/teams").json()["items"]]
    assert signed_in(world, "analyst")  # the old one still opens

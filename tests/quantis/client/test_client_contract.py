"""The client's contract on the in-memory platform."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quantis.client import Client
from quantis.testing import FakeApi
from quantis.types.accounts import Role

pytest.register_assert_rewrite("tests.quantis.client.contract")

from tests.quantis.client.contract import *  # noqa: E402, F403
from tests.quantis.client.contract import SignIn  # noqa: E402

ADMIN = "root", "the admin's password"


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.add_user(*ADMIN, Role.admin)
    return api


@pytest.fixture
def sign_in(api: FakeApi) -> SignIn:
    def signed_in(user: str, password: str) -> Client:
        return Client("http://test", user=user, password=password, transport=api.transport())

    return signed_in


@pytest.fixture
def client(sign_in: SignIn) -> Iterator[Client]:
    with sign_in(*ADMIN) as client:
        yield client
